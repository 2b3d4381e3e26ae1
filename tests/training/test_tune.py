"""The search's own rules, without a cluster; tests/story runs the search for real."""

import json
from dataclasses import asdict
from pathlib import Path

import optuna
import pytest

from forewarn.errors import ForewarnError
from forewarn.spaces import SPACES, STARTING_POINTS
from forewarn.tasks import Classification, Regression
from training import tune
from training.tune import Finished


def finished(name: str, algorithm: str, score: float, *, whole: bool = True) -> Finished:
    params = STARTING_POINTS[algorithm][0]
    return Finished(name=name, algorithm=algorithm, params=params, score=score, folds=10, whole=whole, seconds=1.0)


def test_only_trials_that_saw_every_fold_can_win() -> None:
    trials = [
        finished("a", "xgboost", 0.83),
        finished("b", "xgboost", 0.99, whole=False),
        finished("c", "logistic", 0.82),
    ]
    best = tune._best(Classification(event="Yes"), trials)
    assert best.scores == {"xgboost": 0.83, "logistic": 0.82}
    assert best.trials == 3


def test_a_search_in_which_no_trial_saw_every_fold_says_what_to_do() -> None:
    with pytest.raises(ForewarnError, match="--budget-s"):
        tune._best(Classification(event="Yes"), [finished("a", "xgboost", 0.9, whole=False)])


def test_of_errors_the_smallest_wins() -> None:
    trials = [finished("a", "svr", 3.9), finished("b", "svr", 3.8), finished("c", "svr", 4.1)]
    assert tune._best(Regression(unit="hours"), trials).scores == {"svr": 3.8}


def test_ended_trials_are_read_back_as_they_were(tmp_path: Path) -> None:
    trial = finished("a", "logistic", 0.8)
    whole = json.dumps(asdict(trial)) + "\n"
    (tmp_path / tune.FINISHED).write_text(whole + whole[:20])  # the driver was killed while it wrote
    assert tune.finished_before(tmp_path) == [trial]
    assert tune.finished_before(tmp_path / "nothing") == []


@pytest.mark.parametrize("algorithm", sorted(SPACES))
def test_starting_points_lie_within_the_space(algorithm: str) -> None:
    for point in STARTING_POINTS[algorithm]:
        assert point.keys() == SPACES[algorithm].keys()
        assert all(
            SPACES[algorithm][name].low <= value <= SPACES[algorithm][name].high for name, value in point.items()
        )


def test_every_algorithm_has_its_turn_and_the_first_most_of_them() -> None:
    both = ("xgboost", "logistic")
    turns = [tune.turn(number, both) for number in range(80)]
    assert turns[:4] == ["xgboost", "logistic", "xgboost", "logistic"]
    assert 10 <= turns.count("logistic") <= 15
    assert {tune.turn(number, ("logistic",)) for number in range(80)} == {"logistic"}


def test_a_starting_point_meets_the_algorithm_whose_turn_it_is() -> None:
    both = ("xgboost", "logistic")
    for number, point in enumerate(tune._starting_points(both)):
        assert all(name.startswith(f"{tune.turn(number, both)}:") for name in point)


def test_proposals_come_from_the_space_and_name_their_algorithm() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(30):
        trial = study.ask()
        algorithm = tune.propose(trial, algorithms=("xgboost", "logistic"))["algorithm"]
        own = tune.own_params(algorithm, trial.params)
        assert own.keys() == SPACES[algorithm].keys()
        assert len(trial.params) == len(own)

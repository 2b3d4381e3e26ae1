"""The search's own rules, without a cluster; tests/story runs the search for real."""

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forewarn.errors import ForewarnError
from forewarn.spaces import STARTING_POINTS
from forewarn.tasks import Classification, Regression
from tests.training.test_proposals import Controller, Trial
from training import presets, tune
from training.proposals import FOLDS
from training.recipes import Recipe
from training.tune import Finished, Found

EVENT = Classification(event="Yes")
HOURS = Regression(unit="hours")


def finished(number: int, algorithm: str, score: float, *, whole: bool = True, **more: Any) -> Finished:
    params = {**STARTING_POINTS[algorithm][0], "mark": float(number)}  # no two are alike
    given = {"balance": "none", "seen": [score] * (10 if whole else 3), "seconds": 1.0, **more}
    return Finished(number=number, algorithm=algorithm, params=params, score=score, whole=whole, **given)


def ended(number: int, **result: Any) -> Any:
    """A trial as Ray Tune hands it to a callback when it is over."""
    recipe = Recipe(algorithm="logistic", params={"C": 0.1}, balance="smote")
    last = {"roc_auc": 0.8, "seen": [0.7, 0.8], "params": recipe.params, "time_total_s": 1.5, **result}
    return SimpleNamespace(config={"number": number, **recipe.to_json()}, last_result=last)


def recorder(folder: Path, heard: list[Finished] | None = None) -> tune._Recorder:
    return tune._Recorder(folder / tune.FINISHED, "roc_auc", 2, None if heard is None else heard.append)


def test_only_trials_that_saw_every_fold_can_win() -> None:
    trials = [
        finished(0, "xgboost", 0.83),
        finished(1, "xgboost", 0.99, whole=False),
        finished(2, "logistic", 0.82),
        finished(3, "logistic", 0.81),
    ]
    best = tune._best(EVENT, trials)
    assert best.scores == {"xgboost": 0.83, "logistic": 0.82}
    assert best.best == {"xgboost": trials[0].recipe, "logistic": trials[2].recipe}
    assert best.trials == trials


def test_a_search_in_which_no_trial_saw_every_fold_says_what_to_do() -> None:
    with pytest.raises(ForewarnError, match="--budget-s"):
        tune._best(EVENT, [finished(0, "xgboost", 0.9, whole=False)])


def test_a_search_ends_with_its_seconds_but_not_before_one_trial_saw_every_fold() -> None:
    now = 100.0
    spent = tune.Spent(10.0, 5, whole=False, clock=lambda: now)
    assert not spent.stop_all()
    now = 111.0
    assert not spent.stop_all(), "nothing could be proved yet"
    assert not spent("trial-1", {FOLDS: 3})
    assert not spent.stop_all()
    spent("trial-1", {FOLDS: 5})
    assert spent.stop_all()


def test_a_search_that_never_gets_anywhere_ends_too() -> None:
    now = 0.0
    spent = tune.Spent(10.0, 5, whole=False, clock=lambda: now)
    spent.stop_all()
    now = 10.0 + tune.PATIENCE_SECONDS
    assert spent.stop_all()
    begun = tune.Spent(10.0, 5, whole=True, clock=lambda: now)
    begun.stop_all()
    now += 10.0
    assert begun.stop_all(), "one that goes on has a trial that did"


def test_of_errors_the_smallest_wins() -> None:
    trials = [finished(0, "svr", 3.9), finished(1, "svr", 3.8), finished(2, "svr", 4.1)]
    assert tune._best(HOURS, trials).scores == {"svr": 3.8}


@pytest.mark.parametrize("task", [EVENT, HOURS], ids=["event", "amount"])
def test_of_equals_the_one_proposed_first_wins_whatever_order_they_come_in(task: Classification | Regression) -> None:
    trials = [finished(number, "xgboost", 0.8) for number in (4, 2, 7)]
    for given in (trials, trials[::-1]):
        assert tune._best(task, given).best["xgboost"] == trials[1].recipe


def test_each_way_to_balance_is_told_with_the_best_that_it_reached() -> None:
    trials = [
        finished(0, "xgboost", 0.8),
        finished(1, "logistic", 0.7),
        finished(2, "xgboost", 0.75, balance="smote"),
        finished(3, "xgboost", 0.99, balance="smote", whole=False),
    ]
    found = Found(best={}, scores={}, trials=trials)
    assert found.balances(EVENT) == {"none": 0.8, "smote": 0.75}
    assert found.balances(HOURS) == {"none": 0.7, "smote": 0.75}


def test_trials_are_read_back_as_they_were_in_the_order_of_their_proposals(tmp_path: Path) -> None:
    trials = [finished(2, "logistic", 0.8), finished(0, "xgboost", 1 / 3, balance="smote", whole=False)]
    lines = "".join(json.dumps(asdict(trial)) + "\n" for trial in trials)
    (tmp_path / tune.FINISHED).write_text(lines + lines[:20])  # the driver was killed while it wrote
    assert tune.finished_before(tmp_path) == trials[::-1]
    assert tune.finished_before(tmp_path / "nothing") == []
    (tmp_path / tune.FINISHED).write_text(lines[:20])
    assert tune.finished_before(tmp_path) == []


def test_a_trial_is_written_down_as_it_ends_and_told_to_the_listener(tmp_path: Path) -> None:
    heard: list[Finished] = []
    writing = recorder(tmp_path, heard)
    writing.on_trial_complete(1, [], ended(3))
    writing.on_trial_complete(2, [], ended(1, seen=[0.8]))
    assert tune.finished_before(tmp_path) == heard[::-1]
    assert heard[0] == Finished(
        number=3, algorithm="logistic", params={"C": 0.1}, balance="smote", score=0.8, seen=[0.7, 0.8], whole=True,
        seconds=1.5,
    )  # fmt: skip
    assert [trial.whole for trial in heard] == [True, False]
    assert heard[0].name == "logistic-003"
    assert heard[0].recipe == Recipe(algorithm="logistic", params={"C": 0.1}, balance="smote")


def test_a_trial_that_was_cut_off_before_its_first_fold_is_not_written_down(tmp_path: Path) -> None:
    writing = recorder(tmp_path)
    writing.on_trial_complete(1, [], SimpleNamespace(config={}, last_result={}))
    assert not writing.recorded_any
    assert tune.finished_before(tmp_path) == []


def test_a_record_whose_last_line_is_torn_is_gone_on_with(tmp_path: Path) -> None:
    """Else the next trial would be joined to it, and neither could be read."""
    recorder(tmp_path).on_trial_complete(1, [], ended(0))
    record = tmp_path / tune.FINISHED
    record.write_text(record.read_text() + '{"number": 1, "algo')
    recorder(tmp_path).on_trial_complete(1, [], ended(1))
    assert [trial.number for trial in tune.finished_before(tmp_path)] == [0, 1]


def test_a_trial_is_written_down_with_the_rounds_that_it_found(tmp_path: Path) -> None:
    recorder(tmp_path).on_trial_complete(1, [], ended(0, params={"C": 0.1, "n_estimators": 85}))
    assert tune.finished_before(tmp_path)[0].recipe.params == {"C": 0.1, "n_estimators": 85}


def test_a_resumed_search_holds_trees_against_trees_alone() -> None:
    done = {trial.number: trial for trial in (finished(0, "logistic", 0.9), finished(1, "xgboost", 0.6))}
    default = presets.preset("default", EVENT, seed=0)
    halving = tune._halving(10, default, done, metric="roc_auc", mode="max", width=1, slots=1)
    last = Trial(2)
    halving.on_trial_add(Controller(), last)
    assert halving.on_trial_result(None, last, {"folds": 3, "roc_auc": 0.7}) == "CONTINUE"
    worse = Trial(3)
    halving.on_trial_add(Controller(), worse)
    assert halving.on_trial_result(None, worse, {"folds": 3, "roc_auc": 0.5}) == "STOP"


def test_a_resumed_search_keeps_its_width(tmp_path: Path) -> None:
    """On a larger cluster it would otherwise propose something else."""
    (tmp_path / tune.WIDTH).write_text("6")
    assert tune._width(tmp_path, 2) == 6

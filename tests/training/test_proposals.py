"""What a search tries next: the same whatever order its trials end in, also after a resume. No Ray is started."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
from ray.tune.search import Searcher

from forewarn.spaces import SPACES, STARTING_POINTS
from forewarn.tasks import Classification, Regression, Task
from training.proposals import Halving, InOrder, Listed, Proposals, Sampled, starting_points, turn
from training.recipes import Recipe

EVENT = Classification(event="Yes")
HOURS = Regression(unit="hours")
BOTH = ("xgboost", "logistic")
WIDTH = 3
FOLDS = 10
TRIALS = 20
Pick = Callable[[list[int]], int]
PICKS: dict[str, Pick] = {
    "first come first served": min,
    "the last started ends first": max,
    "any order": lambda running: running[sum(running) * 7919 % len(running)],
}


def score_of(config: dict[str, Any]) -> float:
    """A made-up objective: deterministic, and different for every recipe."""
    return float(sum(np.cos(value * (place + 1)) for place, value in enumerate(config["params"].values())))


@dataclass
class Search:
    """As Ray Tune would run it: as many trials at a time as are given out, ended in the order of `pick`."""

    searcher: InOrder
    pick: Pick
    slots: int = 2
    failing: frozenset[int] = frozenset()
    proposed: list[dict[str, Any]] = field(default_factory=list)

    def run(self, trials: int) -> list[dict[str, Any]]:
        running: dict[int, dict[str, Any]] = {}
        while len(self.proposed) < trials or running:
            while len(running) < self.slots and len(self.proposed) < trials:
                config = self.searcher.suggest(f"t{len(self.proposed)}")
                if config is None or config == Searcher.FINISHED:
                    break
                running[len(self.proposed)] = config
                self.proposed.append(config)
            if not running:
                break
            place = self.pick(sorted(running))
            self._end(place, running.pop(place))
        return self.proposed

    def _end(self, place: int, config: dict[str, Any]) -> None:
        if config["number"] in self.failing:
            self.searcher.on_trial_complete(f"t{place}", error=True)
        else:
            self.searcher.on_trial_complete(f"t{place}", {"roc_auc": score_of(config)})


def in_order(proposals: Proposals | None = None, before: dict[int, float] | None = None) -> InOrder:
    return InOrder(
        proposals or Sampled(EVENT, ("none", "smote"), seed=1),
        width=WIDTH, before=before or {}, metric="roc_auc", mode="max",
    )  # fmt: skip


@cache
def usual() -> list[dict[str, Any]]:
    """What is proposed where two trials run at a time, and end as they began."""
    return Search(in_order(), min).run(TRIALS)


def listed(n: int) -> Listed:
    return Listed(tuple(Recipe(algorithm="logistic", params={"C": float(place)}) for place in range(n)))


@pytest.mark.parametrize("algorithm", sorted(SPACES))
def test_starting_points_lie_within_the_space(algorithm: str) -> None:
    for point in STARTING_POINTS[algorithm]:
        assert point.keys() == SPACES[algorithm].keys()
        assert all(
            SPACES[algorithm][name].low <= value <= SPACES[algorithm][name].high for name, value in point.items()
        )


def test_every_algorithm_has_its_turn_and_the_first_most_of_them() -> None:
    turns = [turn(number, BOTH) for number in range(80)]
    assert turns[:4] == ["xgboost", "logistic", "xgboost", "logistic"]
    assert 10 <= turns.count("logistic") <= 15
    assert {turn(number, ("logistic",)) for number in range(80)} == {"logistic"}


def test_a_starting_point_meets_the_algorithm_whose_turn_it_is() -> None:
    for number, point in enumerate(starting_points(BOTH)):
        assert all(name.startswith(f"{turn(number, BOTH)}:") for name in point)


@pytest.mark.parametrize("task", [EVENT, HOURS], ids=["event", "amount"])
def test_proposals_begin_with_the_starting_points_and_stay_within_the_space(task: Task) -> None:
    proposals = Sampled(task, ("none",), seed=0)
    start = len(starting_points(task.algorithms))
    for number in range(start + 12):
        recipe = proposals.ask(number)
        assert recipe is not None
        space = SPACES[recipe.algorithm]
        assert recipe.algorithm == turn(number, task.algorithms)
        assert recipe.params.keys() == space.keys() - {"n_estimators"}  # every number of them is tried
        assert all(space[name].low <= value <= space[name].high for name, value in recipe.params.items())
        assert all(value == int(value) for name, value in recipe.params.items() if space[name].whole)
        if number < start:
            assert recipe.params.items() <= STARTING_POINTS[recipe.algorithm][number // 2].items()
        proposals.tell(score_of(recipe.to_json()))


def test_every_way_to_balance_that_is_asked_for_is_tried_and_no_other() -> None:
    assert {config["balance"] for config in usual()} == {"none", "smote"}
    plain = Search(in_order(Sampled(EVENT, ("scale_pos_weight",), seed=1)), min).run(10)
    assert {config["balance"] for config in plain} == {"scale_pos_weight"}


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("pick", PICKS.values(), ids=PICKS)
def test_proposals_are_the_same_whatever_order_trials_end_in(pick: Pick, slots: int) -> None:
    assert Search(in_order(), pick, slots=slots).run(TRIALS) == usual()
    assert [config["number"] for config in usual()] == list(range(TRIALS))


def test_proposals_learn_from_results() -> None:
    """Else their order would not matter."""

    class Turned(Search):
        def _end(self, place: int, config: dict[str, Any]) -> None:
            self.searcher.on_trial_complete(f"t{place}", {"roc_auc": -score_of(config)})

    one, other = usual(), Turned(in_order(), min).run(TRIALS)
    start = len(starting_points(BOTH))
    assert [config["params"] for config in one[:start]] == [config["params"] for config in other[:start]]
    assert one[start:] != other[start:]


def test_a_proposal_waits_for_the_results_that_it_needs_and_for_no_others() -> None:
    searcher = in_order()
    for place in range(WIDTH):
        assert searcher.suggest(f"t{place}")["number"] == place
    assert searcher.suggest("waits") is None
    searcher.on_trial_complete("t1", {"roc_auc": 0.7})
    searcher.on_trial_complete("t2", {"roc_auc": 0.7})
    assert searcher.suggest("waits") is None  # it is the first that is asked for
    searcher.on_trial_complete("t0", {"roc_auc": 0.7})
    assert [searcher.suggest(f"n{place}")["number"] for place in range(3)] == [3, 4, 5]
    assert searcher.suggest("waits") is None


@pytest.mark.parametrize("ended", [{0, 1, 2, 3, 4, 5, 6}, {0, 1, 2, 3, 4, 6}, {0, 2}, set()], ids=str)
def test_a_resumed_search_goes_on_as_it_would_have_gone(ended: set[int]) -> None:
    whole = usual()
    before = {number: score_of(whole[number]) for number in ended}
    rest = Search(in_order(before=before), max, slots=3).run(TRIALS - len(ended))
    assert rest == [config for config in whole if config["number"] not in ended]


class Told:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.scores: list[float | None] = []

    def ask(self, number: int) -> Recipe | None:
        return Recipe(algorithm="logistic", params={"C": float(number)})

    def tell(self, score: float | None) -> None:
        self.scores.append(score)


def test_a_failed_trial_is_told_as_failed_in_its_turn() -> None:
    told = Told()
    found = Search(in_order(told), max, failing=frozenset({1, 4})).run(8)
    wanted = [None if config["number"] in (1, 4) else score_of(config) for config in found]
    assert told.scores == wanted[: len(told.scores)]
    assert len(told.scores) >= 5


def test_a_trial_that_ended_without_a_result_is_told_as_failed() -> None:
    told = Told()
    searcher = InOrder(told, width=1, before={}, metric="roc_auc", mode="max")
    searcher.suggest("a")
    searcher.on_trial_complete("a", {})
    searcher.suggest("b")
    assert told.scores == [None]


def test_a_search_in_which_trials_fail_is_the_same_in_any_order() -> None:
    failing = frozenset({0, 9, 10})
    found = [Search(in_order(), pick, failing=failing).run(16) for pick in PICKS.values()]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("before", [{}, {0: 0.5, 3: 0.5}], ids=["fresh", "resumed"])
def test_a_list_ends_the_search_when_it_is_through(before: dict[int, float]) -> None:
    searcher = in_order(listed(5), before)
    found = Search(searcher, max).run(100)
    assert [config["number"] for config in found] == [number for number in range(5) if number not in before]
    assert all(config["params"] == {"C": config["number"]} for config in found)
    assert searcher.suggest("one more") == Searcher.FINISHED


@dataclass(frozen=True)
class Trial:
    """As far as a scheduler looks at one."""

    number: int
    algorithm: str = "xgboost"

    @property
    def trial_id(self) -> str:
        return f"id{self.number}"

    placement_group_factory: str = "any"

    @property
    def config(self) -> dict[str, Any]:
        return {"number": self.number, "algorithm": self.algorithm}


class Controller:
    """What a scheduler asks of Ray Tune's controller when a trial is added."""

    def __init__(self) -> None:
        self._tune_controller = self
        self._actor_cache = self
        self.kept = self.pending = 0

    def update_max_pending_trials(self, count: int) -> None:
        self.pending = count

    def increase_max(self, _: Any, by: int) -> None:
        self.kept += by


def means(number: int, mode: str = "max") -> list[float]:
    """Each trial's running means, fold by fold; neither rising nor falling with the number."""
    level = np.cos(number * 1.7)
    sign = 1 if mode == "max" else -1
    return [float(sign * (level + 0.3 * np.sin(number + fold))) for fold in range(FOLDS)]


def halving(mode: str = "max") -> Halving:
    return Halving(metric="roc_auc", mode=mode, folds=FOLDS, width=WIDTH, slots=2)


def stops(
    scheduler: Halving, trials: list[Trial], pick: Pick, *, ended: frozenset[int] = frozenset(), mode: str = "max"
) -> dict[int, int]:
    """Run trials fold by fold, `pick` saying which of those that may run goes on: number -> folds that it saw."""
    seen: dict[int, int] = {}
    running: dict[int, int] = {}
    waiting = {trial.number: trial for trial in trials if trial.number not in ended}
    over = set(ended)
    while waiting or running:
        for number in sorted(waiting):
            if all(other in over for other in range(number - WIDTH + 1)):
                scheduler.on_trial_add(Controller(), waiting.pop(number))
                running[number] = 0
        number = pick(sorted(running))
        running[number] += 1
        result = {"folds": running[number], "roc_auc": means(number, mode)[running[number] - 1]}
        stopped = scheduler.on_trial_result(None, trials[number], result) == Halving.STOP
        if stopped or running[number] == FOLDS:
            scheduler.on_trial_complete(None, trials[number], result)
            seen[number] = running.pop(number)
            over.add(number)
    return seen


TREES = [Trial(number) for number in range(24)]
MIXED = [Trial(number, "logistic" if number % 4 == 1 else "xgboost") for number in range(24)]


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_worse_half_is_stopped_and_the_best_is_not(mode: str) -> None:
    found = stops(halving(mode), TREES, min, mode=mode)
    best = max(TREES, key=lambda trial: means(trial.number)[2]).number
    assert found[best] == FOLDS
    assert 5 <= sum(folds < FOLDS for folds in found.values()) <= 19
    assert set(found.values()) == {3, 6, 10}


@pytest.mark.parametrize("trials", [TREES, MIXED], ids=["trees", "both"])
@pytest.mark.parametrize("pick", PICKS.values(), ids=PICKS)
def test_the_same_trials_are_stopped_whatever_order_they_run_in(trials: list[Trial], pick: Pick) -> None:
    assert stops(halving(), trials, pick) == stops(halving(), trials, min)


def test_a_trial_is_not_held_against_those_that_ran_beside_it() -> None:
    scheduler = halving()
    for number, mean in ((0, 0.9), (1, 0.8), (2, 0.1)):
        scheduler.on_trial_add(Controller(), Trial(number))
        assert scheduler.on_trial_result(None, Trial(number), {"folds": 3, "roc_auc": mean}) == "CONTINUE"
    scheduler.on_trial_add(Controller(), Trial(3))
    assert scheduler.on_trial_result(None, Trial(3), {"folds": 3, "roc_auc": 0.8}) == "STOP"
    scheduler.on_trial_add(Controller(), Trial(4))
    assert scheduler.on_trial_result(None, Trial(4), {"folds": 3, "roc_auc": 0.86}) == "CONTINUE"


def test_linear_models_are_never_stopped_and_nobody_is_held_against_them() -> None:
    with_linear = stops(halving(), MIXED, min)
    linear = {trial.number for trial in MIXED if trial.algorithm == "logistic"}
    assert all(with_linear[number] == FOLDS for number in linear)
    scheduler = halving()
    for number in range(6):
        scheduler.on_trial_add(Controller(), Trial(number, "svr"))
        last = {"folds": FOLDS, "roc_auc": 100.0}
        assert scheduler.on_trial_result(None, Trial(number, "svr"), last) == "CONTINUE"
        scheduler.on_trial_complete(None, Trial(number, "svr"), last)
    trees = [Trial(number) for number in range(24)]
    assert stops(scheduler, trees, min) == stops(halving(), trees, min)


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("count", [4, 11, 20])
def test_what_ended_before_a_resume_is_remembered(count: int, mode: str) -> None:
    whole = stops(halving(mode), MIXED, max, mode=mode)
    again = halving(mode)
    for trial in MIXED[:count]:
        if trial.algorithm != "logistic":
            again.remember(trial.number, means(trial.number, mode)[: whole[trial.number]])
    rest = stops(again, MIXED, min, ended=frozenset(range(count)), mode=mode)
    assert rest == {number: folds for number, folds in whole.items() if number >= count}


def test_fewer_folds_than_the_grace_stop_nothing() -> None:
    scheduler = Halving(metric="roc_auc", mode="max", folds=2, width=1, slots=1)
    for number, mean in enumerate([0.9, 0.1, 0.1]):
        scheduler.on_trial_add(Controller(), Trial(number))
        result = {"folds": 1, "roc_auc": mean}
        assert scheduler.on_trial_result(None, Trial(number), result) == "CONTINUE"


def test_a_list_is_seen_to_its_end() -> None:
    scheduler = Halving(metric="roc_auc", mode="max", folds=FOLDS, width=WIDTH, slots=2, grace=FOLDS)
    assert set(stops(scheduler, TREES, min).values()) == {FOLDS}
    assert scheduler.milestones == (FOLDS,)


def test_a_worker_for_each_slot_is_begun_with_and_kept() -> None:
    controller, scheduler = Controller(), halving()
    for number in range(3):
        scheduler.on_trial_add(controller, Trial(number))
    assert (controller.pending, controller.kept) == (2, 2)

"""What the search tries next, always the same for the same seed, however fast each trial is.

Trials end in any order; which ends first is a matter of the machine. So a proposal is made, and a trial stopped, by
the results of those proposed at least `width` before it, all of which are waited for, and by no others.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import optuna
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler
from ray.tune.schedulers.async_hyperband import _Bracket
from ray.tune.search import Searcher

from forewarn.spaces import ROUNDS, SPACES, STARTING_POINTS, Range
from forewarn.tasks import Task
from training.recipes import Balance, Recipe

# Trials of these may end early. A linear fit is over before ASHA could stop it, and its best is always wanted.
STOPPABLE = frozenset({"xgboost", "xgboost_absolute"})
# After three folds the worse half of the trials ends; with fewer the fold-to-fold noise decides (docs/decisions/0004).
GRACE_FOLDS = 3
# In a trial's result: how many folds it has seen.
FOLDS = "folds"


class Proposals(Protocol):
    """Asked in order of number, told in order of number."""

    def ask(self, number: int) -> Recipe | None:
        """What this trial tries; None where the proposals end."""

    def tell(self, score: float | None) -> None:
        """The next trial's score; None if it failed."""


class Listed:
    """A list, fixed beforehand."""

    def __init__(self, points: tuple[Recipe, ...]):
        self._points = points

    def ask(self, number: int) -> Recipe | None:
        """The point of that number."""
        return self._points[number] if number < len(self._points) else None

    def tell(self, score: float | None) -> None:
        """Teaches a list nothing."""


class Sampled:
    """Optuna's tree-structured Parzen estimator, after the starting points."""

    def __init__(self, task: Task, balances: tuple[Balance, ...], *, seed: int):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._algorithms = task.algorithms
        self._balances = balances
        self._study = optuna.create_study(
            direction="maximize" if task.larger_is_better else "minimize", sampler=optuna.samplers.TPESampler(seed=seed)
        )
        self._told = 0
        for point in starting_points(task.algorithms):
            self._study.enqueue_trial(point)

    def ask(self, number: int) -> Recipe | None:
        """By turns over the algorithms, within each by what did well."""
        trial = self._study.ask()
        algorithm = turn(number, self._algorithms)
        params = {name: suggested(trial, f"{algorithm}:{name}", extent) for name, extent in drawn(algorithm).items()}
        place = trial.suggest_categorical("balance", range(len(self._balances))) if len(self._balances) > 1 else 0
        return Recipe(algorithm=algorithm, params=params, balance=self._balances[int(place)])

    def tell(self, score: float | None) -> None:
        """Optuna learns of the next one in line."""
        if score is None:
            self._study.tell(self._told, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(self._told, score)
        self._told += 1


class InOrder(Searcher):
    """Gives Ray Tune the proposals. One that would need the result of a trial still running has to wait for it.

    Args:
        before: number -> score of the trials that ended in an earlier run of this search; they are not run again.
    """

    def __init__(self, proposals: Proposals, *, width: int, before: Mapping[int, float], metric: str, mode: str):
        super().__init__(metric=metric, mode=mode)
        self._proposals = proposals
        self._width = width
        self._before = before
        self._scores: dict[int, float | None] = dict(before)
        self._numbers: dict[str, int] = {}
        self._next = 0
        self._told = 0

    def suggest(self, trial_id: str) -> Any:
        """The next trial that has not run yet; None while it cannot be said."""
        while self._tell_all_but(self._width):
            recipe = self._proposals.ask(self._next)
            if recipe is None:
                return Searcher.FINISHED
            number, self._next = self._next, self._next + 1
            if number not in self._before:
                self._numbers[trial_id] = number
                return {"number": number, **recipe.to_json()}
        return None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Keep the result until it is its turn."""
        score = None if error or not result else result.get(self.metric)
        self._scores[self._numbers[trial_id]] = score

    def save(self, checkpoint_path: str) -> None:
        """Ray Tune wants a file. A search is resumed from the record of its ended trials, and from nothing else."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """See `save`."""

    def _tell_all_but(self, width: int) -> bool:
        while self._told <= self._next - width:
            if self._told not in self._scores:
                return False
            self._proposals.tell(self._scores[self._told])
            self._told += 1
        return True


class Halving(ASHAScheduler):
    """Asynchronous successive halving (Li et al. 2020) among the algorithms that it may stop.

    Args:
        slots: trials that run at a time.
        grace: folds that each trial sees; as many as there are stops none.
    """

    def __init__(self, *, metric: str, mode: str, folds: int, width: int, slots: int, grace: int = GRACE_FOLDS):
        grace = min(grace, folds)
        super().__init__(time_attr=FOLDS, metric=metric, mode=mode, max_t=folds, grace_period=grace, reduction_factor=2)
        self._rungs = _Rungs(grace, folds, 2, 0)
        self._rungs.width = width
        self._brackets = [self._rungs]
        self._slots = slots
        self._keeping = False

    @property
    def milestones(self) -> tuple[int, ...]:
        """After so many folds a trial may be stopped."""
        return tuple(sorted(int(milestone) for milestone, _ in self._rungs.rungs))

    def remember(self, number: int, seen: list[float]) -> None:
        """The running means of a trial that ended in an earlier run."""
        self._rungs.remember(number, [mean if self._mode == "max" else -mean for mean in seen])

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """With the first trial, have Tune begin with a worker for each slot, and keep them until the search is over.

        By itself it keeps one where no trial waits; and a worker that starts, 3 s, is given up as soon as another is
        free. A search of trials that take half a second then runs one at a time: 75 s instead of 40.
        """
        super().on_trial_add(tune_controller, trial)
        if not self._keeping:
            controller = tune_controller._tune_controller
            controller.update_max_pending_trials(self._slots)
            controller._actor_cache.increase_max(trial.placement_group_factory, by=self._slots)
            self._keeping = True

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Stop it, or let it see the next fold."""
        if trial.config["algorithm"] not in STOPPABLE:
            return str(self.CONTINUE)
        return str(super().on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Nobody is held against a trial that may not be stopped, as after a resume."""
        if trial.config["algorithm"] in STOPPABLE:
            super().on_trial_complete(tune_controller, trial, result)


class _Rungs(_Bracket):
    """Holds a trial against those proposed `width` before it: Ray's own holds it against whoever was faster."""

    width: int

    @property
    def rungs(self) -> list[tuple[float, dict[int, float]]]:
        """(folds, number -> running mean)."""
        return self._rungs

    def on_result(self, trial: Any, cur_iter: int, cur_rew: float | None) -> str:
        self._number = trial.config["number"]
        # Ray keys by trial id; numbers are what can be compared, and outlive a resume.
        return str(super().on_result(_Numbered(self._number), cur_iter, cur_rew))  # type: ignore[arg-type]

    def cutoff(self, recorded: dict[int, float]) -> Any:
        earlier = {number: mean for number, mean in recorded.items() if number <= self._number - self.width}
        return super().cutoff(earlier)

    def remember(self, number: int, seen: list[float]) -> None:
        for milestone, recorded in self._rungs:
            if len(seen) >= milestone:
                recorded[number] = seen[int(milestone) - 1]


class _Numbered:
    """A trial as far as a rung is concerned."""

    def __init__(self, number: int):
        self.trial_id = number


def turn(number: int, algorithms: tuple[str, ...]) -> str:
    """Which algorithm the trial of that number is for.

    By turns, not by merit: the blend wants the best of each, and a sampler that may choose spends the budget on
    whichever leads. After the starting points the first, which has most to tune, gets seven trials of eight.
    """
    if number < len(starting_points(algorithms)):
        return algorithms[number % len(algorithms)]
    eighth, place = divmod(number, 8)
    return algorithms[1 + eighth % (len(algorithms) - 1)] if place == 7 and len(algorithms) > 1 else algorithms[0]


def starting_points(algorithms: tuple[str, ...]) -> list[dict[str, Any]]:
    """Taken in turn over the algorithms, so that a small budget has seen each of them."""
    in_turn = zip(*(STARTING_POINTS[algorithm] for algorithm in algorithms), strict=True)
    return [
        {f"{algorithm}:{name}": point[name] for name in drawn(algorithm)}
        for points in in_turn
        for algorithm, point in zip(algorithms, points, strict=True)
    ]


def drawn(algorithm: str) -> dict[str, Range]:
    """What a trial has to choose beforehand."""
    return {name: extent for name, extent in SPACES[algorithm].items() if name != ROUNDS}


def suggested(trial: optuna.Trial, name: str, extent: Range) -> float:
    """A value within the range."""
    if extent.whole:
        return trial.suggest_int(name, int(extent.low), int(extent.high), log=extent.log)
    return trial.suggest_float(name, extent.low, extent.high, log=extent.log)

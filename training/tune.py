"""The search: Ray Tune runs trials in parallel, Optuna proposes them, ASHA ends the hopeless ones early.

A trial is one recipe, cross-validated fold by fold in one thread. Results are kept in a file as they come, so a search
whose driver died goes on where it stopped, and goes on as it would have gone.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import tune
from ray.tune.experiment import Trial

from forewarn import performance
from forewarn.errors import ForewarnError
from forewarn.tasks import Task
from training.data import Fold
from training.presets import Preset
from training.proposals import FOLDS, STOPPABLE, Halving, InOrder, Listed, Proposals, Sampled
from training.recipes import Balance, Recipe

FINISHED = "finished.jsonl"
WIDTH = "width"
# Below one CPU, so that two trials still fit on two cores beside a serving application's 0.4.
CPUS_PER_TRIAL = 0.75
# A wider search waits less for its slowest trial, and learns later from each.
WIDTH_PER_SLOT = 2


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When the search ends: after so many trials or so many seconds, whichever comes first."""

    trials: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Finished:
    """One trial that came to its end.

    Attributes:
        number: in the order of proposals, from 0.
        score: mean selection metric over the folds it lived to see; `seen` its running means, fold by fold.
        whole: whether it saw every fold.
    """

    number: int
    algorithm: str
    params: dict[str, float]
    balance: Balance
    score: float
    seen: list[float]
    whole: bool
    seconds: float

    @property
    def name(self) -> str:
        """As the registry calls it."""
        return f"{self.algorithm}-{self.number:03d}"

    @property
    def recipe(self) -> Recipe:
        """What was tried."""
        return Recipe(algorithm=self.algorithm, params=self.params, balance=self.balance)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search came to.

    Attributes:
        best: algorithm -> its best recipe; scores: algorithm -> that one's mean selection metric.
        trials: all that ended, in the order in which they were proposed.
    """

    best: dict[str, Recipe]
    scores: dict[str, float]
    trials: list[Finished]

    def balances(self, task: Task) -> dict[str, float]:
        """Each way to balance -> the best mean that it reached."""
        pick = max if task.larger_is_better else min
        whole = [trial for trial in self.trials if trial.whole]
        ways = sorted({trial.balance for trial in whole})
        return {way: pick(trial.score for trial in whole if trial.balance == way) for way in ways}


def search(
    folds: list[Fold],
    *,
    task: Task,
    preset: Preset,
    balances: tuple[Balance, ...] = ("none",),
    budget: Budget,
    seed: int,
    folder: Path,
    heard: Callable[[Finished], None],
) -> Found:
    """Search until the budget is spent; `heard` is told of each finished trial.

    The folder keeps the record until the caller removes it. If one is there already, its trials count. The same
    folds, seed and number of trials give the same trials, unless the clock ends the search.

    Raises:
        ForewarnError: not one trial finished.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = {trial.number: trial for trial in finished_before(folder)}
    if len(done) < min(budget.trials, len(preset.points) or budget.trials):
        recorder = _Recorder(folder / FINISHED, preset.metric, len(folds), heard)
        proposals: Proposals = Listed(preset.points) if preset.points else Sampled(task, balances, seed=seed)
        ran = _tuner(folds, task, preset, budget, seed, folder, recorder, proposals, done).fit()
        if ran.errors and not recorder.recorded_any:
            raise ForewarnError(f"every trial failed; the first: {str(ran.errors[0]).strip().splitlines()[-1]}")
    return _best(task, finished_before(folder))


def _tuner(
    folds: list[Fold],
    task: Task,
    preset: Preset,
    budget: Budget,
    seed: int,
    folder: Path,
    recorder: "_Recorder",
    proposals: Proposals,
    done: Mapping[int, Finished],
) -> tune.Tuner:
    asked = {"metric": preset.metric, "mode": "max" if task.larger_is_better else "min"}
    width = _width(folder)
    scores = {number: trial.score for number, trial in done.items()}
    halving = None if preset.points else _halving(len(folds), width, done, asked)
    milestones = halving.milestones if halving else ()
    trainable = tune.with_parameters(
        run_trial, folds=folds, task=task, seed=seed, metric=preset.metric, milestones=milestones
    )
    # A trial that the budget cut off before its first fold has no metrics, and Tune says so at length.
    logging.getLogger("ray.tune.analysis").setLevel(logging.ERROR)
    return tune.Tuner(
        tune.with_resources(trainable, {"cpu": CPUS_PER_TRIAL}),
        tune_config=tune.TuneConfig(
            search_alg=InOrder(proposals, width=width, before=scores, **asked),
            scheduler=halving,
            num_samples=budget.trials - len(done),
            time_budget_s=budget.seconds if isfinite(budget.seconds) else None,
            reuse_actors=True,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(name="tune", storage_path=str(folder), verbose=0, callbacks=[recorder]),
    )


def run_trial(
    config: dict[str, Any], *, folds: list[Fold], task: Task, seed: int, metric: str, milestones: tuple[int, ...]
) -> None:
    """Cross-validate one recipe; the mean so far is told where the trial may be stopped, and in the end.

    Runs on a worker. A report costs 0.1 s: one a fold took as long as fitting the folds.
    """
    recipe = recipe_of(config)
    scores: list[float] = []
    seen: list[float] = []
    for fold in folds:
        estimator = recipe.fit(fold.train, fold.train_labels, fold.levels, seed=seed)
        scores.append(performance.selection(task, fold.test_labels, estimator.margins(fold.test), metric))
        seen.append(float(np.mean(scores)))
        if len(seen) == len(folds) or len(seen) in milestones:
            tune.report({metric: seen[-1], FOLDS: len(seen), "seen": list(seen)})


def recipe_of(config: Mapping[str, Any]) -> Recipe:
    """The recipe in a trial's configuration."""
    return Recipe(algorithm=config["algorithm"], params=dict(config["params"]), balance=config["balance"])


def finished_before(folder: Path) -> list[Finished]:
    """Trials that ended so far, in the order in which they were proposed."""
    record = folder / FINISHED
    # Only whole lines: the last one of a driver that was killed may be torn.
    lines = record.read_text().rpartition("\n")[0].splitlines() if record.exists() else []
    return sorted((Finished(**json.loads(line)) for line in lines), key=lambda trial: trial.number)


def _width(folder: Path) -> int:
    """Twice as many trials as fit on the cluster; a resumed search keeps its own, whatever it runs on now."""
    note = folder / WIDTH
    if not note.exists():
        resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        slots = int(resources.get("CPU", 1) // CPUS_PER_TRIAL)
        note.write_text(str(WIDTH_PER_SLOT * max(1, slots)))
    return int(note.read_text())


def _halving(folds: int, width: int, done: Mapping[int, Finished], asked: dict[str, str]) -> Halving:
    halving = Halving(folds=folds, width=width, **asked)
    for number, trial in done.items():
        if trial.algorithm in STOPPABLE:
            halving.remember(number, trial.seen)
    return halving


class _Recorder(tune.Callback):
    """Hears of ended trials in the driver and writes them down. Tune pickles it; the listener stays behind."""

    def __init__(self, record: Path, metric: str, folds: int, heard: Callable[[Finished], None] | None):
        self._record = _mended(record)
        self._metric = metric
        self._folds = folds
        self._heard = heard
        self.recorded_any = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_heard": None}

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:  # noqa: ARG002
        if not trial.last_result:
            return
        self.recorded_any = True
        finished = _finished(trial, self._metric, self._folds)
        with self._record.open("a") as file:
            file.write(json.dumps(asdict(finished)) + "\n")
        if self._heard:
            self._heard(finished)


def _mended(record: Path) -> Path:
    """Without a torn last line, to which the next one would be joined."""
    if record.exists():
        os.truncate(record, record.read_bytes().rfind(b"\n") + 1)
    return record


def _finished(trial: Trial, metric: str, folds: int) -> Finished:
    result = trial.last_result
    return Finished(
        number=trial.config["number"],
        **recipe_of(trial.config).to_json(),
        score=float(result[metric]),
        seen=[float(mean) for mean in result["seen"]],
        whole=len(result["seen"]) == folds,
        seconds=float(result["time_total_s"]),
    )


def _best(task: Task, trials: list[Finished]) -> Found:
    """Only trials that saw every fold compete: a mean over fewer is a mean over other data."""
    whole = [trial for trial in trials if trial.whole]
    if not whole:
        raise ForewarnError("the search ended before one trial saw every fold; give it more seconds (--budget-s)")
    sign = 1 if task.larger_is_better else -1
    # The best comes last; of equals the one proposed first.
    ranked = sorted(whole, key=lambda trial: (sign * trial.score, -trial.number))
    return Found(
        best={trial.algorithm: trial.recipe for trial in ranked},
        scores={trial.algorithm: trial.score for trial in ranked},
        trials=trials,
    )


def _name(trial: Trial) -> str:
    return f"{trial.config.get('algorithm', 'trial')}-{trial.config.get('number', 0):03d}"

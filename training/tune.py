"""The search: Ray Tune runs trials in parallel, Optuna proposes them, ASHA ends the hopeless ones early.

A trial is one recipe, cross-validated fold by fold (training/trial.py). Results are kept in a file as they come, so a
search whose driver died goes on where it stopped, and goes on as it would have gone.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial

from forewarn.errors import ForewarnError
from forewarn.tasks import Task
from training.data import Fold
from training.presets import Preset
from training.proposals import FOLDS, GRACE_FOLDS, STOPPABLE, Halving, InOrder, Listed, Proposals, Sampled
from training.recipes import Balance, Recipe
from training.trial import CrossValidation, recipe_of

FINISHED = "finished.jsonl"
# Raised when the same numbers would be other trials: an unfinished search of an older release is begun anew.
FORMAT = 2
WIDTH = "width"
# Below one CPU, so that two trials still fit on two cores beside a serving application's 0.4.
CPUS_PER_TRIAL = 0.75
# A wider search waits less for its slowest trial, and learns later from each.
WIDTH_PER_SLOT = 2
# Beyond its budget a search waits so long for the first trial that saw every fold; then something else is wrong.
PATIENCE_SECONDS = 300.0


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
        proposals: Proposals = Listed(preset.points) if preset.points else Sampled(task, balances, seed=seed)
        asked = {"metric": preset.metric, "mode": "max" if task.larger_is_better else "min"}
        slots = at_a_time()
        width = _width(folder, slots)
        halving = _halving(len(folds), preset, done, width=width, slots=slots, **asked)
        before = {number: trial.score for number, trial in done.items()}
        searcher = InOrder(proposals, width=width, before=before, **asked)
        recorder = _Recorder(folder / FINISHED, preset.metric, len(folds), heard)
        given = {"task": task, "seed": seed, "metric": preset.metric, "milestones": halving.milestones}
        trainable = tune.with_parameters(CrossValidation, folds=folds, **given)
        spent = Spent(budget.seconds, len(folds), whole=any(trial.whole for trial in done.values()))
        ran = _tuner(trainable, searcher, halving, recorder, spent, budget.trials - len(done), folder).fit()
        if ran.errors and not recorder.recorded_any:
            raise ForewarnError(f"every trial failed; the first: {str(ran.errors[0]).strip().splitlines()[-1]}")
    return _best(task, finished_before(folder))


class Spent(tune.Stopper):
    """Ends the search when its seconds are over, but not before one trial has seen every fold: on a machine that is
    busy with other things the first one may take longer than all of them should.
    """

    def __init__(self, seconds: float, folds: int, *, whole: bool, clock: Callable[[], float] = monotonic):
        self._seconds, self._folds, self._whole, self._clock = seconds, folds, whole, clock
        self._began: float | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        """Ends no trial; takes note of one that saw everything."""
        self._whole |= result.get(FOLDS) == self._folds
        return False

    def stop_all(self) -> bool:
        """Whether it is over. The time before the first trial could begin does not count."""
        now = self._clock()
        self._began = now if self._began is None else self._began
        spent = now - self._began
        return spent >= self._seconds and (self._whole or spent >= self._seconds + PATIENCE_SECONDS)


def _tuner(
    trainable: Any, searcher: InOrder, halving: Halving, recorder: "_Recorder", spent: Spent, trials: int, folder: Path
) -> tune.Tuner:
    # A trial that the budget cut off before its first fold has no metrics, and Tune says so at length.
    logging.getLogger("ray.tune.analysis").setLevel(logging.ERROR)
    return tune.Tuner(
        tune.with_resources(trainable, {"cpu": CPUS_PER_TRIAL}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=halving,
            num_samples=trials,
            reuse_actors=True,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            verbose=0,
            callbacks=[recorder],
            stop=spent,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # the record is all that is kept
        ),
    )


def _halving(folds: int, preset: Preset, done: Mapping[int, Finished], **given: Any) -> Halving:
    """A preset's list is seen to its end; the proposals are halved, and held against those of an earlier run too."""
    halving = Halving(folds=folds, grace=folds if preset.points else GRACE_FOLDS, **given)
    for number, trial in done.items():
        if trial.algorithm in STOPPABLE:
            halving.remember(number, trial.seen)
    return halving


def finished_before(folder: Path) -> list[Finished]:
    """Trials that ended so far, in the order in which they were proposed."""
    record = folder / FINISHED
    # Only whole lines: the last one of a driver that was killed may be torn.
    lines = record.read_text().rpartition("\n")[0].splitlines() if record.exists() else []
    return sorted((Finished(**json.loads(line)) for line in lines), key=lambda trial: trial.number)


def at_a_time() -> int:
    """Trials that fit on the cluster."""
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return max(1, int(resources.get("CPU", 1) // CPUS_PER_TRIAL))


def _width(folder: Path, slots: int) -> int:
    """Twice as many trials as fit; a resumed search keeps its own, whatever it runs on now."""
    note = folder / WIDTH
    if not note.exists():
        note.write_text(str(WIDTH_PER_SLOT * slots))
    return int(note.read_text())


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
        **{**recipe_of(trial.config).to_json(), "params": dict(result["params"])},
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

"""The search: Ray Tune runs trials in parallel, Optuna proposes them, ASHA ends the hopeless ones early.

A trial is one algorithm with one set of hyperparameters, cross-validated fold by fold in one thread. Proposals
and results are kept in files as they come, so a search whose driver died goes on where it stopped.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from forewarn import performance
from forewarn.errors import ForewarnError
from forewarn.estimators import FITTERS
from forewarn.spaces import SPACES, STARTING_POINTS, Range
from forewarn.tasks import Task
from training.data import Fold

STUDY = "search"
FINISHED = "finished.jsonl"
# Trials of these may end early. A linear fit is over before ASHA could stop it, and its best is always wanted.
STOPPABLE = frozenset({"xgboost", "xgboost_absolute"})
# Below one CPU, so that two trials still fit on two cores beside a serving application's 0.4.
CPUS_PER_TRIAL = 0.75
# After three folds the worse half of the trials ends; with fewer the fold-to-fold noise decides (docs/decisions/0004).
GRACE_FOLDS = 3


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When the search ends: after so many trials or so many seconds, whichever comes first."""

    trials: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Finished:
    """One trial that came to its end: its mean selection metric over the folds it lived to see."""

    name: str
    algorithm: str
    params: dict[str, float]
    score: float
    folds: int
    whole: bool
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Found:
    """The best parameters of each algorithm, and how many trials it took."""

    best: dict[str, dict[str, float]]
    scores: dict[str, float]
    trials: int


def search(
    folds: list[Fold],
    *,
    task: Task,
    budget: Budget,
    seed: int,
    folder: Path,
    heard: Callable[[Finished], None],
) -> Found:
    """Search until the budget is spent; `heard` is told of each finished trial.

    The folder keeps the journal until the caller removes it. If one is there already, its trials count.

    Raises:
        ForewarnError: not one trial finished.
    """
    done = finished_before(folder)
    if len(done) < budget.trials:
        recorder = _Recorder(folder / FINISHED, task.metric, len(folds), heard)
        ran = _tuner(folds, task, budget, seed, folder, recorder, done=len(done)).fit()
        if ran.errors and not recorder.recorded_any:
            raise ForewarnError(f"every trial failed; the first: {str(ran.errors[0]).strip().splitlines()[-1]}")
    return _best(task, finished_before(folder))


def _tuner(
    folds: list[Fold],
    task: Task,
    budget: Budget,
    seed: int,
    folder: Path,
    recorder: "_Recorder",
    *,
    done: int,
) -> tune.Tuner:
    trainable = tune.with_parameters(run_trial, folds=folds, task=task, seed=seed)
    metric, mode, algorithms = task.metric, "max" if task.larger_is_better else "min", task.algorithms
    proposals = OptunaSearch(
        partial(propose, algorithms=algorithms),
        metric=metric,
        mode=mode,
        # The sampler's own dice start elsewhere after a resume: the same seed would propose the same again.
        sampler=optuna.samplers.TPESampler(seed=seed + done),
        points_to_evaluate=None if done else _starting_points(algorithms),
        storage=_journal(folder),
        study_name=STUDY,
    )
    return tune.Tuner(
        tune.with_resources(trainable, {"cpu": CPUS_PER_TRIAL}),
        tune_config=tune.TuneConfig(
            search_alg=proposals,
            scheduler=_Asha(metric=metric, mode=mode, max_t=len(folds), grace_period=min(GRACE_FOLDS, len(folds)),
                            reduction_factor=2),
            num_samples=budget.trials - done,
            time_budget_s=budget.seconds,
            reuse_actors=True,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(name="tune", storage_path=str(folder), verbose=0, callbacks=[recorder]),
    )  # fmt: skip


def run_trial(config: dict[str, Any], *, folds: list[Fold], task: Task, seed: int) -> None:
    """Cross-validate one configuration, reporting the mean so far after every fold. Runs on a worker."""
    algorithm = config["algorithm"]
    params = own_params(algorithm, config)
    seen: list[float] = []
    for fold in folds:
        estimator = FITTERS[algorithm](fold.train, fold.train_labels, fold.levels, seed=seed, **params)
        seen.append(performance.selection(task, fold.test_labels, estimator.margins(fold.test)))
        tune.report({task.metric: float(np.mean(seen))})


def propose(trial: optuna.Trial, *, algorithms: tuple[str, ...]) -> dict[str, str]:
    """Define-by-run: the algorithm whose turn it is, with its own hyperparameters, named `algorithm:parameter`."""
    algorithm = turn(trial.number, algorithms)
    for name, extent in SPACES[algorithm].items():
        _suggest(trial, f"{algorithm}:{name}", extent)
    return {"algorithm": algorithm}


def turn(number: int, algorithms: tuple[str, ...]) -> str:
    """Which algorithm the trial of that number is for.

    By turns, not by merit: the blend wants the best of each, and a sampler that may choose spends the budget on
    whichever leads. After the starting points the first, which has most to tune, gets seven trials of eight.
    """
    if number < len(_starting_points(algorithms)):
        return algorithms[number % len(algorithms)]
    eighth, place = divmod(number, 8)
    return algorithms[1 + eighth % (len(algorithms) - 1)] if place == 7 and len(algorithms) > 1 else algorithms[0]


def own_params(algorithm: str, config: dict[str, Any]) -> dict[str, float]:
    """The parameters of one algorithm out of a trial's flat configuration."""
    prefix = f"{algorithm}:"
    return {name.removeprefix(prefix): value for name, value in config.items() if name.startswith(prefix)}


class _Asha(ASHAScheduler):
    """Asynchronous successive halving among the algorithms that it may stop."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        if trial.config["algorithm"] not in STOPPABLE:
            return str(self.CONTINUE)
        return str(super().on_trial_result(tune_controller, trial, result))


class _Recorder(tune.Callback):
    """Hears of ended trials in the driver and writes them down. Tune pickles it; the listener stays behind."""

    def __init__(self, record: Path, metric: str, folds: int, heard: Callable[[Finished], None] | None):
        self._record = record
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


def _finished(trial: Trial, metric: str, folds: int) -> Finished:
    result = trial.last_result
    algorithm = trial.config["algorithm"]
    done = int(result["training_iteration"])
    return Finished(
        name=str(trial),
        algorithm=algorithm,
        params=own_params(algorithm, trial.config),
        score=float(result[metric]),
        folds=done,
        whole=done == folds,
        seconds=float(result["time_total_s"]),
    )


def _journal(folder: Path) -> JournalStorage:
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(logging.WARNING)
    # A trial that the budget cut off before its first fold has no metrics, and Tune says so at length.
    logging.getLogger("ray.tune.analysis").setLevel(logging.ERROR)
    return JournalStorage(JournalFileBackend(str(folder / "journal.log")))


def finished_before(folder: Path) -> list[Finished]:
    """Trials that ended in an earlier run of this search."""
    record = folder / FINISHED
    # Only whole lines: the last one of a driver that was killed may be torn.
    lines = record.read_text().rpartition("\n")[0].splitlines() if record.exists() else []
    return [Finished(**json.loads(line)) for line in lines]


def _best(task: Task, trials: list[Finished]) -> Found:
    """Only trials that saw every fold compete: a mean over fewer is a mean over other data."""
    whole = [trial for trial in trials if trial.whole]
    if not whole:
        raise ForewarnError("the search ended before one trial saw every fold; give it more seconds (--budget-s)")
    ranked = sorted(whole, key=lambda trial: trial.score, reverse=not task.larger_is_better)  # the best comes last
    return Found(
        best={trial.algorithm: trial.params for trial in ranked},
        scores={trial.algorithm: trial.score for trial in ranked},
        trials=len(trials),
    )


def _starting_points(algorithms: tuple[str, ...]) -> list[dict[str, Any]]:
    """Taken in turn over the algorithms, so that a small budget has seen each of them."""
    in_turn = zip(*(STARTING_POINTS[algorithm] for algorithm in algorithms), strict=True)
    return [
        {f"{algorithm}:{name}": value for name, value in point.items()}
        for points in in_turn
        for algorithm, point in zip(algorithms, points, strict=True)
    ]


def _suggest(trial: optuna.Trial, name: str, extent: Range) -> None:
    if extent.whole:
        trial.suggest_int(name, int(extent.low), int(extent.high), log=extent.log)
    else:
        trial.suggest_float(name, extent.low, extent.high, log=extent.log)


def _name(trial: Trial) -> str:
    return f"{trial.config.get('algorithm', 'trial')}-{trial.trial_id}"

"""One training from raw rows to a registered version: search, prove, fit, pack, register, promote."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from forewarn import state
from forewarn.errors import CannotStart
from forewarn.package import ModelPackage
from forewarn.registry import Registry
from forewarn.releases import Releases
from forewarn.settings import Settings
from forewarn.tasks import Task
from forewarn.usecase import UseCase
from training import data, fit, tune

SEARCH_REPEATS = 2
PROOF_REPEATS = 5
SHOWN_REASONS = 5
PARENT_RUN = "parent_run"


class Watch(Protocol):
    """Whoever looks on."""

    def step(self, doing: str) -> AbstractContextManager[None]:
        """Something begins that takes a while."""

    def searching(self, task: Task, trials: int) -> AbstractContextManager[Callable[[float, bool], None]]:
        """The search begins; the function yielded is told each trial's metric, and whether it saw every fold."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to train, on which rows, how long.

    Attributes:
        origin: where the rows came from, with a hash of them: recorded with the version.
        override: why a table that the quality gate refuses is learned from all the same; recorded too.
    """

    case: UseCase
    raw: list[dict[str, Any]]
    origin: dict[str, str]
    budget: tune.Budget
    seed: int = 0
    override: str = ""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What became of an order. Metrics are means and deviations over 5 × 5 folds that the search has not seen."""

    use_case: str
    version: str
    rows: int
    rejected: int
    reject_reasons: list[str]
    trials: int
    quality: list[str]
    rule: dict[str, float]
    algorithm: str
    metrics: dict[str, dict[str, float]]
    baselines: dict[str, float]
    duration_s: float


def train(order: Order, settings: Settings, watch: Watch) -> Trained:
    """Train within a connected Ray. An order whose process died goes on where it stopped.

    Raises:
        BadInput: the rows cannot be learned from.
    """
    began = monotonic()
    with watch.step("Checking the rows"):
        fit.smoke_rows(order.case)  # better told now than after the search
        found = data.trainable(data.examples(order.case, order.raw, override=order.override))
    with watch.step("Opening the registry"):
        study = Study.open(order, settings)
    best = study.search(found, watch)
    with watch.step("Proving the best on fresh folds"):
        folds = list(data.folds(found, repeats=PROOF_REPEATS, seed=order.seed + 1))
        proof = fit.prove(order.case.task, folds, best, seed=order.seed)
    with watch.step("Fitting and packing"):
        package = study.pack(found, best, proof, duration_s=monotonic() - began)
    with watch.step("Registering the version"):
        version = study.publish(package, proof)
    return Trained(
        use_case=order.case.name,
        version=version,
        rows=len(found.rows),
        rejected=len(found.rejects),
        reject_reasons=[f"row {row}: {reason}" for row, reason in found.rejects.items()][:SHOWN_REASONS],
        trials=best.trials,
        quality=list(found.quality.violations),
        rule=proof.rule,
        algorithm="+".join(proof.parts),
        metrics=proof.metrics,
        baselines=proof.baselines,
        duration_s=round(monotonic() - began, 1),
    )


class Study:
    """One order's record: its parent run in the registry, and its folder of unfinished work."""

    def __init__(self, order: Order, settings: Settings, registry: Registry, folder: Path, parent: str):
        self._order = order
        self._registry = registry
        self._releases = Releases(settings.packages)
        self._folder = folder
        self._parent = parent

    @classmethod
    def open(cls, order: Order, settings: Settings) -> "Study":
        """Take up the unfinished study of the very same order, or begin a new one."""
        registry = Registry(settings)
        folder = settings.searches / f"{order.case.name}-{_identity(order)}"
        note = folder / PARENT_RUN
        _alone(folder)
        if not note.exists():
            asked = {**order.origin, **asdict(order.budget), "seed": order.seed}
            tags = {"use_case": order.case.name, "git_sha": fit.git_sha(), "quality_override": order.override}
            state.write(note, registry.start_run(order.case, "search", params=asked, tags=tags))
        return cls(order, settings, registry, folder, note.read_text())

    def search(self, found: data.Examples, watch: Watch) -> tune.Found:
        """Search, each ended trial written to the registry as a run nested below this study's."""
        self._catch_up()
        folds = list(data.folds(found, repeats=SEARCH_REPEATS, seed=self._order.seed))
        with watch.searching(self._order.case.task, self._order.budget.trials) as tell:

            def heard(trial: tune.Finished) -> None:
                self._log(trial)
                tell(trial.score, trial.whole)

            return tune.search(
                folds,
                task=self._order.case.task,
                budget=self._order.budget,
                seed=self._order.seed,
                folder=self._folder,
                heard=heard,
            )

    def pack(self, found: data.Examples, best: tune.Found, proof: fit.Proof, *, duration_s: float) -> ModelPackage:
        """Fit on every row and put the record beside it."""
        order = self._order
        features, estimator = fit.fit(found, best.best, proof, seed=order.seed)
        record = {
            "parameters": best.best,
            "trials": best.trials,
            "seed": order.seed,
            "data": {**order.origin, "rows": len(found.rows), "rejected": len(found.rejects)},
            "quality": {**found.quality.to_json(), "override": order.override},
            "duration_s": round(duration_s, 1),
            "mlflow_run": self._parent,
        }
        return fit.pack(found, features, estimator, proof, record)

    def publish(self, package: ModelPackage, proof: fit.Proof) -> str:
        """Register, admit to the store, make champion; then the unfinished work may go."""
        case, registry = self._order.case, self._registry
        folder = self._folder / "package"
        shutil.rmtree(folder, ignore_errors=True)  # a half-written one of a process that died
        package.save(folder)
        version = registry.register(case, self._parent, folder)
        self._releases.admit(case, version, folder)
        self._releases.promote(case, version)
        registry.promote(case, version)
        registry.finish_run(self._parent, metrics={name: value["mean"] for name, value in proof.metrics.items()})
        shutil.rmtree(self._folder)  # what was learned is in MLflow and in the package
        return version

    def _catch_up(self) -> None:
        """Write what a driver that was killed between its two notes of a trial left out of the registry."""
        logged = self._registry.trials(self._order.case, self._parent)
        for trial in tune.finished_before(self._folder):
            if trial.name not in logged:
                self._log(trial)

    def _log(self, trial: tune.Finished) -> None:
        self._registry.log_trial(
            self._order.case,
            self._parent,
            trial.name,
            params={"algorithm": trial.algorithm, **trial.params},
            metrics={self._order.case.task.metric: trial.score, "folds": trial.folds, "seconds": trial.seconds},
            tags={"stopped_early": str(not trial.whole)},
        )


def _alone(folder: Path) -> None:
    """Hold the study's folder until this process ends, however it ends.

    Raises:
        CannotStart: another process is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise CannotStart(
            "this very training, same rows and seed, is running already; wait for it, or give another --seed"
        ) from None


def _identity(order: Order) -> str:
    """The same rows, use case and seed make the same study; a larger budget continues a smaller one."""
    return sha256(json.dumps([order.case.name, order.origin, order.seed]).encode()).hexdigest()[:12]

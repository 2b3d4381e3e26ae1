"""What is asked of a training, what becomes of it, and who looks on."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from forewarn.usecase import UseCase
from training import fit, presets, recipes, tune


class Watch(Protocol):
    """Whoever looks on."""

    def step(self, doing: str) -> AbstractContextManager[None]:
        """Something begins that takes a while."""

    def searching(
        self, metric: str, trials: int, *, larger_is_better: bool
    ) -> AbstractContextManager[Callable[[float, bool], None]]:
        """The search begins; the function yielded is told each trial's metric, and whether it saw every fold."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to train, on which rows, how, how long, and by whom.

    Attributes:
        origin: where the rows came from, with a hash of them: recorded with the version.
        preset, balances: see `training.presets` and `training.recipes`.
        budget: None is the preset's own.
        backend, workers: see `fit.Engine`.
        override: why a table that the quality gate refuses is learned from all the same; recorded too.
        by: who asked for it.
    """

    case: UseCase
    raw: list[dict[str, Any]]
    origin: dict[str, str]
    budget: tune.Budget | None = None
    seed: int = 0
    preset: presets.Name = "default"
    balances: tuple[recipes.Balance, ...] = ("none",)
    backend: fit.Backend = "auto"
    workers: int = 2
    override: str = ""
    by: str = ""

    @property
    def plan(self) -> presets.Preset:
        """How it searches."""
        return presets.preset(self.preset, self.case.task, seed=self.seed)

    @property
    def limits(self) -> tune.Budget:
        """The budget that holds."""
        return self.budget or tune.Budget(trials=self.plan.trials, seconds=self.plan.seconds)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What became of an order. Metrics are means and deviations over fresh folds that the search has not seen.

    Attributes:
        status: approved, pending_approval or rejected; `reasons`: what it was rejected for.
        champion: the version that answers now; None if there is none yet. role: this version's own, empty for none.
        known_subjects: where subjects repeat, the metrics on folds that may know a row's subject from other rows.
        card: the model card's file.
    """

    use_case: str
    version: str
    status: str
    reasons: list[str]
    champion: str | None
    role: str
    rows: int
    rejected: int
    reject_reasons: list[str]
    trials: int
    quality: list[str]
    notes: list[str]
    rule: dict[str, float]
    algorithm: str
    calibration: str
    metrics: dict[str, dict[str, float]]
    known_subjects: dict[str, dict[str, float]]
    baselines: dict[str, float]
    balances: dict[str, float]
    card: str
    duration_s: float

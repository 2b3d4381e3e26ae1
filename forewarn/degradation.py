"""Whether a version still does what it did when it was let in: a pure function of what was measured (S2-55, S2-56)."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from forewarn.evidence import Estimate
from forewarn.policy import Watching
from forewarn.tasks import Task

Level = Literal["unknown", "good", "watch", "degraded"]
# Told beside the metric that decides, where they were measured.
BESIDE = ("accuracy", "recall", "precision", "brier", "ece", "coverage")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One metric now, beside what it was.

    Attributes:
        baseline: mean over fresh folds when the version was trained.
        realised: by outcomes; None while too few are known. estimated: without them.
        fall: by how much it is worse than the baseline, by outcomes or else by the estimate; negative if better.
    """

    metric: str
    baseline: float
    realised: Estimate | None
    estimated: Estimate | None
    fall: float


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a version stands, and why, in words and numbers."""

    level: Level
    reasons: tuple[str, ...]
    metrics: tuple[Compared, ...]

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def compare_to_baseline(
    task: Task, baseline: Mapping[str, float], realised: Mapping[str, Estimate], estimated: Mapping[str, Estimate]
) -> tuple[Compared, ...]:
    """The metric that versions are chosen by, and those beside it."""
    names = [name for name in (task.metric, *BESIDE) if name in baseline and (name in realised or name in estimated)]
    return tuple(_compared(name, baseline[name], realised.get(name), estimated.get(name)) for name in names)


def check_thresholds(task: Task, compared: tuple[Compared, ...], rules: Watching, *, outcomes: int) -> Standing:
    """Degraded where outcomes show, with 95 % confidence, that the metric fell further than is allowed; to be watched
    where it did by what is known best, an estimate or a figure of wide interval.
    """
    main = next((one for one in compared if one.metric == task.metric), None)
    if main is None:
        return Standing(level="unknown", reasons=("nothing was answered that could be measured",), metrics=compared)
    allowed = rules.fall if task.larger_is_better else rules.fall_of_amounts * main.baseline
    if main.realised and outcomes >= rules.min_outcomes and _least_fall(main) > allowed:
        return Standing(level="degraded", reasons=(_said(main, main.realised, allowed),), metrics=compared)
    reasons = tuple(_watched(main, allowed, rules, outcomes))
    return Standing(level="watch" if main.fall > allowed else "good", reasons=reasons, metrics=compared)


def _compared(name: str, baseline: float, realised: Estimate | None, estimated: Estimate | None) -> Compared:
    now = realised or estimated
    value = now.value if now else baseline
    fall = value - baseline if name in LESS_IS_BETTER else baseline - value
    return Compared(metric=name, baseline=baseline, realised=realised, estimated=estimated, fall=fall)


LESS_IS_BETTER = frozenset({"mae", "brier", "ece"})


def _least_fall(one: Compared) -> float:
    """By how much it is worse at least, with 95 % confidence."""
    if one.realised is None:
        return 0.0
    return one.realised.low - one.baseline if one.metric in LESS_IS_BETTER else one.baseline - one.realised.high


def _watched(main: Compared, allowed: float, rules: Watching, outcomes: int) -> Iterator[str]:
    if main.realised is None or outcomes < rules.min_outcomes:
        yield f"{outcomes} of {rules.min_outcomes} outcomes are known"
    now = main.realised or main.estimated
    if now:
        yield _said(main, now, allowed)


def _said(main: Compared, now: Estimate, allowed: float) -> str:
    how = "by outcomes" if now is main.realised else "as estimated without outcomes"
    return (
        f"{main.metric} is {now.value:.3f} ({now.low:.3f} to {now.high:.3f}) {how}, and was {main.baseline:.3f}; "
        f"a fall of {allowed:.3g} is allowed"
    )

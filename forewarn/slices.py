"""How good a model is on each part of the rows, and how surely that is known."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.evidence import Estimate, Slice
from forewarn.fields import Row
from forewarn.groups import FEWEST_TOLD, groups
from forewarn.tasks import Regression, Rule, Task, Vector
from forewarn.usecase import UseCase

RESAMPLES = 200
# Under 30 rows, or under 5 with or without the event, an interval spans most of what a metric can be.
MIN_ROWS = 30
MIN_EVENTS = 5

Metrics = Mapping[str, float]


def slices(case: UseCase, rows: Sequence[Row], labels: Vector, scores: Vector, rule: Rule, *, seed: int) -> list[Slice]:
    """Each group of each field in `case.slices`, by itself.

    For events: `roc_auc`; `recall` and `precision` at the threshold; `calibration_gap`, the mean score minus the
    share of events. For amounts: `mae`; `mean_error`, forecast minus outcome; `coverage` of the interval. Intervals
    are 95 % percentile intervals of 200 bootstrap resamples within the group.

    Args:
        labels, scores: shape (len(rows),); scores out of fold.
    """
    random = np.random.default_rng(seed)
    return [
        _slice(case, field, group, labels[mask], scores[mask], rule, random)
        for field in case.slices
        for group, mask in groups(case, field, rows).items()
    ]


def _slice(
    case: UseCase, field: str, group: str, labels: Vector, scores: Vector, rule: Rule, random: np.random.Generator
) -> Slice:
    amounts = isinstance(case.task, Regression)
    events = None if amounts else int(labels.sum())
    enough = len(labels) >= MIN_ROWS and (events is None or MIN_EVENTS <= events <= len(labels) - MIN_EVENTS)
    return Slice(
        field=case.spec[field].wire,
        group=group,
        rows=len(labels),
        events=events if len(labels) >= FEWEST_TOLD else None,
        metrics=_estimates(case.task, labels, scores, rule, random) if enough else {},
    )


class _Events:
    """Measures rows of which each counts as often as it was drawn."""

    def __init__(self, labels: Vector, scores: Vector, threshold: float):
        order = np.argsort(scores)
        self._labels, self._scores = labels[order], scores[order]
        self._warned = (self._scores >= threshold).astype(np.float64)
        self._ties = np.flatnonzero(np.diff(self._scores, prepend=-np.inf))

    def __call__(self, counts: Vector) -> Metrics:
        events = counts * self._labels
        hits, warned = events @ self._warned, counts @ self._warned
        return {
            "roc_auc": self._roc_auc(events, counts - events),
            "recall": _share(hits, events.sum()),
            "precision": _share(hits, warned),
            "calibration_gap": float((counts @ self._scores - events.sum()) / counts.sum()),
        }

    def _roc_auc(self, events: Vector, others: Vector) -> float:
        """How often an event scores above another row; a tie is half."""
        events, others = np.add.reduceat(events, self._ties), np.add.reduceat(others, self._ties)
        below = np.cumsum(others) - others / 2
        return _share(events @ below, events.sum() * others.sum())


class _Amounts:
    """Measures rows of which each counts as often as it was drawn."""

    def __init__(self, task: Regression, labels: Vector, scores: Vector, rule: Rule):
        low, high = task.interval(scores, rule)
        error = scores - labels
        self._columns = np.column_stack([np.abs(error), error, (labels >= low) & (labels <= high)])

    def __call__(self, counts: Vector) -> Metrics:
        means = counts @ self._columns / counts.sum()
        return dict(zip(("mae", "mean_error", "coverage"), map(float, means), strict=True))


def _estimates(
    task: Task, labels: Vector, scores: Vector, rule: Rule, random: np.random.Generator
) -> dict[str, Estimate]:
    """Of those metrics that these rows have: without a warning there is no precision."""
    measure = (
        _Amounts(task, labels, scores, rule)
        if isinstance(task, Regression)
        else _Events(labels, scores, rule["threshold"])
    )
    drawn = [measure(_counts(len(labels), random)) for _ in range(RESAMPLES)]
    return {
        name: _estimate(value, np.array([one[name] for one in drawn]))
        for name, value in measure(np.ones(len(labels))).items()
        if not np.isnan(value)
    }


def _share(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else float("nan")


def _counts(n: int, random: np.random.Generator) -> Vector:
    return np.bincount(random.integers(n, size=n), minlength=n).astype(np.float64)


def _estimate(value: float, drawn: NDArray[np.float64]) -> Estimate:
    known = np.append(drawn[~np.isnan(drawn)], value)  # a rare event may be in no resample
    low, high = np.quantile(known, [0.025, 0.975])
    return Estimate(value=value, low=float(low), high=float(high))

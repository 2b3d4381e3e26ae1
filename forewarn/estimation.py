"""How good a version probably is on rows whose outcomes nobody knows yet, from what it says of itself.

Events: outcomes are drawn as its calibrated probabilities promise them, and the version is measured on these draws
(confidence-based performance estimation). Amounts: each row is given an error that was found out of fold, in training,
at forecasts of its size (direct loss estimation, by the forecast alone).

Both tell what other rows do to a version. What they cannot tell is that the same rows have come to mean something else:
that shows in outcomes only.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from forewarn.evidence import Estimate
from forewarn.tasks import Classification, Rule, Task, Vector

DRAWS = 200
# Rows more tell nothing that an interval would show.
MOST_ROWS = 20_000
# Out-of-fold errors that one row's may be drawn from: of forecasts next to its own.
NEIGHBOURS = 50
TAILS = (0.025, 0.975)


def estimate(
    task: Task, scores: Vector, rule: Rule, known: Sequence[tuple[float, float]] = (), *, seed: int = 0
) -> dict[str, Estimate]:
    """Metric → what it probably is on these rows, with the interval that would hold it in 95 of 100 such windows.

    Args:
        scores: calibrated probabilities, or amounts. Shape (n,).
        known: of amounts: (forecast, outcome) out of fold, as `Evidence.forecasts` has them.
    """
    random = np.random.default_rng(seed)
    if len(scores) > MOST_ROWS:
        scores = random.choice(scores, MOST_ROWS, replace=False)
    if isinstance(task, Classification):
        return _of_events(scores, rule["threshold"], random)
    return _of_amounts(scores, known, random) if len(known) else {}


def _of_events(scores: Vector, threshold: float, random: np.random.Generator) -> dict[str, Estimate]:
    ordered = np.sort(scores)
    drawn = random.random((DRAWS, len(ordered))) < ordered
    events = drawn.sum(axis=1).astype(float)
    told = drawn[(events > 0) & (events < len(ordered))]  # of one kind alone nothing can be ranked
    if not len(told):
        return {}
    events, warned = told.sum(axis=1).astype(float), ordered >= threshold
    hits = told[:, warned].sum(axis=1)
    missed = events - hits
    right = hits + (len(ordered) - warned.sum()) - missed
    brier = (np.square(ordered) + told * (1 - 2 * ordered)).mean(axis=1)
    metrics = {
        "roc_auc": _roc_auc(ordered, told),
        "accuracy": right / len(ordered),
        "recall": hits / events,
        "precision": hits / max(int(warned.sum()), 1),
        "brier": brier,
    }
    return {name: _estimate(values) for name, values in metrics.items()}


def _roc_auc(ordered: Vector, drawn: NDArray[np.bool_]) -> Vector:
    """Of each draw: how often an event is above another row, a tie being half."""
    starts = np.flatnonzero(np.diff(ordered, prepend=-np.inf))
    events = np.add.reduceat(drawn.astype(float), starts, axis=1)
    others = np.add.reduceat((~drawn).astype(float), starts, axis=1)
    below = np.cumsum(others, axis=1) - others / 2
    area: Vector = (events * below).sum(axis=1) / (events.sum(axis=1) * others.sum(axis=1))
    return area


def _of_amounts(
    scores: Vector, known: Sequence[tuple[float, float]], random: np.random.Generator
) -> dict[str, Estimate]:
    pairs = np.array(sorted(known), dtype=float)
    errors = np.abs(pairs[:, 1] - pairs[:, 0])
    first = np.searchsorted(pairs[:, 0], scores) - NEIGHBOURS // 2
    first = np.clip(first, 0, max(0, len(pairs) - NEIGHBOURS))
    places = first + random.integers(0, min(NEIGHBOURS, len(pairs)), (DRAWS, len(scores)))
    return {"mae": _estimate(errors[places].mean(axis=1))}


def _estimate(values: Vector) -> Estimate:
    low, high = np.quantile(values, TAILS)
    return Estimate(value=float(values.mean()), low=float(low), high=float(high))

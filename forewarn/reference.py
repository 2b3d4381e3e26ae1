"""The rows a model learned on, frozen as pure numbers: bins of fields, features, score and label, and no row."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.fields import FieldSpec, Row
from forewarn.tasks import Classification, Vector
from forewarn.usecase import UseCase

BINS = 10
# Text of fewer different words than this is a group, such as a gender, that fairness checks will ask for.
MOST_WORDS = 12
ANY = "(any)"
# Of a probability; and of an amount, in standard deviations.
TELLING, TELLING_OF_AMOUNTS = 0.01, 0.05

Counts = NDArray[np.float64]


def profile(
    case: UseCase, rows: Sequence[Row], scores: Vector, *, derived: Mapping[str, Vector] | None = None,
    labels: Vector | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The reference: every field's distribution, every derived feature's, the score's and the label's, as plain JSON.

    Numbers get quantile bins (each holds about 1/10 of the training rows) with open tails, categories a bin a
    level; both count missing values apart. Protected fields are profiled too: fairness needs them.
    """
    specs = [spec for spec in case.fields if spec.name != case.key]
    return {
        "rows": len(rows),
        "fields": {spec.wire: _field(spec, [row[spec.name] for row in rows]) for spec in specs},
        "features": {name: _profiled_numbers(list(values)) for name, values in (derived or {}).items()},
        "score": _profiled_numbers([float(score) for score in scores], apart=_resolution(case, scores)),
        "label": _profiled_labels(labels) if labels is not None and len(labels) else None,
    }


def _field(spec: FieldSpec, values: list[Any]) -> dict[str, Any]:
    return _profiled_numbers(values) if spec.kind == "number" else _profiled_levels(spec, values)


def _resolution(case: UseCase, scores: Vector) -> float:
    """Below this a difference of two scores means nothing to anybody. Where events are rare, nine scores in ten differ
    in the third decimal only, and otherwise after each training: bins that fine made an index of 0.9 of nothing.
    """
    return TELLING if isinstance(case.task, Classification) else TELLING_OF_AMOUNTS * float(np.std(scores))


def _profiled_numbers(values: list[Any], *, apart: float = 0.0) -> dict[str, Any]:
    """Quantile bins; their edges are at least `apart` from each other."""
    present = np.array([value for value in values if value is not None], dtype=np.float64)
    if not len(present):
        return {"kind": "number", "missing": len(values), "edges": [], "counts": [0]}
    edges = _thinned(_edges(present), apart)
    counts = np.bincount(np.searchsorted(edges, present, side="right"), minlength=len(edges) + 1)
    return {
        "kind": "number",
        "missing": len(values) - len(present),
        "edges": edges.tolist(),
        "counts": counts.tolist(),
        "low": float(present.min()),
        "high": float(present.max()),
        "mean": float(present.mean()),
        "deviation": float(present.std()),
    }


def _edges(present: Counts) -> Counts:
    """Between few values an edge each; else quantiles, and one behind each value that a bin's share of the rows has: of
    a rating that nine in ten have, one bin would hold all the others too.
    """
    values, counts = np.unique(present, return_counts=True)
    if len(values) == 1:  # and whatever is below it or above is another
        return np.array([values[0], np.nextafter(values[0], np.inf)])
    between = (values[:-1] + values[1:]) / 2
    if len(values) <= BINS:
        return np.asarray(between)
    behind = between[counts[:-1] >= len(present) / BINS]
    return np.unique(np.concatenate([np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1]), behind]))


def _thinned(edges: Counts, apart: float) -> Counts:
    kept: list[float] = []
    for edge in edges.tolist():
        if not kept or edge - kept[-1] >= apart:
            kept.append(edge)
    return np.array(kept)


def _profiled_labels(labels: Vector) -> dict[str, Any]:
    """Events by their two levels, amounts as any number."""
    if set(labels.tolist()) <= {0.0, 1.0}:
        events = int(labels.sum())
        return {"kind": "category", "missing": 0, "counts": {"0": len(labels) - events, "1": events}}
    return _profiled_numbers(labels.tolist())


def _profiled_levels(spec: FieldSpec, values: list[Any]) -> dict[str, Any]:
    counts = Counter(value for value in values if value is not None)
    if spec.kind == "text" and len(counts) > MOST_WORDS:  # these may be names
        counts = Counter({ANY: counts.total()})
    return {
        "kind": "category",
        "missing": sum(value is None for value in values),
        "counts": dict(counts.most_common()),
    }

"""The rows a model learned on, frozen as pure numbers: what later rows are compared with."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from forewarn.fields import FieldSpec, Row
from forewarn.tasks import Vector
from forewarn.usecase import UseCase

BINS = 10
# Text of fewer different words than this is a group, such as a gender, that fairness checks will ask for.
MOST_WORDS = 12


def profile(case: UseCase, rows: Sequence[Row], scores: Vector) -> dict[str, Any]:
    """The reference: every field's distribution, and the score's, as plain JSON.

    Numbers get quantile bins (each holds about 1/10 of the training rows) with open tails, categories a bin a
    level; both count missing values apart. Protected fields are profiled too: fairness needs them.
    """
    specs = [spec for spec in case.fields if spec.name != case.key]
    return {
        "rows": len(rows),
        "fields": {spec.wire: _field(spec, [row[spec.name] for row in rows]) for spec in specs},
        "score": _number([float(score) for score in scores]),
    }


def _field(spec: FieldSpec, values: list[Any]) -> dict[str, Any]:
    return _number(values) if spec.kind == "number" else _category(spec, values)


def _number(values: list[Any]) -> dict[str, Any]:
    present = np.array([value for value in values if value is not None], dtype=np.float64)
    if not len(present):
        return {"kind": "number", "missing": len(values), "edges": [], "counts": [0]}
    edges = np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1]))
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


def _category(spec: FieldSpec, values: list[Any]) -> dict[str, Any]:
    counts = Counter(value for value in values if value is not None)
    if spec.kind == "text" and len(counts) > MOST_WORDS:  # these may be names
        counts = Counter({"(any)": counts.total()})
    return {
        "kind": "category",
        "missing": sum(value is None for value in values),
        "counts": dict(counts.most_common()),
    }

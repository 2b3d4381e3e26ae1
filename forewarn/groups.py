"""A field's groups: its levels, its bands, its commonest words. What slices and fairness look at separately."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.fields import FieldSpec, Row
from forewarn.tasks import Vector
from forewarn.usecase import UseCase

MISSING, OTHER = "(missing)", "(other)"
MOST_WORDS = 12
# Of groups with fewer rows only the number of rows is told: how many events there were would tell of people.
FEWEST_TOLD = 10

Groups = dict[str, NDArray[np.bool_]]


def groups(case: UseCase, field: str, rows: Sequence[Row]) -> Groups:
    """The groups of a field that occur, as masks over validated rows, each of shape (len(rows),).

    The masks partition the rows. Levels come in the schema's order, bands of numbers from below, words by the
    alphabet; then "(other)", the words beyond the twelve commonest, and "(missing)". Bands begin at `case.edges`,
    else at these rows' tertiles.

    Args:
        field: the field's name in Python.
    """
    spec = case.spec[field]
    if spec.kind == "number":
        return _bands(spec, np.array([row[field] for row in rows], dtype=np.float64), case.edges.get(field))
    if spec.kind == "category":
        return _levels([row[field] for row in rows], {level: str(level) for level in spec.levels})
    return _words([(row[field] or "").strip() or None for row in rows])


def _bands(spec: FieldSpec, values: Vector, edges: Sequence[float] | None) -> Groups:
    known = values[~np.isnan(values)]
    if edges is None:
        edges = _tertiles(known)
    bands = np.where(np.isnan(values), len(edges) + 1, np.digitize(values, edges))
    return _occurring([*_band_names(edges, whole=spec.whole), MISSING], bands)


def _tertiles(values: Vector) -> list[float]:
    """Where the middle and the upper third begin, at values that occur; fewer if thirds are alike."""
    if not len(values):
        return []
    edges = np.unique(np.quantile(values, [1 / 3, 2 / 3], method="higher"))
    return [float(edge) for edge in edges if edge > values.min()]


def _band_names(edges: Sequence[float], *, whole: bool) -> list[str]:
    if not edges:
        return ["any"]
    between = [_between(low, high, whole=whole) for low, high in pairwise(edges)]
    return [f"below {_plain(edges[0])}", *between, f"{_plain(edges[-1])} and more"]


def _between(low: float, high: float, *, whole: bool) -> str:
    if not whole:
        return f"{_plain(low)} to below {_plain(high)}"
    return _plain(low) if high - low == 1 else f"{_plain(low)} to {_plain(high - 1)}"


def _plain(number: float) -> str:
    """Without an exponent up to ten digits."""
    return f"{number:.10g}"


def _words(words: list[str | None]) -> Groups:
    counts = Counter(word for word in words if word not in (None, MISSING, OTHER))
    # Among equally common ones the alphabet decides, so that the order of rows does not.
    commonest = sorted(counts, key=lambda word: (-counts[word], str(word)))[:MOST_WORDS]
    folded = [None if word == MISSING else word for word in words]
    return _levels(folded, {word: str(word) for word in sorted(commonest, key=str)})


def _levels(values: Sequence[Any], names: Mapping[Any, str]) -> Groups:
    codes = {level: code for code, level in enumerate(names)} | {None: len(names) + 1}
    found = np.fromiter((codes.get(value, len(names)) for value in values), dtype=np.intp, count=len(values))
    return _occurring([*names.values(), OTHER, MISSING], found)


def _occurring(names: list[str], codes: NDArray[np.intp]) -> Groups:
    counts = np.bincount(codes, minlength=len(names))
    return {name: codes == code for code, name in enumerate(names) if counts[code]}

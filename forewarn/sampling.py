"""Made-up rows: what the use cases' seeded generators share."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]


def whole(values: NDArray[Any], low: float, high: float) -> NDArray[np.int64]:
    """Rounded and held within [low, high]."""
    held: NDArray[np.int64] = np.clip(np.rint(values), low, high).astype(np.int64)
    return held


def pick(random: np.random.Generator, shares: Mapping[str, float], n: int) -> NDArray[Any]:
    """n levels, drawn by their shares (which need not add up to 1)."""
    weights = np.array(list(shares.values()), dtype=float)
    return random.choice(list(shares), size=n, p=weights / weights.sum())


def shift(columns: Columns, drift: Mapping[str, float], random: np.random.Generator) -> None:
    """Move named columns in place: a number by so many standard deviations, a category by so large a share
    of its rows to the level that is commonest among them.

    Raises:
        KeyError: a name that is not a column.
    """
    for name, amount in drift.items():
        column = columns[name]
        if column.dtype.kind in "if":
            moved = column + amount * column.std()
            columns[name] = np.rint(moved).astype(column.dtype) if column.dtype.kind == "i" else moved
        else:
            levels, counts = np.unique(column, return_counts=True)
            struck = random.random(len(column)) < amount
            columns[name] = np.where(struck, levels[counts.argmax()], column)


def standard(values: NDArray[Any]) -> NDArray[np.float64]:
    """Mean 0, deviation 1."""
    return np.asarray((values - values.mean()) / (values.std() or 1.0), dtype=np.float64)


def chances(logits: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """Probabilities of these log-odds, moved so that on average `rate` of the rows have the event."""
    low, high = -30.0, 30.0
    for _ in range(60):  # bisection: 60 halvings of 60 leave nothing that a double can tell apart
        middle = (low + high) / 2
        low, high = (middle, high) if (1 / (1 + np.exp(-logits - middle))).mean() < rate else (low, middle)
    return np.asarray(1 / (1 + np.exp(-logits - low)), dtype=np.float64)


def rows_of(columns: Columns) -> list[dict[str, Any]]:
    """Columns as a list of rows with plain Python values."""
    lists = {name: column.tolist() for name, column in columns.items()}
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]

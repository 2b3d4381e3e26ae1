"""Made-up rows: what the use cases' seeded generators share, and one that knows nothing but the schema."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.fields import FieldSpec, RowModel

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


def by_schema(
    row: type[RowModel], *, target: str, words: tuple[str, str] = ("No", "Yes"), rate: float = 0.2, amount: float = 0.0
) -> Callable[..., list[dict[str, Any]]]:
    """A generator from the schema alone: numbers evenly within their limits, levels evenly, and a label that hangs on
    the first numbers. Enough to try a use case with; one that knows the field makes a better demonstration.

    `words` are the labels without and with the event, `rate` is the event's share; for a regression give `amount`, the
    label's usual size, instead.
    """
    specs = [FieldSpec.of(name, info) for name, info in row.model_fields.items()]

    def sample(n: int, seed: int = 0, drift: Mapping[str, float] | None = None) -> list[dict[str, Any]]:
        random = np.random.default_rng(seed)
        columns = {spec.wire: _drawn(spec, n, random) for spec in specs}
        shift(columns, drift or {}, random)
        numbers = [standard(column) for column in columns.values() if column.dtype.kind in "if"][:5]
        halved = [2.0**-place * column for place, column in enumerate(numbers)]
        pull = np.sum(halved, axis=0) + random.normal(0, 0.5, n)
        if amount:
            columns[target] = (amount * np.exp(0.5 * standard(pull))).round(2)
        else:
            columns[target] = np.where(random.random(n) < chances(pull, rate), words[1], words[0])
        return rows_of(columns)

    return sample


def _drawn(spec: FieldSpec, n: int, random: np.random.Generator) -> NDArray[Any]:
    if spec.levels:
        return random.choice(np.array(spec.levels), n)
    if spec.kind == "text":
        return np.array([f"{spec.name}-{place}" for place in random.permutation(n)])
    low = 0.0 if spec.low is None else spec.low
    high = low + 100.0 if spec.high is None else spec.high
    middle = random.uniform(low, high, n) * 0.98 + 0.01 * (low + high)  # a limit may itself be out of bounds
    return np.rint(middle).astype(np.int64) if spec.whole else middle


def rows_of(columns: Columns) -> list[dict[str, Any]]:
    """Columns as a list of rows with plain Python values."""
    lists = {name: column.tolist() for name, column in columns.items()}
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]

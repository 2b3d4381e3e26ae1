"""Mends columns: what stands in for missing values, where outliers are capped, which columns are left out.

Fitted on training rows, saved in the package, applied alike to one row online and to a million in training (S2-15 to
S2-18). Types are the schema's business: `scoring.validate` has converted every value before it comes here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forewarn.fields import FieldSpec, Level, Row
from forewarn.tasks import Vector
from forewarn.usecase import Cleaning, Columns, Feature, UseCase

if TYPE_CHECKING:
    from forewarn.blocks import Block  # pyarrow, a tenth of a second that a row need not wait for

IQR_REACH = 1.5
ZSCORE_REACH = 3.0
PERCENTILES = (1.0, 99.0)


# A category's column, its gaps filled with this level.
Levels = Callable[[str, Level], NDArray[Any]]


class Cleaned(Mapping[str, NDArray[Any]]):
    """Rows seen as columns, each missing value filled in. Feature functions read from this.

    Numbers come as float64 of shape (n,), categories as arrays of their levels, made when first asked for.
    """

    def __init__(self, numbers: dict[str, Vector], levels: Levels, modes: Mapping[str, Level]):
        self._columns: dict[str, NDArray[Any]] = dict(numbers)
        self._levels = levels
        self._modes = modes

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._columns:
            self._columns[name] = self._levels(name, self._modes[name])
        return self._columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self._columns or name in self._modes

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns.keys() | self._modes.keys())

    def __len__(self) -> int:
        return len(self._columns.keys() | self._modes.keys())


@dataclass(frozen=True, kw_only=True)
class NumberState:
    """What stands in for a missing number, and where it is capped."""

    fill: float
    low: float = -inf
    high: float = inf


@dataclass(frozen=True, kw_only=True)
class CleaningState:
    """What was learned about the columns from the training rows; plain JSON in the package.

    Attributes:
        categories: field -> its levels in order; the code of a level is its place.
        modes: category field -> commonest level, which stands in for a missing one.
        dropped: field -> its share of missing values, for which it was left out.
    """

    numbers: dict[str, NumberState]
    categories: dict[str, tuple[Level, ...]]
    modes: dict[str, Level]
    dropped: dict[str, float]


class Cleaner:
    """Turns validated rows into clean columns."""

    def __init__(self, case: UseCase, state: CleaningState):
        self.state = state
        self.numbers = tuple(state.numbers)
        self._pick = _getter(self.numbers)
        self._fills = np.array([number.fill for number in state.numbers.values()])
        self._lows = np.array([number.low for number in state.numbers.values()])
        self._highs = np.array([number.high for number in state.numbers.values()])
        self._capped = bool(np.isfinite(self._lows).any() or np.isfinite(self._highs).any())
        probe = Cleaned(
            {name: np.array([n.fill]) for name, n in state.numbers.items()},
            lambda _, mode: np.array([mode]),
            state.modes,
        )
        self.typical: Columns = probe
        self._stand_ins = [
            (self.numbers.index(name), function)
            for name, function in case.stand_ins.items()
            if name in state.numbers and derivable(function, self.typical)
        ]

    @classmethod
    def fit(cls, case: UseCase, rows: Sequence[Row]) -> "Cleaner":
        """Learn fills, caps and levels. A field that is mostly missing is left out, unless it is required."""
        numbers: dict[str, NumberState] = {}
        categories: dict[str, tuple[Level, ...]] = {}
        modes: dict[str, Level] = {}
        dropped: dict[str, float] = {}
        for spec in case.inputs:
            values = [row[spec.name] for row in rows if row[spec.name] is not None]
            missing = 1 - len(values) / len(rows)
            if not values or (missing > case.cleaning.drop_above and not spec.required):
                dropped[spec.name] = missing
            elif spec.kind == "number":
                numbers[spec.name] = fit_number(case.cleaning, np.array(values, dtype=np.float64))
            else:
                categories[spec.name] = spec.levels
                modes[spec.name] = commonest(spec, values)
        return cls(case, CleaningState(numbers=numbers, categories=categories, modes=modes, dropped=dropped))

    def columns(self, rows: Sequence[Row]) -> Cleaned:
        """Filled and capped columns, each of shape (len(rows),).

        Raises:
            KeyError: a row that did not go through `scoring.validate`, which fills in absent fields.
        """
        values = np.array([self._pick(row) for row in rows], dtype=np.float64).reshape(len(rows), len(self.numbers))

        def levels(name: str, mode: Level) -> NDArray[Any]:
            return np.array([mode if row[name] is None else row[name] for row in rows])

        return self._mended(values, levels)

    def columns_of(self, block: "Block") -> Cleaned:
        """The same, of rows that are columns already."""
        values = np.empty((len(self.numbers), block.count)).T  # each column in one piece: it comes so and is read so
        for place, name in enumerate(self.numbers):
            values[:, place] = block.numbers(name)
        return self._mended(values, lambda name, mode: block.levels(name).mapped(_itself, mode))

    def _mended(self, values: Vector, levels: Levels) -> Cleaned:
        gaps = np.isnan(values)
        if gaps.any():
            np.copyto(values, self._fills, where=gaps)
        columns = Cleaned(dict(zip(self.numbers, values.T, strict=True)), levels, self.state.modes)
        for place, function in self._stand_ins:
            if gaps[:, place].any():
                values[:, place] = np.where(gaps[:, place], function(columns), values[:, place])
        if self._capped:
            np.clip(values, self._lows, self._highs, out=values)
        return columns

    def to_json(self) -> dict[str, Any]:
        """The state as plain JSON; an open end is null."""
        state = asdict(self.state)
        for number in state["numbers"].values():
            number.update({end: None for end in ("low", "high") if np.isinf(number[end])})
        return state

    @classmethod
    def from_json(cls, case: UseCase, state: dict[str, Any]) -> "Cleaner":
        """The inverse of `to_json`."""
        numbers = {
            name: NumberState(**{end: value for end, value in number.items() if value is not None})
            for name, number in state["numbers"].items()
        }
        categories = {name: tuple(levels) for name, levels in state["categories"].items()}
        return cls(case, CleaningState(**{**state, "numbers": numbers, "categories": categories}))


def fit_number(cleaning: Cleaning, values: Vector) -> NumberState:
    """Fill and caps of one column without its gaps."""
    fill = np.median(values) if cleaning.numbers == "median" else values.mean()
    low, high = limits(cleaning.outliers, values)
    return NumberState(fill=float(fill), low=low, high=high)


def limits(method: str, values: Vector) -> tuple[float, float]:
    """Beyond these a value is an outlier (S2-17). Open where half the values are one: nothing to measure by.

    `iqr`: 1.5 interquartile ranges beyond the quartiles. `zscore`: 3 standard deviations from the mean.
    `percentile`: the 1st and 99th percentile.
    """
    low, high = -inf, inf
    if method == "percentile":
        low, high = np.percentile(values, PERCENTILES)
    elif method == "iqr":
        lower, upper = np.percentile(values, (25, 75))
        low, high = lower - IQR_REACH * (upper - lower), upper + IQR_REACH * (upper - lower)
    elif method == "zscore":
        low, high = values.mean() - ZSCORE_REACH * values.std(), values.mean() + ZSCORE_REACH * values.std()
    return (float(low), float(high)) if low < high else (-inf, inf)


def commonest(spec: FieldSpec, values: list[Level]) -> Level:
    """The level most rows have; of equals the first."""
    return max(spec.levels, key=values.count)


def derivable(function: Feature, probe: Columns) -> bool:
    """Whether every field that a feature function reads is there."""
    try:
        function(probe)
    except KeyError:
        return False
    return True


def _itself(level: Level) -> Level:
    return level


def _getter(names: tuple[str, ...]) -> Any:
    """Like itemgetter, but a tuple for a single name and for none too."""
    return itemgetter(*names) if len(names) > 1 else lambda row: tuple(row[name] for name in names)

"""Runs a use case's feature functions and encoders on columns: the same code for one row and for a million."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import PackageDamaged
from forewarn.usecase import Feature, Row, UseCase

Matrix = NDArray[np.float32]


class Filled(Mapping[str, NDArray[Any]]):
    """Rows seen as columns, each missing value filled in. Feature functions read from this.

    Numbers come as float64 of shape (n,), categories as arrays of strings, made when first asked for.
    """

    def __init__(self, numbers: dict[str, NDArray[np.float64]], rows: Sequence[Row], modes: Mapping[str, str]):
        self._columns: dict[str, NDArray[Any]] = dict(numbers)
        self._rows = rows
        self._modes = modes

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._columns:
            mode = self._modes[name]
            self._columns[name] = np.array([row[name] or mode for row in self._rows])
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns.keys() | self._modes.keys())

    def __len__(self) -> int:
        return len(self._columns.keys() | self._modes.keys())


@dataclass(frozen=True, kw_only=True)
class FeatureState:
    """What was learned about the columns from the training rows; plain JSON in the package.

    Attributes:
        numbers: field -> median, which stands in for a missing value.
        categories: field -> its levels in order; the code of a level is its place.
        modes: category field -> commonest level, which stands in for a missing one.
        derived: names of the feature functions, in the matrix's order.
    """

    numbers: dict[str, float]
    categories: dict[str, tuple[str, ...]]
    modes: dict[str, str]
    derived: tuple[str, ...]


class Features:
    """Turns validated rows into the matrix that a version was trained on: numbers, category codes, derived."""

    def __init__(self, case: UseCase, state: FeatureState):
        self.state = state
        self._numbers = tuple(state.numbers)
        self._pick_numbers = _getter(self._numbers)
        self._medians = np.array(list(state.numbers.values()), dtype=np.float64)
        self._codes = [
            (
                field,
                {level: float(i) for i, level in enumerate(levels)},
                float(levels.index(state.modes[field])),
            )
            for field, levels in state.categories.items()
        ]
        known = {function.__name__: function for function in case.features}
        missing = [name for name in state.derived if name not in known]
        if missing:
            raise PackageDamaged(
                f"{case.name}: this package was trained with the features {missing}, which this release "
                "no longer has; serve it with the release that trained it, or train anew"
            )
        self._derived = [known[name] for name in state.derived]

    @classmethod
    def fit(cls, case: UseCase, rows: Sequence[Row]) -> "Features":
        """Learn medians, modes and levels. A field without a single value is left out, and with it what derives
        from it: a file need not hold every optional column."""
        numbers: dict[str, float] = {}
        categories: dict[str, tuple[str, ...]] = {}
        modes: dict[str, str] = {}
        for spec in case.inputs:
            values = [row[spec.name] for row in rows if row[spec.name] is not None]
            if not values:
                continue
            if spec.kind == "number":
                numbers[spec.name] = float(np.median(values))
            else:
                categories[spec.name] = spec.levels
                modes[spec.name] = max(spec.levels, key=values.count)
        probe = Filled({name: np.array([median]) for name, median in numbers.items()}, [dict.fromkeys(modes)], modes)
        derived = tuple(function.__name__ for function in case.features if _derivable(function, probe))
        return cls(case, FeatureState(numbers=numbers, categories=categories, modes=modes, derived=derived))

    @property
    def names(self) -> tuple[str, ...]:
        """The matrix's columns, in order."""
        return (*self._numbers, *self.state.categories, *self.state.derived)

    @property
    def levels(self) -> tuple[int, ...]:
        """Per column, how many levels its codes have; 0 for a number."""
        return tuple(len(self.state.categories.get(name, ())) for name in self.names)

    def matrix(self, rows: Sequence[Row]) -> Matrix:
        """Rows as float32 of shape (len(rows), len(names)). Holds neither NaN nor infinity.

        Raises:
            KeyError: a row that did not go through `scoring.validate`, which fills in absent fields.
        """
        out = np.empty((len(rows), len(self.names)), dtype=np.float32)
        numbers = np.array([self._pick_numbers(row) for row in rows], dtype=np.float64)
        gaps = np.isnan(numbers)
        if gaps.any():
            numbers = np.where(gaps, self._medians, numbers)
        width = numbers.shape[1]
        out[:, :width] = numbers
        for column, (field, codes, mode) in enumerate(self._codes, start=width):
            out[:, column] = [codes.get(row[field], mode) for row in rows]
        self._derive(out, numbers, rows)
        return out

    def _derive(self, out: Matrix, numbers: NDArray[np.float64], rows: Sequence[Row]) -> None:
        filled = Filled(dict(zip(self._numbers, numbers.T, strict=True)), rows, self.state.modes)
        for column, function in enumerate(self._derived, start=out.shape[1] - len(self._derived)):
            out[:, column] = function(filled)

    def to_json(self) -> dict[str, Any]:
        """The state as plain JSON."""
        return asdict(self.state)

    @classmethod
    def from_json(cls, case: UseCase, state: dict[str, Any]) -> "Features":
        """The inverse of `to_json`."""
        categories = {field: tuple(levels) for field, levels in state["categories"].items()}
        return cls(case, FeatureState(**{**state, "categories": categories, "derived": tuple(state["derived"])}))


def _derivable(function: Feature, probe: Filled) -> bool:
    """Whether every field that a feature function reads is there."""
    try:
        function(probe)
    except KeyError:
        return False
    return True


def _getter(names: tuple[str, ...]) -> Any:
    """Like itemgetter, but a tuple for a single name too."""
    return itemgetter(*names) if len(names) > 1 else lambda row: tuple(row[name] for name in names)

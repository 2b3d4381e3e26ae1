"""Runs a use case's feature functions and encoders on columns: the same code for one row and for a million."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forewarn.cleaning import Cleaner, derivable
from forewarn.errors import PackageDamaged, RowRejected
from forewarn.fields import Level, Row
from forewarn.usecase import Columns, Feature, UseCase

if TYPE_CHECKING:
    from forewarn.blocks import Block

Matrix = NDArray[np.float32]


class Features:
    """Turns validated rows into the matrix that a version was trained on: numbers, category codes, derived."""

    def __init__(self, case: UseCase, cleaner: Cleaner, derived: Sequence[str]):
        self._case = case
        self.cleaner = cleaner
        known = {function.__name__: function for function in case.features}
        if missing := [name for name in derived if name not in known]:
            raise PackageDamaged(
                f"{case.name}: this package was trained with the features {missing}, which this release "
                "no longer has; serve it with the release that trained it, or train anew"
            )
        self.derived = tuple(derived)
        self._functions = [known[name] for name in derived]
        self._lows, self._highs = _bounds(self._functions)
        state = cleaner.state
        self._codes = [
            (name, {level: float(code) for code, level in enumerate(levels)}, float(levels.index(state.modes[name])))
            for name, levels in state.categories.items()
        ]

    @classmethod
    def fit(cls, case: UseCase, rows: Sequence[Row]) -> "Features":
        """Learn how to clean; features that need a column which is not there are left out with it."""
        cleaner = Cleaner.fit(case, rows)
        return cls(case, cleaner, [f.__name__ for f in case.features if derivable(f, cleaner.typical)])

    @property
    def fields(self) -> tuple[str, ...]:
        """The raw fields that this version uses, by the names that answers use."""
        state = self.cleaner.state
        return tuple(self._case.spec[name].wire for name in (*state.numbers, *state.categories))

    @property
    def names(self) -> tuple[str, ...]:
        """The matrix's columns, in order."""
        return (*self.cleaner.numbers, *self.cleaner.state.categories, *self.derived)

    @property
    def levels(self) -> tuple[int, ...]:
        """Per column, how many levels its codes have; 0 for a number."""
        return tuple(len(self.cleaner.state.categories.get(name, ())) for name in self.names)

    @property
    def sources(self) -> tuple[tuple[str, ...], ...]:
        """Per column, the fields of the row that it is made of."""
        own = [(name,) for name in (*self.cleaner.numbers, *self.cleaner.state.categories)]
        return (*own, *(_reads(function, self.cleaner.typical) for function in self._functions))

    def matrix(self, rows: Sequence[Row]) -> Matrix:
        """Rows as float32 of shape (len(rows), len(names)). Holds neither NaN nor infinity.

        Raises:
            KeyError: a row that did not go through `scoring.validate`, which fills in absent fields.
            RowRejected: a derived feature left the range that it promises (S2-26).
        """
        codes = [[known.get(row[name], mode) for row in rows] for name, known, mode in self._codes]
        return self._assembled(self.cleaner.columns(rows), codes, len(rows))

    def matrix_of_block(self, block: "Block") -> Matrix:
        """The same, of rows that are columns already, to the same bits."""
        codes = [block.levels(name).mapped(partial(_code, known, mode), mode) for name, known, mode in self._codes]
        return self._assembled(self.cleaner.columns_of(block), codes, block.count)

    def matrix_of(self, columns: Columns) -> Matrix:
        """The same, of columns that are clean already: numbers, and levels that are known."""
        codes = [[known[level] for level in columns[name].tolist()] for name, known, _ in self._codes]
        return self._assembled(columns, codes, len(next(iter(columns.values()))))

    def _assembled(self, columns: Columns, codes: Sequence[Sequence[float] | NDArray[Any]], n: int) -> Matrix:
        out = np.empty((n, len(self.names)), dtype=np.float32)
        for place, name in enumerate(self.cleaner.numbers):
            out[:, place] = columns[name]
        for place, column in enumerate(codes, start=len(self.cleaner.numbers)):
            out[:, place] = column
        self._derive(out, columns)
        return out

    def _derive(self, out: Matrix, columns: Columns) -> None:
        start = out.shape[1] - len(self._functions)
        for place, function in enumerate(self._functions, start=start):
            out[:, place] = function(columns)
        derived = out[:, start:]
        sound = (derived >= self._lows) & (derived <= self._highs)  # NaN is neither
        if not sound.all():
            row, place = np.argwhere(~sound)[0]
            raise RowRejected(
                f"{self._case.name}: row {row}: the feature {self.derived[place]} is {derived[row, place]}, which "
                "it promises not to be; report this as a mistake in the use case's file"
            )

    def derived_of(self, matrix: Matrix) -> dict[str, NDArray[np.float64]]:
        """Feature → its values, of a matrix of this version."""
        start = matrix.shape[1] - len(self.derived)
        return {name: matrix[:, place].astype(np.float64) for place, name in enumerate(self.derived, start=start)}

    def to_json(self) -> dict[str, Any]:
        """What was learned, as plain JSON."""
        return {"cleaning": self.cleaner.to_json(), "derived": list(self.derived)}

    @classmethod
    def from_json(cls, case: UseCase, state: dict[str, Any]) -> "Features":
        """The inverse of `to_json`."""
        return cls(case, Cleaner.from_json(case, state["cleaning"]), state["derived"])


class _Listening(Mapping[str, NDArray[Any]]):
    """Remembers what was asked of the columns behind it."""

    def __init__(self, columns: Columns):
        self._columns = columns
        self.asked: dict[str, None] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        self.asked[name] = None
        return self._columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self._columns  # to ask whether a column is there is not to read it

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def _code(known: Mapping[Level, float], mode: float, level: Level) -> float:
    return known.get(level, mode)


def _reads(function: Feature, typical: Columns) -> tuple[str, ...]:
    listening = _Listening(typical)
    function(listening)
    return tuple(listening.asked)


def _bounds(functions: Sequence[Feature]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the features promise: `usecase.bounded`, else any finite float32."""
    finite = float(np.finfo(np.float32).max)
    pairs = [getattr(function, "bounds", (-inf, inf)) for function in functions]
    lows = np.array([max(low, -finite) for low, _ in pairs], dtype=np.float32)
    return lows, np.array([min(high, finite) for _, high in pairs], dtype=np.float32)

"""A block of a table's columns: which of its rows are plainly valid, found without making a row of any.

Plain is what this can be sure of. A column of numbers is held against its limits, free text against its length, and
anything else is asked of pydantic once for each distinct value. A row that is not plain is not wrong: it goes through
`scoring.sift`, whose verdict and words stand.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, cast

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Gt, Le, Lt, MaxLen
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError

from forewarn import tables
from forewarn.fields import FieldSpec, Picked, RowModel, unwrapped
from forewarn.tasks import Vector
from forewarn.usecase import UseCase

Mask = NDArray[np.bool_]

# Beyond it not every whole number is a double; pydantic, which counts in integers, decides there.
EXACT = 2.0**53
LIMITS: dict[type, Callable[[Any, Any], Any]] = {Ge: operator.ge, Gt: operator.gt, Le: operator.le, Lt: operator.lt}
Limits = tuple[tuple[Callable[[Any, Any], Any], float], ...]
UNFIT = object()


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A column of numbers, NaN where none was sent."""

    values: Vector
    whole: bool

    @property
    def given(self) -> Mask:
        """Where there is a value."""
        return ~np.isnan(self.values)

    def rows(self, which: Any) -> "Numbers":
        """Those of a slice, or where a mask says so."""
        return Numbers(values=self.values[which], whole=self.whole)

    def arrow(self) -> pa.Array:
        """The values as the validated rows would hold them."""
        found = pa.array(self.values, from_pandas=True)
        return found.cast(pa.int64()) if self.whole else found


@dataclass(frozen=True)
class Texts:
    """A column of free text, few of it alike."""

    values: pa.Array

    @property
    def given(self) -> Mask:
        """Where there is a value."""
        return _there(self.values)

    def rows(self, which: Any) -> "Texts":
        """Those of a slice, or where a mask says so."""
        if isinstance(which, slice):
            return Texts(self.values[which])
        return Texts(self.values.filter(pa.array(which)))

    def arrow(self) -> pa.Array:
        """The values as they are."""
        return self.values


Column = Numbers | Texts | Picked


@dataclass(frozen=True, kw_only=True)
class Block:
    """Valid rows as columns.

    Attributes:
        columns: every field of the schema, by its Python name.
        ignored: the columns whose names the schema does not know.
    """

    count: int
    columns: Mapping[str, Column]
    ignored: list[str]

    def numbers(self, name: str) -> Vector:
        """A number field's column, NaN where none was sent."""
        column = self.columns[name]
        return column.values if isinstance(column, Numbers) else self.levels(name).numbers()

    def levels(self, name: str) -> Picked:
        """A category's column."""
        return cast(Picked, self.columns[name])

    def rows(self, which: Any, count: int) -> "Block":
        """So many of them: a slice, or where a mask says so."""
        columns = {name: column.rows(which) for name, column in self.columns.items()}
        return Block(count=count, columns=columns, ignored=self.ignored)


def vetted(case: UseCase, table: pa.Table) -> tuple[Block, Mask]:
    """The rows that are plainly valid, and which of the table's these are."""
    names = {name for name in table.column_names if name not in case.by_alias}
    sound = np.full(len(table), answerable(case))
    columns: dict[str, Column] = {}
    for spec in case.fields:
        columns[spec.name], fit = _vetted(case, spec, table)
        sound &= fit
    block = Block(count=len(table), columns=columns, ignored=sorted(names))
    return (block if sound.all() else block.rows(sound, int(sound.sum()))), sound


def held(case: UseCase, table: pa.Table, field: str) -> Mask:
    """Where a field was sent with a value, under whatever name: `UseCase.holds` for a whole column."""
    spec, found = case.spec[field], np.zeros(len(table), dtype=bool)
    for name in {*spec.aliases, spec.name} & set(table.column_names):
        values, codes = _distinct(table[name])
        found |= np.array([tables.plain(value) is not None for value in values] + [False])[codes]
    return found


@cache
def answerable(case: UseCase) -> bool:
    """Whether a row of this use case can be judged field by field, and its answer told of whole columns."""
    row = case.row
    own = row.__pydantic_decorators__
    minds = (own.validators, own.field_validators, own.root_validators, own.model_validators)
    usual = row.model_config == RowModel.model_config and row.model_post_init is RowModel.model_post_init
    alone = "with-info" not in repr(row.__pydantic_core_schema__)  # no validator that sees the other fields
    plain = usual and alone and not any(minds) and not row.__pydantic_custom_init__
    return plain and getattr(case.api.answer, "passes_on", False)


@dataclass(frozen=True, kw_only=True)
class _Judge:
    """What a field takes.

    Attributes:
        limits: what its numbers are held against; None if more than that is asked of them.
        longest: characters of its text; None if more than that is asked of it.
    """

    whole: bool
    asks: TypeAdapter[Any]
    limits: Limits | None
    longest: int | None
    absent: Any
    takes_none: bool

    def __call__(self, value: Any) -> Any:
        """The validated value, or UNFIT."""
        try:
            return self.asks.validate_python(value)
        except ValidationError:
            return UNFIT


@cache
def _judge(case: UseCase, spec: FieldSpec) -> _Judge:
    info = case.row.model_fields[spec.name]
    _, notes = unwrapped(info.annotation, list(info.metadata))
    kind: Any = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
    asks: TypeAdapter[Any] = TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False))
    return _Judge(
        whole=spec.whole,
        asks=asks,
        limits=_limits(notes) if spec.kind == "number" else None,
        longest=_longest(notes) if spec.kind == "text" else None,
        absent=UNFIT if info.is_required() else info.get_default(call_default_factory=True, validated_data={}),
        takes_none=_takes_none(asks),
    )


def _limits(notes: list[Any]) -> Limits | None:
    if not {type(note) for note in notes} <= LIMITS.keys():
        return None
    return tuple((LIMITS[type(note)], float(getattr(note, type(note).__name__.lower()))) for note in notes)


def _longest(notes: list[Any]) -> int | None:
    longest = [note.max_length for note in notes if isinstance(note, MaxLen)]
    return min(longest) if longest and all(map(_lenient, notes)) else None


def _takes_none(asks: TypeAdapter[Any]) -> bool:
    try:
        return asks.validate_python(None) is None
    except ValidationError:
        return False


def _lenient(note: Any) -> bool:
    """Whether text that is not too long passes it."""
    return isinstance(note, MaxLen) or getattr(note, "__dict__", {}) == {"coerce_numbers_to_str": True}


def _vetted(case: UseCase, spec: FieldSpec, table: pa.Table) -> tuple[Column, Mask]:
    """A field's column, and where it is plainly valid."""
    judge = _judge(case, spec)
    there = [name for name in dict.fromkeys((*spec.aliases, spec.name)) if name in table.column_names]
    if not there:
        return _constant(judge.absent, len(table))
    if len(there) > 1:
        return _constant(UNFIT, len(table))
    array = table[there[0]]
    if judge.limits is not None and (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        return _numbers(judge, array)
    if judge.longest is not None and pa.types.is_string(array.type):
        return _texts(judge, _whole(array))
    return _picked(judge, array)


def _constant(value: Any, count: int) -> tuple[Column, Mask]:
    codes = np.full(count, -1 if value is None or value is UNFIT else 0)
    return Picked((None if value is UNFIT else value,), codes), np.full(count, value is not UNFIT)


def _numbers(judge: _Judge, array: pa.ChunkedArray) -> tuple[Column, Mask]:
    values = array.cast(pa.float64(), safe=False).to_numpy()
    sound = np.abs(values) <= EXACT
    for holds, limit in judge.limits or ():
        sound &= holds(values, limit)
    if judge.whole and pa.types.is_floating(array.type):
        sound &= values == np.rint(values)
        values = values + 0.0  # -0.0 as a whole number is 0
    if judge.takes_none and not sound.all():
        sound |= np.isnan(values)
    return Numbers(values=values, whole=judge.whole), sound


def _texts(judge: _Judge, array: pa.Array) -> tuple[Column, Mask]:
    """Text that begins and ends with a visible letter of ASCII: no blanks that somebody would strip."""
    _, ends_at, letters = array.buffers()
    offsets = np.frombuffer(ends_at, np.int32)[array.offset : array.offset + len(array) + 1]
    sound = np.zeros(len(array), dtype=bool)
    if letters is not None and letters.size:
        starts, ends, data = offsets[:-1], offsets[1:], np.frombuffer(letters, np.uint8)
        first, last = data[np.minimum(starts, len(data) - 1)], data[np.maximum(ends - 1, 0)]
        size = ends - starts
        sound = (size > 0) & (size <= (judge.longest or 0)) & _visible(first) & _visible(last)
    there = _there(array)
    return Texts(array), np.where(there, sound, judge.takes_none)


def _visible(letters: NDArray[np.uint8]) -> Mask:
    return (letters > ord(" ")) & (letters <= ord("~"))


def _picked(judge: _Judge, array: pa.ChunkedArray) -> tuple[Column, Mask]:
    found, codes = _distinct(array)
    values = [judge(tables.plain(value)) for value in found]
    values.append(judge(None))
    places = np.array([-1 if value is None or value is UNFIT else place for place, value in enumerate(values)])
    known = tuple(None if value is UNFIT else value for value in values)
    return Picked(known, places[codes]), np.array([value is not UNFIT for value in values])[codes]


def _distinct(array: pa.ChunkedArray) -> tuple[list[Any], NDArray[Any]]:
    """The distinct values, and per row the place of its own; -1 for none. Lists and objects are all taken as such."""
    if pa.types.is_nested(array.type):
        return array.to_pylist(), np.arange(len(array))
    encoded = _whole(array if pa.types.is_dictionary(array.type) else array.dictionary_encode())
    return encoded.dictionary.to_pylist(), encoded.indices.cast(pa.int32()).fill_null(-1).to_numpy(zero_copy_only=False)


def _whole(array: pa.ChunkedArray) -> pa.Array:
    return array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()


def _there(array: pa.Array) -> Mask:
    return np.asarray(array.is_valid().to_numpy(zero_copy_only=False), dtype=bool)

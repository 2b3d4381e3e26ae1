"""What a row is made of: the types that use cases build their schemas from, and how a schema is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from numpy.typing import NDArray
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict
from pydantic.fields import FieldInfo

Row = Mapping[str, Any]
Level = str | int

TRUE = frozenset({1, "1", "yes", "true", "y"})  # True == 1
FALSE = frozenset({0, "0", "no", "false", "n"})


def yes_or_no(value: Any) -> Any:
    """Fold 1/0, true/false and any spelling of yes/no onto "Yes" and "No"; leave the rest to be refused."""
    folded = value.strip().lower() if isinstance(value, str) else value
    try:
        return "Yes" if folded in TRUE else "No" if folded in FALSE else value
    except TypeError:  # a list or an object cannot be looked up
        return value


YesNo = Annotated[
    Literal["Yes", "No"],
    BeforeValidator(yes_or_no, json_schema_input_type=Literal["Yes", "No"] | bool | Literal[0, 1]),
]


def also(levels: tuple[Any, ...], spellings: Mapping[str, str]) -> BeforeValidator:
    """Other spellings of some levels, as a source writes them; upper and lower case are one."""
    folded = {other.lower(): level for other, level in spellings.items()}

    def fold(value: Any) -> Any:
        return folded.get(value.strip().lower(), value) if isinstance(value, str) else value

    return BeforeValidator(fold, json_schema_input_type=Literal[(*levels, *spellings)])


def called(*names: str) -> AliasChoices:
    """The names under which a field is accepted; the first is the one that answers use."""
    return AliasChoices(*names)


@dataclass(frozen=True)
class _Codes:
    """Marks whole numbers that name something, such as a month: their order and distance mean nothing."""


CODES = _Codes()


class RowModel(BaseModel):
    """A use case's row. Further fields are let through, and named in the answer as ignored."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, validate_by_name=True, validate_by_alias=True)


@dataclass(frozen=True, kw_only=True)
class FieldSpec:
    """One field of the row, read off the schema: what it holds and what it may hold.

    Attributes:
        name: its name in Python, and in validated rows.
        aliases: the names it is accepted under, as columns of a file and in JSON; the document's own first.
        levels: what a category may hold: words, or codes.
    """

    name: str
    aliases: tuple[str, ...]
    kind: Literal["number", "category", "text"]
    required: bool
    whole: bool = False
    levels: tuple[Level, ...] = ()
    low: float | None = None
    high: float | None = None

    @property
    def wire(self) -> str:
        """The name that people and answers use."""
        return self.aliases[0]

    @classmethod
    def of(cls, name: str, info: FieldInfo) -> "FieldSpec":
        """Read the spec off a pydantic field."""
        core, notes = unwrapped(info.annotation, list(info.metadata))
        bounds = _bounds(notes)
        coded = CODES in notes
        low, high = bounds.get("ge"), bounds.get("le")
        if not coded:
            low, high = bounds.get("gt", low), bounds.get("lt", high)
        return cls(
            name=name,
            aliases=_aliases(name, info),
            kind="category" if coded else _kind(core),
            required=info.is_required(),
            whole=core is int,
            levels=_levels(core, low, high, coded=coded),
            low=low,
            high=high,
        )


@dataclass(frozen=True)
class Picked:
    """A column of few different values: for each row the place of its own among them, -1 for none."""

    values: tuple[Any, ...]
    places: NDArray[np.integer[Any]]

    @property
    def given(self) -> NDArray[np.bool_]:
        """Where there is a value."""
        return self.places >= 0

    def rows(self, which: Any) -> "Picked":
        """Those of a slice, or where a mask says so."""
        return Picked(self.values, self.places[which])

    def mapped(self, to: Callable[[Any], Any], otherwise: Any) -> NDArray[Any]:
        """What each row's value is turned into; `otherwise` where there is none. Asked once for each value."""
        there = [otherwise if value is None else to(value) for value in self.values]
        return np.asarray(np.array([*there, otherwise])[self.places])

    def numbers(self) -> NDArray[np.float64]:
        """The values as numbers, NaN where none was sent."""
        return np.asarray(self.mapped(float, np.nan), dtype=np.float64)


def _aliases(name: str, info: FieldInfo) -> tuple[str, ...]:
    given = info.validation_alias
    if given is None:
        return (name,)
    return tuple(str(choice) for choice in given.choices) if isinstance(given, AliasChoices) else (str(given),)


def _levels(core: Any, low: float | None, high: float | None, *, coded: bool) -> tuple[Level, ...]:
    if coded and (low is None or high is None or core is not int):
        raise TypeError("CODES marks an int with both limits, ge and le, which are its levels")
    if coded and low is not None and high is not None:
        return tuple(range(int(low), int(high) + 1))
    return tuple(get_args(core)) if get_origin(core) is Literal else ()


def unwrapped(annotation: Any, notes: list[Any]) -> tuple[Any, list[Any]]:
    """The type inside Optional and Annotated, and every note met on the way to it."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return unwrapped(inner, notes + [m for note in more for m in getattr(note, "metadata", [note])])
    if get_origin(annotation) in (Union, UnionType):
        parts = [part for part in get_args(annotation) if part is not NoneType]
        if len(parts) > 1:
            raise TypeError(f"{annotation}: a field is of one type, or None")
        return unwrapped(parts[0], notes)
    return annotation, notes


def _bounds(notes: list[Any]) -> dict[str, float]:
    words = {Ge: "ge", Gt: "gt", Le: "le", Lt: "lt"}
    return {words[type(item)]: getattr(item, words[type(item)]) for item in notes if type(item) in words}


def _kind(core: Any) -> Literal["number", "category", "text"]:
    if get_origin(core) is Literal:
        return "category"
    if core in (int, float):
        return "number"
    if core is str:
        return "text"
    raise TypeError(f"{core}: a field is an int, a float, a str, a YesNo or a Literal of strings")

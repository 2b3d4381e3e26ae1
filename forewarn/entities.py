"""Which subject a row is about, and what may be kept of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any

from pydantic import Field, create_model

from forewarn import ids, scoring
from forewarn.errors import BadInput
from forewarn.fields import FieldSpec, Row
from forewarn.usecase import UseCase


@dataclass(frozen=True, kw_only=True)
class EntityRow:
    """What is to be stored of one subject: validated values by the fields' own names."""

    subject: str
    fields: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """A source's rows, by their index in it.

    Attributes:
        nameless: those without an id.
        invalid: what is wrong with those that hold a bad value, or none.
    """

    rows: dict[int, EntityRow]
    nameless: list[int]
    invalid: dict[int, str]


def admit(case: UseCase, raw: Sequence[Row]) -> Admitted:
    """What may be stored of a source's rows. They may lack any field; what they hold must be valid.

    Raises:
        BadInput: the use case's rows have no subject.
    """
    if not case.key:
        raise BadInput(f"{case.name}: its rows name no subject; there is nothing to keep features of")
    named = {index: subject for index, row in enumerate(raw) if (subject := subject_of(case, row, whole=True))}
    key = case.spec[case.key].wire
    valid, rejects = scoring.validate_each(partial(case), [{**raw[index], key: named[index]} for index in named])
    places = list(named)
    invalid = {places[place]: reason for place, reason in rejects.items()}
    kept = [(spec.name, spec.wire) for spec in storable(case)]
    rows = {}
    for index, row in zip([index for index in places if index not in invalid], valid.values, strict=True):
        fields = {wire: row[name] for name, wire in kept if row[name] is not None}
        if fields:
            rows[index] = EntityRow(subject=named[index], fields=fields)
        else:
            invalid[index] = "holds nothing that is stored; check the names of the columns"
    nameless = [index for index in range(len(raw)) if index not in named]
    return Admitted(rows=rows, nameless=nameless, invalid=invalid)


@cache
def partial(case: UseCase) -> UseCase:
    """The same use case for rows that hold a part only: nothing is required of them."""
    optional: dict[str, Any] = {
        name: _optional(info.asdict()) for name, info in case.row.model_fields.items() if info.is_required()
    }
    return replace(case, row=create_model(case.row.__name__, __base__=case.row, **optional))


@cache
def storable(case: UseCase) -> tuple[FieldSpec, ...]:
    """The fields that are kept of a subject: none that a model never gets, or that belong to an occasion."""
    return tuple(spec for spec in case.inputs if spec.name not in case.occasion)


def subject_of(case: UseCase, row: Any, *, whole: bool = False) -> str | None:
    """The row's id as text, under whatever name; None if it has none.

    `whole` takes 7.0 as 7: that is how a table's column of whole numbers with gaps comes.
    """
    if not case.key or not isinstance(row, Mapping):
        return None
    spec = case.spec[case.key]
    sent = next((row[name] for name in (*spec.aliases, spec.name) if row.get(name) is not None), None)
    return ids.text_of(int(sent) if whole and isinstance(sent, float) and sent.is_integer() else sent)


def _optional(field: Mapping[str, Any]) -> tuple[Any, None]:
    kind, notes, more = field["annotation"], field["metadata"], Field(**field["attributes"])
    return Annotated[(kind | None, *notes, more)], None

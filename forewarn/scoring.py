"""The one path from raw rows to decisions. Service, evaluation and batch all come through here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from forewarn import explain
from forewarn.errors import BadInput, ForewarnError, MissingField, RowRejected
from forewarn.explain import Why
from forewarn.features import Matrix
from forewarn.fields import Row
from forewarn.package import ModelPackage
from forewarn.tasks import Decision, Rule, Vector
from forewarn.usecase import UseCase

if TYPE_CHECKING:
    from forewarn.blocks import Block

# A row may hold thousands of names that mean nothing here; the answer must not be larger than what was asked.
MOST_IGNORED = 50
# Its columns and its matrix, 2 MB, stay in the processor's cache.
SLICE = 4096


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Validated rows: every field of the schema is there, None where it was not sent.

    Attributes:
        imputed: per row, the model's fields that were not sent and get a stand-in.
        ignored: per row, what was sent under a name that the schema does not know, the first fifty.
    """

    values: list[dict[str, Any]]
    imputed: list[list[str]]
    ignored: list[list[str]]

    def without(self, places: Sequence[int]) -> "Rows":
        """All but these."""
        return self.only(sorted(set(range(len(self.values))).difference(places)))

    def only(self, places: Sequence[int]) -> "Rows":
        """These, in their order."""
        if len(places) == len(self.values):
            return self
        return Rows(
            values=[self.values[place] for place in places],
            imputed=[self.imputed[place] for place in places],
            ignored=[self.ignored[place] for place in places],
        )


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One version's scores for a group of rows, with what is needed to decide on them and, if asked for, why.

    Attributes:
        values: probabilities or amounts, shape (n,).
    """

    version: str
    rule: Rule
    values: Vector
    why: Why | None = None

    def part(self, start: int, end: int) -> "Scores":
        """Those of the rows from start to end."""
        why = self.why.part(start, end) if self.why else None
        return replace(self, values=self.values[start:end], why=why)


def validate(case: UseCase, raw: Sequence[Mapping[str, Any]]) -> Rows:
    """Rows as they come from JSON or a table, checked and completed.

    Raises:
        BadInput: a row that is no object.
        MissingField, RowRejected: naming the field, the row if there are several, and what would do;
            a line for each of the first five problems.
    """
    try:
        return _rows(case, _many(case).validate_python(raw))
    except ValidationError as error:
        raise _explained(case, error.errors(include_url=False), several=len(raw) > 1) from None


def sift(case: UseCase, raw: Sequence[Any]) -> tuple[Rows, dict[int, ForewarnError]]:
    """Keep what is valid; per index of the rest, what `validate` would have raised for it alone."""
    try:
        return _rows(case, _many(case).validate_python(raw)), {}
    except ValidationError as error:
        if (mended := _without_blanks(raw)) != list(raw):
            return sift(case, mended)
        wrong: dict[int, list[ErrorDetails]] = {}
        for details in error.errors(include_url=False):
            wrong.setdefault(int(details["loc"][0]), []).append(details)
    good = [row for index, row in enumerate(raw) if index not in wrong]
    return validate(case, good), {index: _explained(case, found) for index, found in wrong.items()}


def _without_blanks(raw: Sequence[Any]) -> list[Any]:
    """Blank text is no value, as it is in a file."""
    return [
        {k: None if isinstance(v, str) and not v.strip() else v for k, v in row.items()}
        if isinstance(row, Mapping)
        else row
        for row in raw
    ]


def validate_each(case: UseCase, raw: Sequence[Any]) -> tuple[Rows, dict[int, str]]:
    """Keep what is valid; say per index in one sentence what is wrong with the rest."""
    rows, errors = sift(case, raw)
    return rows, {index: str(error).splitlines()[0] for index, error in errors.items()}


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Valid rows with their labels (1.0 = the event); and, per index in the source, what was wrong with the rest."""

    rows: list[dict[str, Any]]
    labels: Vector
    rejects: dict[int, str]


def labelled(case: UseCase, raw: Sequence[Mapping[str, Any]]) -> Labelled:
    """Rows of a labelled file. A row that is not valid, or has no readable label, is kept apart with its reason.

    Raises:
        BadInput: the label's column is missing, holds a third value, or not one row is good.
    """
    if case.target not in raw[0]:
        raise BadInput(f"{case.name}: the column {case.target} is missing; a labelled file needs it beside the fields")
    trouble = {index: case.task.misread(case.target, row[case.target]) for index, row in enumerate(raw)}
    unlabelled = {index: reason for index, reason in trouble.items() if reason}
    there = [index for index in range(len(raw)) if index not in unlabelled]
    valid, rejected = validate_each(case, [raw[index] for index in there])
    rejects = unlabelled | {there[place]: reason for place, reason in rejected.items()}
    if not valid.values:
        raise BadInput(f"{case.name}: not one row is good; the first: {rejects[min(rejects)]}")
    given = [row[case.target] for index, row in enumerate(raw) if index not in rejects]
    labels = case.task.labels(f"{case.name}: {case.target}", given)
    return Labelled(rows=valid.values, labels=labels, rejects=dict(sorted(rejects.items())))


def profile(case: UseCase, raw: Any) -> UseCase:
    """The profile that answers this row: another one where the field that this one hinges on was not sent."""
    if case.otherwise and isinstance(raw, Mapping) and not case.holds(raw, case.hinge):
        return case.otherwise
    return case


def score(package: ModelPackage, rows: Sequence[Row], *, why: bool = False) -> Scores:
    """Validated rows to scores. The service takes the same two steps in two deployments."""
    matrix = package.prepare(rows)
    return scores(package, matrix, rows if why else None)


def score_block(package: ModelPackage, block: "Block") -> Scores:
    """The same of rows that are columns, to the same bits; a slice at a time."""
    slices = [slice(start, min(start + SLICE, block.count)) for start in range(0, block.count, SLICE)]
    parts = [block.rows(part, part.stop - part.start) for part in slices]
    values = [package.predict(package.features.matrix_of_block(part)) for part in parts]
    return Scores(version=package.version, rule=package.rule, values=np.concatenate(values))


def scores(package: ModelPackage, matrix: Matrix, explained: Sequence[Row] | None = None) -> Scores:
    """A matrix to scores; with the rows it was made of, also why."""
    why = explain.contributions(package, explained, matrix) if explained is not None else None
    return Scores(version=package.version, rule=package.rule, values=package.predict(matrix), why=why)


def decide(case: UseCase, given: Scores) -> list[Decision]:
    """Scores to decisions, one per row."""
    return [case.task.decide(float(value), given.rule, given.version) for value in given.values]


@cache
def _many(case: UseCase) -> TypeAdapter[list[Any]]:
    return TypeAdapter(list[case.row])  # type: ignore[name-defined]


@cache
def _inputs(case: UseCase) -> list[tuple[str, str]]:
    return [(spec.name, spec.wire) for spec in case.inputs]


def _rows(case: UseCase, models: list[Any]) -> Rows:
    inputs = _inputs(case)
    values = [model.__dict__ for model in models]
    return Rows(
        values=values,
        imputed=[[wire for name, wire in inputs if value[name] is None] for value in values],
        ignored=[sorted(model.model_extra or ())[:MOST_IGNORED] for model in models],
    )


def _explained(case: UseCase, found: list[ErrorDetails], *, several: bool = False) -> ForewarnError:
    """The first things wrong with the input, as our own error."""
    sentences = [_sentence(case, d, row=int(d["loc"][0]) if several and d["loc"] else None) for d in found[:5]]
    text = "\n".join([*sentences, *([f"and {len(found) - 5} more"] if len(found) > 5 else [])])
    if any(len(details["loc"]) < 2 for details in found):
        return BadInput(text)
    if any(details["type"] == "missing" for details in found):
        return MissingField(text)
    return RowRejected(text)


def _sentence(case: UseCase, details: ErrorDetails, *, row: int | None) -> str:
    where = f"row {row}: " if row is not None else ""
    if len(details["loc"]) < 2:
        return f"{where}expected a JSON object with the fields of {case.row.__name__}: {details['msg']}"
    sent = str(details["loc"][1])
    spec = case.by_alias.get(sent)
    field = spec.wire if spec and sent == spec.name else sent
    if details["type"] == "missing":
        return f"{where}{field} is required; send it"
    # A subject's id, protected and sensitive fields are not repeated: the sentence may end in a job's log.
    untold = spec is None or spec.name in case.untold
    got = "" if untold else f", got {_shortly(details['input'])}"
    return f"{where}{field}: {details['msg'][:1].lower()}{details['msg'][1:]}{got}"


def _shortly(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."

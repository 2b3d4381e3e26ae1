"""The one path from raw rows to decisions. Service, evaluation and batch all come through here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from forewarn.errors import BadInput, ForewarnError, MissingField, RowRejected
from forewarn.package import ModelPackage
from forewarn.usecase import Decision, Row, UseCase, Vector


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Validated rows: every field of the schema is there, None where it was not sent.

    Attributes:
        imputed: per row, the model's fields that were not sent and get a stand-in.
        ignored: per row, what was sent under a name that the schema does not know.
    """

    values: list[dict[str, Any]]
    imputed: list[list[str]]
    ignored: list[list[str]]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One version's probabilities for a group of rows, with what is needed to decide on them."""

    version: str
    threshold: float
    probabilities: Vector


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
        raise _explained(case, error, several=len(raw) > 1) from None


def validate_each(case: UseCase, raw: Sequence[Mapping[str, Any]]) -> tuple[Rows, dict[int, str]]:
    """Keep what is valid; say per index what is wrong with the rest."""
    rejects: dict[int, str] = {}
    try:
        return _rows(case, _many(case).validate_python(raw)), rejects
    except ValidationError as error:
        for details in error.errors(include_url=False):
            rejects.setdefault(int(details["loc"][0]), _sentence(case, details, row=None))
    return validate(case, [row for index, row in enumerate(raw) if index not in rejects]), rejects


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Valid rows with their labels (1.0 = the event); and, per index in the source, what was wrong with the rest."""

    rows: list[dict[str, Any]]
    labels: Vector
    rejects: dict[int, str]


def labelled(case: UseCase, raw: Sequence[Mapping[str, Any]]) -> Labelled:
    """Rows of a labelled file. A row that is not valid, or has no label, is kept apart with its reason.

    Raises:
        BadInput: the label's column is missing, holds a third value, or not one row is good.
    """
    if case.target not in raw[0]:
        raise BadInput(f"{case.name}: the column {case.target} is missing; a labelled file needs it beside the fields")
    unlabelled = {index: f"{case.target} is empty" for index, row in enumerate(raw) if row[case.target] is None}
    there = [index for index in range(len(raw)) if index not in unlabelled]
    valid, rejected = validate_each(case, [raw[index] for index in there])
    rejects = unlabelled | {there[place]: reason for place, reason in rejected.items()}
    if not valid.values:
        raise BadInput(f"{case.name}: not one row is good; the first: {rejects[min(rejects)]}")
    labels = case.labels([row[case.target] for index, row in enumerate(raw) if index not in rejects])
    return Labelled(rows=valid.values, labels=labels, rejects=dict(sorted(rejects.items())))


def score(package: ModelPackage, rows: Sequence[Row]) -> Scores:
    """Validated rows to scores. The service takes the same two steps in two deployments."""
    return scores(package, package.predict(package.prepare(rows)))


def scores(package: ModelPackage, probabilities: Vector) -> Scores:
    """Probabilities with the version and threshold they belong to."""
    return Scores(version=package.version, threshold=package.threshold, probabilities=probabilities)


def decide(case: UseCase, given: Scores) -> list[Decision]:
    """Scores to decisions, one per row."""
    return [_decide(case, given, float(probability)) for probability in given.probabilities]


def _decide(case: UseCase, given: Scores, probability: float) -> Decision:
    event = probability >= given.threshold
    return Decision(
        probability=probability,
        event=event,
        verdict=case.verdicts[event],
        confidence=probability if event else 1.0 - probability,
        risk_level=case.risk_level(probability, given.threshold),
        version=given.version,
    )


@cache
def _many(case: UseCase) -> TypeAdapter[list[Any]]:
    return TypeAdapter(list[case.row])  # type: ignore[name-defined]


def _rows(case: UseCase, models: list[Any]) -> Rows:
    inputs = [spec.name for spec in case.inputs]
    values = [model.__dict__ for model in models]
    return Rows(
        values=values,
        imputed=[[name for name in inputs if value[name] is None] for value in values],
        ignored=[sorted(model.model_extra or ()) for model in models],
    )


def _explained(case: UseCase, error: ValidationError, *, several: bool) -> ForewarnError:
    """The first things wrong with the input, as our own error."""
    found = error.errors(include_url=False)
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
    field = str(details["loc"][1])
    if details["type"] == "missing":
        return f"{where}{field} is required; send it"
    # A subject's id and protected fields are not repeated: the sentence may end in a job's log.
    got = "" if field in case.protected | {case.key} else f", got {_shortly(details['input'])}"
    return f"{where}{field}: {details['msg'][:1].lower()}{details['msg'][1:]}{got}"


def _shortly(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."

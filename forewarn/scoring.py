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
        raise _explained(case, error) from None


def validate_each(case: UseCase, raw: Sequence[Mapping[str, Any]]) -> tuple[Rows, dict[int, str]]:
    """Keep what is valid; say per index what is wrong with the rest."""
    rejects: dict[int, str] = {}
    try:
        return _rows(case, _many(case).validate_python(raw)), rejects
    except ValidationError as error:
        for details in error.errors(include_url=False):
            rejects.setdefault(int(details["loc"][0]), _sentence(case, details, row=None))
    return validate(case, [row for index, row in enumerate(raw) if index not in rejects]), rejects


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


def _explained(case: UseCase, error: ValidationError) -> ForewarnError:
    """The first things wrong with the input, as our own error."""
    found = error.errors(include_url=False)
    several = any(details["loc"] and details["loc"][0] for details in found)
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
    return f"{where}{field}: {details['msg'][:1].lower()}{details['msg'][1:]}, got {_shortly(details['input'])}"


def _shortly(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."

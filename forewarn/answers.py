"""The shapes in which a use case answers: what every answer says, and what its own document adds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from forewarn.fields import Row


class Contribution(BaseModel):
    """What one field did to the score, on the scale of the explanation.

    Attributes:
        value: the field's value, null if it was not sent.
        error: standard error where the contribution is sampled, 0 where it is exact.
    """

    field: str
    value: Any
    contribution: float
    error: float


class Explanation(BaseModel):
    """Why: `base_value` plus every contribution is `score`, before a forecast is held within what can be.

    Attributes:
        scale: what all of these are counted in; log-odds for a probability.
        method: how they were computed, and whether they are exact.
    """

    scale: str
    method: str
    base_value: float
    score: float
    contributions: list[Contribution]


class StoredFeatures(BaseModel):
    """What the feature store filled in, and how old it is (S1-04: refreshed daily)."""

    fields: list[str]
    as_of: str
    age_hours: float
    stale: bool


class Answer(BaseModel):
    """What every answer says, whatever the use case; each adds the words of its own document.

    Attributes:
        features_imputed: fields that this version uses, that were not sent and got a stand-in learned in training.
        fields_ignored: what was sent under names that the schema does not know.
        features_from_store: what the feature store filled in; null if it was not asked.
        served_from: scored now, by the champion, its challenger, or whichever version a tester wanted to hear; or some
            minutes ago, from the very same values (cache); or, where that version cannot answer, by the one before it,
            or in the night (nightly).
        instead_of: the version that could not answer; scored_at: when a nightly score was made.
        served_by: the use case whose model answered: another profile, where this one's required fields were not sent.
        reasons: in plain words, what moved the score most; with an explanation only.
        decision_support: always true: people decide (C44).
    """

    model_config = ConfigDict(extra="forbid")

    model_version: str
    prediction_id: str
    request_id: str
    features_imputed: list[str]
    fields_ignored: list[str]
    features_from_store: StoredFeatures | None
    served_from: Literal["champion", "challenger", "override", "cache", "previous", "nightly"]
    instead_of: str | None = None
    scored_at: str | None = None
    served_by: str
    decision_support: Literal[True]
    timestamp: str
    latency_ms: float
    explanation: Explanation | None = None
    reasons: list[str] | None = None
    recommendation: str | None = None


class EventAnswer(Answer):
    """An answer about an event. `event`: whether the probability has reached the model's threshold."""

    probability: float
    event: bool
    risk_level: str


class Interval(BaseModel):
    """Where the outcome lies with the probability `coverage` (split conformal, C34)."""

    low: float
    high: float
    coverage: float


class AmountAnswer(Answer):
    """An answer about an amount."""

    prediction: float
    unit: str
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Example:
    """A request that the API documentation shows and the contract tests send."""

    name: str
    row: Mapping[str, Any]


Card = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Told:
    """All there is to make an answer from.

    Attributes:
        decision: a `Verdict` or a `Forecast`.
        row: the validated row.
        card: the package's metadata: metrics, algorithm, times.
        at: when it is told.
    """

    decision: Any
    row: Row
    card: Card
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Batch:
    """All there is to make a batch's totals from. An answer is None where a row was bad."""

    answers: Sequence[Mapping[str, Any] | None]
    duration_ms: float
    card: Card
    at: datetime


class CountedBatch(BaseModel):
    """A batch's totals where no document asks for others."""

    count: int


def counted(batch: Batch) -> dict[str, Any]:
    """How many rows were sent."""
    return {"count": len(batch.answers)}


Words = Callable[[Told], dict[str, Any]]


def passes_on(words: Words) -> Words:
    """Promise that an answer passes values on and looks at none, so that it may be told of whole columns at once.

    It is then given the decision's and the row's columns in place of one row's values; what it makes of the card alone
    is the same for all rows. An answer that computes, compares or formats a row's value must not promise this.
    """
    words.passes_on = True  # type: ignore[attr-defined]
    return words


@passes_on
def wordless(told: Told) -> dict[str, Any]:  # noqa: ARG001
    """No document asks for more."""
    return {}


def with_zone(at: datetime) -> str:
    """ISO 8601 in UTC, the zone as Z."""
    return at.isoformat().replace("+00:00", "Z")


def nothing(card: Card) -> dict[str, Any]:  # noqa: ARG001
    """No document asks for more."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Api:
    """What the use case's own document prescribes over HTTP.

    Attributes:
        answer: the document's fields of one answer; they win over the common ones of the same name. Batch jobs are
            many times as fast where it `passes_on`.
        response: their schema, `EventAnswer` or `AmountAnswer` included.
        batch: the document's fields of a batch.
        batch_response: their schema.
        about: the document's facts about the model for model_info, from the package's metadata.
        health: the same for the use case's health.
        timestamp: how the document writes a time.
        strict_401: a missing or wrong key is answered 401 "Unauthorized" alike (C4).
        invalid_status: status of a wrong type or range (C5).
    """

    answer: Words = wordless
    response: type[Answer] = EventAnswer
    batch: Callable[[Batch], dict[str, Any]] = counted
    batch_response: type[BaseModel] = CountedBatch
    about: Callable[[Card], dict[str, Any]] = nothing
    health: Callable[[Card], dict[str, Any]] = nothing
    timestamp: Callable[[datetime], str] = with_zone
    strict_401: bool = False
    invalid_status: int = 422

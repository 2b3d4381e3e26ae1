"""What came true, and what people did: `feedback`, `decisions`, and one prediction's whole story."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ValidationError

from deployments.endpoint import Endpoint
from deployments.house import House
from deployments.routes import reading, schema
from deployments.routes.envelope import PROBLEMS, answer, described, request_id
from deployments.routes.predict import prefixes
from forewarn.errors import BadInput, ForewarnError, TooLarge
from forewarn.ledger import decisions, outcomes
from forewarn.ledger.decisions import NewDecision
from forewarn.ledger.outcomes import Outcome

MOST = 1000


class Accepted(BaseModel):
    """Per outcome the id of its line in the ledger, or what is wrong with it, in order."""

    accepted: int
    results: list[dict[str, Any]]
    request_id: str


class History(BaseModel):
    """A prediction's outcomes, the one that counts first."""

    outcomes: list[dict[str, Any]]


class Decided(BaseModel):
    """Where it was written down."""

    decision_id: str
    request_id: str


class Decisions(BaseModel):
    """A page of decisions, oldest first, and the rates of the whole period. `next` is the next page's `after`."""

    decisions: list[dict[str, Any]]
    rates: dict[str, Any]
    next: str | None


class Story(BaseModel):
    """One prediction: when, which version, what was decided and came true."""

    prediction: dict[str, Any]


def install(app: FastAPI, house: House, endpoint: Endpoint) -> None:
    """Beside predict, wherever that is."""
    doors: list[tuple[str, str, Any, type[BaseModel], str, dict[str, Any]]] = [
        ("feedback", "POST", _feedback(house, endpoint), Accepted, "What came true: one outcome, or many",
         _body(outcomes.example(endpoint.case))),
        ("feedback", "GET", _history(house, endpoint), History, "A prediction's outcomes", _query("prediction_id")),
        ("decisions", "POST", _decide(house, endpoint), Decided, "What a person did about a prediction, and why",
         _body(NewDecision(prediction_id="5f1c…", action="called the customer", overrides=False,
                           reason="The contract ends this month.", person="A. Manager").model_dump())),
        ("decisions", "GET", _decisions(house, endpoint), Decisions, "Decisions, and how often people overrule",
         _query("since", "until", "prediction_id", "after", "limit")),
        ("predictions/{prediction_id}", "GET", _story(house, endpoint), Story, "One prediction's whole story",
         {"parameters": [{"name": "prediction_id", "in": "path", "required": True, "schema": {"type": "string"}}]}),
    ]  # fmt: skip
    for prefix, shown in prefixes(house, endpoint):
        for name, method, handler, model, summary, documented in doors:
            path = f"{prefix}/{name}"
            app.add_api_route(
                path, handler, methods=[method], response_model=model, summary=summary, include_in_schema=shown,
                operation_id=f"{method.lower()}_{path.strip('/').replace('/', '_').replace('{', '').replace('}', '')}",
                tags=[endpoint.case.name], responses=PROBLEMS, openapi_extra={**documented, **schema.KEY},
            )  # fmt: skip


def _feedback(house: House, endpoint: Endpoint) -> Any:
    async def feedback(request: Request) -> Response:
        key = reading.admit(house, request, "feedback", endpoint=endpoint)
        sent, single = await _sent(house, request)
        now = datetime.now(UTC)
        read = [_read(endpoint, one, now) for one in sent]
        good = [one for one in read if isinstance(one, Outcome)]
        write = partial(outcomes.record, house.ledger, endpoint.case, good, key_id=key.id, at=now)
        kept = iter(await asyncio.to_thread(write))
        told = [next(kept) if isinstance(one, Outcome) else one for one in read]
        if single and isinstance(told[0], ForewarnError):
            raise told[0]
        return answer(_accepted(request, told))

    return feedback


def _accepted(request: Request, told: Sequence[str | ForewarnError]) -> dict[str, Any]:
    results = [
        {"index": place, **described(type(one).__name__, str(one))}
        if isinstance(one, ForewarnError)
        else {"index": place, "outcome_id": one}
        for place, one in enumerate(told)
    ]
    accepted = sum(isinstance(one, str) for one in told)
    return {"accepted": accepted, "results": results, "request_id": request_id(request)}


def _read(endpoint: Endpoint, raw: Any, now: datetime) -> Outcome | ForewarnError:
    try:
        return outcomes.read(endpoint.case, endpoint.recorder.id_key, raw, at=now)
    except ForewarnError as error:
        return error


async def _sent(house: House, request: Request) -> tuple[list[Any], bool]:
    sent = reading.json_of(await reading.body_of(request, house.max_body_bytes))
    many = sent if isinstance(sent, list) else [sent]
    if not many:
        raise BadInput("there is nothing in the list; send at least one")
    if len(many) > house.max_rows:
        raise TooLarge(f"{len(many)} outcomes in one request; send at most {house.max_rows}")
    return many, not isinstance(sent, list)


def _history(house: House, endpoint: Endpoint) -> Any:
    async def history(request: Request) -> Response:
        reading.admit(house, request, "read", endpoint=endpoint)
        wanted = request.query_params.get("prediction_id", "")
        if not wanted:
            raise BadInput("prediction_id: is missing in the query; say which prediction")
        return answer(
            {"outcomes": await asyncio.to_thread(outcomes.of_prediction, house.ledger, endpoint.case, wanted)}
        )

    return history


def _decide(house: House, endpoint: Endpoint) -> Any:
    async def decide(request: Request) -> Response:
        key = reading.admit(house, request, "decide", endpoint=endpoint)
        made = _decision(reading.json_of(await reading.body_of(request, house.max_body_bytes)))
        write = partial(decisions.record, house.ledger, endpoint.case, made, key_id=key.id, at=datetime.now(UTC))
        return answer({"decision_id": await asyncio.to_thread(write), "request_id": request_id(request)})

    return decide


def _decision(sent: Any) -> NewDecision:
    """The reason is mandatory (S1-39)."""
    try:
        return NewDecision.model_validate(sent)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors()[:5]]
        raise BadInput("\n".join(problems)) from None


def _decisions(house: House, endpoint: Endpoint) -> Any:
    async def listed(request: Request) -> Response:
        reading.admit(house, request, "read", endpoint=endpoint)
        asked = {name: request.query_params.get(name, "") for name in ("since", "until")}
        page = {name: request.query_params.get(name, "") for name in ("prediction_id", "after")}
        most = reading.number(request, "limit", 100, most=MOST)
        find = partial(decisions.listed, house.ledger, endpoint.case, **asked, **page, most=most)
        found = await asyncio.to_thread(find)
        rates = await asyncio.to_thread(partial(decisions.override_rates, house.ledger, endpoint.case, **asked))
        return answer({"decisions": found, "rates": rates, "next": found[-1]["id"] if len(found) == most else None})

    return listed


def _story(house: House, endpoint: Endpoint) -> Any:
    async def story(request: Request) -> Response:
        reading.admit(house, request, "read", endpoint=endpoint)
        wanted = str(request.path_params["prediction_id"])
        found = await asyncio.to_thread(decisions.prediction, house.ledger, endpoint.case, wanted)
        return answer({"prediction": {**found, "fields": orjson.loads(found["fields"]) if found["fields"] else None}})

    return story


def _body(example: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": {}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def _query(*names: str) -> dict[str, Any]:
    return {"parameters": [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names]}

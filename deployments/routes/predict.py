"""Predict and explain: one row, a list of rows, CSV, an uploaded file; in JSON or CSV."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from fastapi import FastAPI, Request, Response

from deployments import desk
from deployments.desk import Asked, Given
from deployments.endpoint import Endpoint
from deployments.house import House
from deployments.routes import reading, schema
from deployments.routes.envelope import answer, described, header
from deployments.routes.front import Handler
from forewarn import tables
from forewarn.answers import Batch, Card
from forewarn.errors import BadInput, ForewarnError, RowRejected

# C1: what the documents call each door.
EITHER = ("predict",)
SINGLE = ("predict/single",)
MANY = ("predict/batch", "batch", "batch_predict")


def install(app: FastAPI, house: House, endpoint: Endpoint) -> dict[str, Handler]:
    """The canonical paths, the short ones, and at the root those of the default use case; all of them, by path."""
    doors: list[tuple[tuple[str, ...], Handler, dict[str, Any]]] = [
        (EITHER, _door(house, endpoint), schema.either(endpoint)),
        (SINGLE, _door(house, endpoint, one=True), schema.single(endpoint)),
        (MANY, _door(house, endpoint, batch=True), schema.batch(endpoint)),
        (("explain",), _door(house, endpoint, explained=True), schema.either(endpoint, explaining=True)),
    ]
    opened: dict[str, Handler] = {}
    for prefix, shown in prefixes(house, endpoint):
        for names, handler, documented in doors:
            for name in names:
                path = f"{prefix}/{name}"
                told = documented if shown else {"response_model": None}
                operation = path.strip("/").replace("/", "_")
                app.add_api_route(
                    path, handler, methods=["POST"], operation_id=operation, include_in_schema=shown, **told
                )
                opened[path] = handler
    return opened


def prefixes(house: House, endpoint: Endpoint) -> list[tuple[str, bool]]:
    """Where a use case answers, and whether the API documentation lists it there."""
    name = endpoint.case.name
    root = [("", True)] if name == house.default else []
    return [(f"/v1/{name}", True), (f"/{name}", False), *root]


def _door(
    house: House, endpoint: Endpoint, *, batch: bool = False, one: bool = False, explained: bool = False
) -> Handler:
    async def predict(request: Request) -> Response:
        began = perf_counter()
        key = reading.admit(house, request, "predict", endpoint=endpoint)
        await house.quota.spend(key)
        house.refuse_overload(endpoint)
        wants_why = explained or reading.flag(request, "explain")
        asked = await reading.asked(house, request, key, explained=wants_why, batch=batch)
        if one and not asked.single:
            raise BadInput("this path takes one object; send a list to the same path without /single")
        given = await desk.answers(house, endpoint, asked)
        house.meter.took(endpoint.case.name, perf_counter() - began)
        one_answer = _single(endpoint, given[0], began) if asked.single else None
        if header(request, b"accept").strip().lower().startswith("text/csv"):
            return _as_csv(given, began)
        return answer(one_answer or _many(house, endpoint, asked, given, began))

    return predict


def _single(endpoint: Endpoint, given: Given, began: float) -> dict[str, Any]:
    if isinstance(given, RowRejected) and endpoint.case.api.invalid_status != RowRejected.status:
        raise BadInput(str(given))
    if isinstance(given, ForewarnError):
        raise given
    return {**given, "latency_ms": _since(began)}


def _many(house: House, endpoint: Endpoint, asked: Asked, given: Sequence[Given], began: float) -> dict[str, Any]:
    """The document's batch, and beside it every row's answer or what is wrong with it, in order."""
    took = _since(began)
    told = [None if isinstance(one, ForewarnError) else {**one, "latency_ms": took} for one in given]
    wrong = {place: _problem(place, one) for place, one in enumerate(given) if isinstance(one, ForewarnError)}
    rows = [wrong.get(place, one) for place, one in enumerate(told)]
    card = _card(house, endpoint, told)
    totals = endpoint.case.api.batch(Batch(answers=told, duration_ms=took, card=card, at=datetime.now(UTC)))
    where = "results" if "predictions" in totals else "predictions"
    return {where: rows, **totals, "errors": list(wrong.values()), "request_id": asked.request_id}


def _card(house: House, endpoint: Endpoint, told: Sequence[Mapping[str, Any] | None]) -> Card:
    """The metadata of what answered: of the first good row's profile and version."""
    answered = next((one for one in told if one is not None), None)
    if answered is not None:
        return house.endpoints.get(answered["served_by"], endpoint).card_of(answered["model_version"])
    if not endpoint.card:
        raise endpoint.unready()
    return endpoint.card


def _as_csv(given: Sequence[Given], began: float) -> Response:
    took = _since(began)
    rows = [
        {"row": place, "error": str(one).splitlines()[0]}
        if isinstance(one, ForewarnError)
        else {"row": place, "error": None, **one, "latency_ms": took}
        for place, one in enumerate(given)
    ]
    return Response(tables.csv_of(rows), media_type="text/csv")


def _problem(place: int, error: ForewarnError) -> dict[str, Any]:
    return {"index": place, **described(type(error).__name__, str(error))}


def _since(began: float) -> float:
    return round((perf_counter() - began) * 1000, 3)

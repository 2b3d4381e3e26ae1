"""Releases over HTTP: what `forewarn release` does at a shell. Who asks, and with which key, is in the history."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ValidationError

from deployments.endpoint import Endpoint
from deployments.house import House
from deployments.routes import reading, schema
from deployments.routes.envelope import PROBLEMS, answer
from forewarn.errors import BadInput, NotFound
from forewarn.ledger import steps
from forewarn.ledger.audit import By
from forewarn.ledger.steps import SCOPES, NewStep
from forewarn.releases import ReleaseState

MOST = 500
READERS = ("read", "operate", "approve")
Handler = Callable[[Request], Awaitable[Response]]


class Line(BaseModel):
    """One step: who took it, when, with which key, and why; and the whole state after it."""

    number: int
    use_case: str
    at: str
    actor: str
    key_id: str
    act: str
    why: str
    from_version: str | None
    to_version: str | None
    verdict: dict[str, Any] | None
    state: dict[str, Any]


class Status(BaseModel):
    """How things stand: in the history, and at the replica that answers."""

    state: dict[str, Any]
    answering: dict[str, str]
    refused: dict[str, str]
    history: list[Line]


class State(BaseModel):
    """After the step."""

    state: dict[str, Any]


def install(app: FastAPI, house: House, endpoint: Endpoint) -> None:
    """`GET` how things stand, or stood at a time; `POST` a step."""
    name = endpoint.case.name
    path = f"/v1/{name}/releases"
    shared: dict[str, Any] = {"tags": ["releases"], "responses": PROBLEMS}
    app.add_api_route(
        path, _status(house, endpoint), methods=["GET"], response_model=Status, operation_id=f"{name}_releases",
        summary="Which version answers whom, and how it came to that", **shared,
        openapi_extra={"parameters": [_query("limit"), _query("after")], **schema.KEY},
    )  # fmt: skip
    app.add_api_route(
        f"{path}/at/{{moment}}", _then(house, endpoint), methods=["GET"], response_model=Line, **shared,
        operation_id=f"{name}_release_at", summary="Which version served at a time",
        openapi_extra={"parameters": [{**_query("moment"), "in": "path", "required": True}], **schema.KEY},
    )  # fmt: skip
    app.add_api_route(
        path, _step(house, endpoint), methods=["POST"], response_model=State, operation_id=f"{name}_release_step",
        summary="Start, share, shadow, promote, roll back, pause", **shared,
        openapi_extra={"requestBody": _body(), **schema.KEY},
    )  # fmt: skip


def _status(house: House, endpoint: Endpoint) -> Handler:
    async def status(request: Request) -> Response:
        reading.admit(house, request, *READERS)
        most = reading.number(request, "limit", 50, most=MOST)
        after = reading.number(request, "after", 0, most=10**9)
        listed = partial(house.history.listed, endpoint.case, after=after, most=most)
        state, history = await asyncio.gather(
            asyncio.to_thread(house.history.state, endpoint.case), asyncio.to_thread(listed)
        )
        told = {"answering": endpoint.state.roles, "refused": endpoint.refused, "history": history}
        return answer({"state": state.told(), **told})

    return status


def _then(house: House, endpoint: Endpoint) -> Handler:
    async def then(request: Request) -> Response:
        reading.admit(house, request, *READERS)
        moment = str(request.path_params["moment"])
        found = await asyncio.to_thread(house.history.at, endpoint.case, moment)
        if found is None:
            raise NotFound(f"{endpoint.case.name}: nothing was released by {moment[:40]}")
        return answer(found)

    return then


def _step(house: House, endpoint: Endpoint) -> Handler:
    async def step(request: Request) -> Response:
        key = reading.admit(house, request, *dict.fromkeys(SCOPES.values()))
        asked = _asked(reading.json_of(await reading.body_of(request, house.max_body_bytes)))
        reading.admit(house, request, SCOPES[asked.act])
        by, now = By(actor=key.name, key_id=key.id), datetime.now(UTC)
        taken = partial(steps.take, house.history, endpoint.case, asked, by, at=now)
        state: ReleaseState = await asyncio.to_thread(taken)
        return answer({"state": state.told()})

    return step


def _asked(sent: Any) -> NewStep:
    try:
        return NewStep.model_validate(sent)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors()[:5]]
        raise BadInput("\n".join(["this is no step of a release", *problems])) from None


def _query(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "string"}}


def _body() -> dict[str, Any]:
    example = {"act": "start", "version": "v2", "share": 10, "why": "Recall is up on every slice."}
    content = {"application/json": {"schema": NewStep.model_json_schema(), "example": example}}
    return {"required": True, "content": content}

"""People's rights over HTTP: what `forewarn subject` does at a shell.

An id in a path stands in the logs of whatever proxy lies before us; `POST /v1/subjects/…` takes it in the body.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

from deployments.house import House
from deployments.routes import reading, schema
from deployments.routes.envelope import PROBLEMS, answer
from forewarn.errors import BadInput
from forewarn.keys import ADMIN, Key
from forewarn.ledger.audit import By
from forewarn.ledger.privacy import Privacy

ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
USE_CASE = {"name": "use_case", "in": "query", "schema": {"type": "string"}}
Act = Callable[..., Any]
Handler = Callable[[Request], Awaitable[Response]]


class Export(BaseModel):
    """All that is known of somebody."""

    subject: str
    at: str
    predictions: list[dict[str, Any]]
    outcomes: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    opt_outs: list[dict[str, Any]]
    nightly: list[dict[str, Any]]
    batches: list[dict[str, Any]]
    audit: list[dict[str, Any]]
    features: list[dict[str, Any]]


class Receipt(BaseModel):
    """What was erased, signed. `of`: the pseudonyms; `files`: those rewritten, and those that were not there."""

    id: str
    at: str
    of: dict[str, str]
    erased: dict[str, int]
    files: dict[str, list[str]]
    signature: str


class OptedOut(BaseModel):
    """In how many use cases that changed something."""

    use_cases: int


def install(app: FastAPI, house: House) -> None:
    """At one place: people are not a use case's."""

    def door(path: str, method: str, act: Act, model: type[BaseModel], scope: str, summary: str) -> None:
        in_path = "{id}" in path
        handler = _door(house, act, scope, in_path=in_path, wrapped=model is OptedOut)
        documented = {"parameters": [ID, USE_CASE]} if in_path else _body()
        app.add_api_route(
            path, handler, methods=[method], response_model=model, summary=summary, tags=["privacy"],
            operation_id=f"{method.lower()}_{path.strip('/').replace('/', '_').replace('{', '').replace('}', '')}",
            responses=PROBLEMS, openapi_extra={**documented, **schema.KEY},
        )  # fmt: skip

    door("/v1/subjects/{id}", "GET", Privacy.export, Export, ADMIN, "All that is known of somebody")
    door("/v1/subjects/export", "POST", Privacy.export, Export, ADMIN, "The same, the id in the body")
    door("/v1/subjects/{id}", "DELETE", Privacy.erase, Receipt, ADMIN, "Forget somebody, with a receipt")
    door("/v1/subjects/erase", "POST", Privacy.erase, Receipt, ADMIN, "The same, the id in the body")
    door("/v1/opt-outs", "POST", Privacy.opt_out, OptedOut, "operate", "Neither score nor log somebody")
    door("/v1/opt-outs/{id}", "DELETE", Privacy.opt_in, OptedOut, "operate", "Score somebody again")


def _door(
    house: House, act: Act, scope: str, *, in_path: bool, wrapped: bool
) -> Callable[[Request], Awaitable[Response]]:
    async def handler(request: Request) -> Response:
        key = reading.admit(house, request, scope)
        subject, use_case = await _named(house, request, in_path=in_path)
        person = house.privacy.person(subject, use_case)
        done = await asyncio.to_thread(partial(act, house.privacy, person, _by(key), at=datetime.now(UTC)))
        await asyncio.to_thread(house.board.look)
        return answer({"use_cases": done} if wrapped else done)

    return handler


async def _named(house: House, request: Request, *, in_path: bool) -> tuple[Any, str]:
    if in_path:
        return request.path_params["id"], request.query_params.get("use_case", "")
    sent = reading.json_of(await reading.body_of(request, house.max_body_bytes))
    if not isinstance(sent, dict) or sent.get("subject") is None:
        raise BadInput('subject: is missing; send {"subject": "4711"}, and use_case if it is about one')
    return sent["subject"], str(sent.get("use_case") or "")


def _by(key: Key) -> By:
    return By(actor=key.name, key_id=key.id)


def _body() -> dict[str, Any]:
    content = {"application/json": {"schema": {}, "example": {"subject": "4711"}}}
    return {"requestBody": {"required": True, "content": content}}

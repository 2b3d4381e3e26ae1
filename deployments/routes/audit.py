"""The log of privileged acts, over HTTP: what `forewarn audit` shows at a shell."""

import asyncio
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

from deployments.house import House
from deployments.routes import reading, schema
from deployments.routes.envelope import PROBLEMS, answer
from forewarn.keys import ADMIN
from forewarn.ledger import audit

MOST = 1000


class Log(BaseModel):
    """Acts, newest first. What they say of people is for keys with the scope admin."""

    acts: list[dict[str, Any]]


class Verified(BaseModel):
    """Whether the chain holds: `broken` is the first line that does not fit."""

    lines: int
    broken: int | None
    why: str
    head: str


def install(app: FastAPI, house: House) -> None:
    """At one place: acts are not a use case's."""

    async def log(request: Request) -> Response:
        key = reading.admit(house, request, "read")
        asked = {name: request.query_params.get(name, "") for name in ("since", "until", "act")}
        most = reading.number(request, "limit", 100, most=MOST)
        found = await asyncio.to_thread(partial(audit.entries, house.ledger, **asked, most=most))
        if not key.may([ADMIN]):
            found = [{**line, "personal": None} for line in found]
        return answer({"acts": found})

    async def verify(request: Request) -> Response:
        reading.admit(house, request, ADMIN)
        head = request.query_params.get("head", "")
        found = await asyncio.to_thread(partial(house.chain.verify, house.ledger, head=head))
        return answer({"lines": found.lines, "broken": found.broken, "why": found.why, "head": found.head})

    shared: dict[str, Any] = {"methods": ["GET"], "tags": ["audit"], "responses": PROBLEMS}
    app.add_api_route(
        "/v1/audit", log, response_model=Log, operation_id="audit", summary="Privileged acts, newest first",
        openapi_extra={**_query("since", "until", "act", "limit"), **schema.KEY}, **shared,
    )  # fmt: skip
    app.add_api_route(
        "/v1/audit/verify", verify, response_model=Verified, operation_id="audit_verify",
        summary="Does the chain hold?", openapi_extra={**_query("head"), **schema.KEY}, **shared,
    )  # fmt: skip


def _query(*names: str) -> dict[str, Any]:
    return {"parameters": [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names]}

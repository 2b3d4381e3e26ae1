"""Batch jobs over HTTP: what `forewarn score --submit` does at a shell. Who ordered, ended, fetched is in the log."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ValidationError

from deployments.endpoint import Endpoint
from deployments.house import House
from deployments.orders import Job
from deployments.routes import reading, schema
from deployments.routes.envelope import PROBLEMS, Problem, answer
from deployments.wishes import NewJob, Wishes
from forewarn.errors import BadInput
from forewarn.keys import Key
from forewarn.ledger.audit import By

SCOPE = "operate"
MOST = 200
TYPES = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}
Model = TypeVar("Model", bound=BaseModel)
Handler = Callable[[Request], Awaitable[Response]]


class Jobs(BaseModel):
    """Newest first."""

    jobs: list[Job]


def install(app: FastAPI, house: House, endpoint: Endpoint) -> None:
    """Order, list, look, fetch, cancel."""

    def door(method: str, where: str, handler: Callable[..., Handler], summary: str, **documented: Any) -> None:
        name, kind = endpoint.case.name, where.rpartition("/")[2].replace("{id}", "one") or "all"
        app.add_api_route(
            f"/v1/{name}/jobs{where}", handler(house, endpoint), methods=[method], summary=summary, tags=["jobs"],
            operation_id=f"{name}_jobs_{method.lower()}_{kind}", **{"responses": PROBLEMS, **documented},
        )  # fmt: skip

    ordering = {"requestBody": _body(), "parameters": [_query(*told) for told in WISHED.items()], **schema.KEY}
    listing = {"parameters": [_query("limit", "string")], **schema.KEY}
    of_one = {"parameters": [{**_query("id", "string"), "in": "path", "required": True}], **schema.KEY}
    job: dict[str, Any] = {"response_model": Job, "openapi_extra": of_one}
    file: dict[str, Any] = {"response_class": Response, "openapi_extra": of_one}
    door("POST", "", _order, "Score many rows as a job", response_model=Job, status_code=202, openapi_extra=ordering)
    door("GET", "", _list, "Jobs, newest first", response_model=Jobs, openapi_extra=listing)
    door("GET", "/{id}", _look, "How a job stands", **job)
    door("DELETE", "/{id}", _end, "Cancel a job; when it is over, remove its files", **job)
    answers, rejects = partial(_fetch, rejects=False), partial(_fetch, rejects=True)
    door("GET", "/{id}/result", answers, "The answers of a job", responses=_files(*TYPES.values()), **file)
    door("GET", "/{id}/rejects", rejects, "Rows that could not be scored", responses=_files("text/csv"), **file)


def _order(house: House, endpoint: Endpoint) -> Handler:
    async def order(request: Request) -> Response:
        key = reading.admit(house, request, SCOPE)
        sent = await reading.upload(request, house)
        wishes, given, query = _asked(house, request, sent)
        named = given if isinstance(given, str) else "upload"

        async def note(job: str) -> None:
            await _noted(house, "job.order", key, {"use_case": endpoint.case.name, "job": job, "input": named})

        job = await house.orders.place(endpoint.case, wishes, given, key, note, query=query)
        told = answer(job.model_dump(), 202)
        told.headers["location"] = f"/v1/{endpoint.case.name}/jobs/{job.id}"
        return told

    return order


def _asked(house: House, request: Request, sent: dict[str, Any] | bytes) -> tuple[Wishes, str | bytes, str]:
    if isinstance(sent, bytes):
        return _wishes(request), sent, ""
    asked = _valid(NewJob, sent)
    return asked, house.orders.input_of(asked), asked.query


def _list(house: House, endpoint: Endpoint) -> Handler:
    async def listed(request: Request) -> Response:
        reading.admit(house, request, SCOPE)
        most = reading.number(request, "limit", 50, most=MOST)
        found = await house.orders.listed(endpoint.case, most=most)
        return answer({"jobs": [job.model_dump() for job in found]})

    return listed


def _look(house: House, endpoint: Endpoint) -> Handler:
    async def look(request: Request) -> Response:
        reading.admit(house, request, SCOPE)
        job = await house.orders.look(endpoint.case, request.path_params["id"])
        return answer(job.model_dump())

    return look


def _end(house: House, endpoint: Endpoint) -> Handler:
    async def end(request: Request) -> Response:
        key = reading.admit(house, request, SCOPE)
        job = await house.orders.look(endpoint.case, request.path_params["id"])
        await _noted(house, "job.end", key, {"use_case": endpoint.case.name, "job": job.id, "status": job.status})
        return answer((await house.orders.end(endpoint.case, job.id)).model_dump())

    return end


def _fetch(house: House, endpoint: Endpoint, *, rejects: bool) -> Handler:
    async def fetch(request: Request) -> Response:
        key = reading.admit(house, request, SCOPE)
        job = request.path_params["id"]
        path: Path = await house.orders.result(endpoint.case, job, rejects=rejects)
        await _noted(house, "job.fetch", key, {"use_case": endpoint.case.name, "job": job, "file": path.name})
        return FileResponse(path, media_type=TYPES[path.suffix], filename=f"{endpoint.case.name}-{path.name}")

    return fetch


async def _noted(house: House, act: str, key: Key, about: dict[str, Any]) -> None:
    """In the log before it is done: what cannot be accounted for is not done."""

    def append() -> None:
        with house.ledger.begin() as connection:
            by = By(actor=key.name, key_id=key.id)
            house.chain.append(connection, act, by, about, at=datetime.now(UTC))

    await anyio.to_thread.run_sync(append)


def _wishes(request: Request) -> Wishes:
    """Of an upload they stand in the query."""
    return _valid(Wishes, {name: value for name, value in request.query_params.items() if name in Wishes.model_fields})


def _valid(kind: type[Model], sent: dict[str, Any]) -> Model:
    try:
        return kind.model_validate(sent)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors()[:5]]
        raise BadInput("\n".join([problems[0], *problems])) from None


WISHED = {"explain": "boolean", "version": "string", "nightly": "boolean", "format": "string"}


def _query(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": {"type": kind}}


def _body() -> dict[str, Any]:
    """Without an example of an upload: whoever tries those would have it scored."""
    upload = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}, "required": ["file"]}
    content: dict[str, Any] = {
        "application/json": {"schema": NewJob.model_json_schema(), "example": {"input": "customers.csv"}},
        "text/csv": {"schema": {"type": "string"}},
        "multipart/form-data": {"schema": upload},
    }
    return {"required": True, "content": content}


def _files(*kinds: str) -> dict[int | str, dict[str, Any]]:
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}
    early = {"model": Problem, "description": "the job is not done, or came to no result"}
    return {**PROBLEMS, 200: {"content": content, "description": "the file"}, 409: early}

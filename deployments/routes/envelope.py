"""How every answer is wrapped: JSON, a request id, and one shape for whatever went wrong."""

import logging
import re
from collections.abc import Awaitable, Callable
from math import ceil
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from deployments.ids import new_id
from forewarn.errors import ForewarnError, QuotaExceeded

log = logging.getLogger(__name__)
RETRY_AFTER_SECONDS = "1"
# A client's own id goes into logs: only what cannot forge a line there.
SAFE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Problem(BaseModel):
    """What went wrong, which one, what to do."""

    error: str
    type: str
    details: list[str]
    request_id: str


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "not JSON, or a required field is missing"},
    401: {"model": Problem, "description": "no API key"},
    403: {"model": Problem, "description": "invalid API key"},
    404: {"model": Problem, "description": "no such version or path"},
    413: {"model": Problem, "description": "too many rows or bytes"},
    422: {"model": Problem, "description": "a field has the wrong type or lies outside its range"},
    429: {"model": Problem, "description": "this key has asked as often as it may for now; see Retry-After"},
    503: {"model": Problem, "description": "overloaded, or no model can answer; see Retry-After"},
}


def header(request: Request, name: bytes) -> str:
    """A header's value by its lower-case name; empty if it was not sent. Starlette's own takes longer."""
    return next((value.decode("latin-1") for key, value in request.scope["headers"] if key == name), "")


def request_id(request: Request) -> str:
    """The client's X-Request-ID, or one of ours; the same for the whole request."""
    if "request_id" not in request.scope:
        given = header(request, b"x-request-id")
        request.scope["request_id"] = given if SAFE_ID.fullmatch(given) else new_id()
    found: str = request.scope["request_id"]
    return found


def answer(body: Any, status: int = 200) -> Response:
    """A JSON answer. Ray Serve itself puts the X-Request-ID header on it."""
    headers = {"retry-after": RETRY_AFTER_SECONDS} if status == 503 else None
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


def problem(request: Request, status: int, kind: str, text: str) -> Response:
    """Something went wrong: the first line is the error, all lines are the details."""
    return answer({**described(kind, text), "request_id": request_id(request)}, status)


def described(kind: str, text: str) -> dict[str, Any]:
    """The words of it."""
    lines = text.splitlines() or [kind]
    return {"error": lines[0], "type": kind, "details": lines}


def install(app: FastAPI) -> None:
    """Map every error to the one shape. The only place that knows HTTP statuses of errors."""
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)


async def told(request: Request, error: Exception) -> Response:
    """The answer to a request that failed with this."""
    handler = next(handler for kind, handler in _HANDLERS.items() if isinstance(error, kind))
    return await handler(request, error)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ForewarnError)
    request.app.state.house.meter.refused("", type(error).__name__)
    told = problem(request, error.status, type(error).__name__, str(error))
    if isinstance(error, QuotaExceeded):
        told.headers.update(_of_quota(error))
    return told


def _of_quota(error: QuotaExceeded) -> dict[str, str]:
    """As the IETF's draft on RateLimit headers has them; seconds."""
    wait = str(ceil(error.wait_s))
    return {
        "retry-after": wait,
        "ratelimit-limit": str(error.limit),
        "ratelimit-remaining": "0",
        "ratelimit-reset": wait,
    }


async def _not_served(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return problem(request, 404, "NotFound", f"there is nothing at {request.url.path}; see /docs")
    if error.status_code == 405:
        return problem(
            request, 405, "MethodNotAllowed", f"{request.url.path} does not take {request.method}; see /docs"
        )
    return problem(request, error.status_code, "HTTPError", str(error.detail))


async def _gone(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """The client hung up while it was sending; nobody will read this."""
    return problem(request, 400, "BadInput", "the request ended early")


async def _failed(request: Request, error: Exception) -> Response:
    """Whatever we did not think of: said plainly, with nothing of our insides in it."""
    request.app.state.house.meter.refused("", "InternalError")
    log.error("request %s failed", request_id(request), exc_info=error)
    return problem(request, 500, "InternalError", "something failed in here; it is logged under the request id")


# The first that fits.
_HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    ForewarnError: _refused,
    HTTPException: _not_served,
    ClientDisconnect: _gone,
    Exception: _failed,
}

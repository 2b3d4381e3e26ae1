"""What came in: JSON, CSV, or an uploaded CSV file; and the key of whoever sent it."""

import asyncio
from typing import Any

from fastapi import Request
from pydantic_core import from_json
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from deployments.desk import Asked
from deployments.endpoint import Endpoint
from deployments.house import House
from deployments.routes.envelope import header, request_id
from forewarn import tables
from forewarn.errors import BadInput, NotAllowed, NotAuthenticated, TooLarge
from forewarn.keys import Key

WRAPPERS = ("instances", "customers")
TESTERS = ("operate", "approve")
TRUE = ("1", "true", "yes", "on")
BODY_SECONDS = 30.0
FALSE = ("", "0", "false", "no", "off")


def admit(house: House, request: Request, *scopes: str, endpoint: Endpoint | None = None) -> Key:
    """Let whoever holds a key with one of the scopes in.

    Raises:
        NotAuthenticated: no key; or any trouble with it, where the use case's document wants it so (C4).
        NotAllowed: a wrong key, or one that may not do this.
    """
    try:
        return house.doorkeeper.check(header(request, b"x-api-key"), *scopes)
    except (NotAuthenticated, NotAllowed):
        if endpoint is not None and endpoint.case.api.strict_401:
            raise NotAuthenticated("Unauthorized") from None
        raise


async def asked(house: House, request: Request, key: Key, *, explained: bool, batch: bool = False) -> Asked:
    """The rows of a request.

    Raises:
        BadInput: they cannot be read.
        TooLarge: too many bytes or rows.
    """
    found, single = await _rows(request, house)
    if len(found) > house.max_rows:
        raise TooLarge(f"{len(found)} rows in one request; send at most {house.max_rows}, or score a file instead")
    if explained and len(found) > house.max_explained:
        raise TooLarge(f"{len(found)} rows to explain in one request; send at most {house.max_explained}")
    single = single and not batch
    return Asked(
        rows=found, single=single, explained=explained, request_id=request_id(request), key_id=key.id,
        wanted=_wanted(request, key),
    )  # fmt: skip


def _wanted(request: Request, key: Key) -> str:
    """Which version a tester wants to hear: a role, or its name.

    Raises:
        NotAllowed: the key is nobody's who may choose.
    """
    wanted = header(request, b"x-forewarn-version")
    if wanted and not key.may(TESTERS):
        raise NotAllowed(f"X-Forewarn-Version is for keys that may {' or '.join(TESTERS)}; leave it out")
    return wanted


def flag(request: Request, name: str) -> bool:
    """A yes or no in the query.

    Raises:
        BadInput: it is neither.
    """
    if not request.scope["query_string"]:
        return False
    word = request.query_params.get(name, "").lower()
    if word not in (*TRUE, *FALSE):
        raise BadInput(f"{name}={word[:40]}: say {name}=true or {name}=false")
    return word in TRUE


def number(request: Request, name: str, default: int, *, most: int) -> int:
    """A whole number in the query, from 1 to `most`.

    Raises:
        BadInput: it is none.
    """
    word = request.query_params.get(name, "")
    if not word:
        return default
    if not (word.isascii() and word.isdigit() and 1 <= int(word[:9]) <= most):
        raise BadInput(f"{name}={word[:40]}: give a whole number from 1 to {most}")
    return int(word)


async def body_of(request: Request, limit: int) -> bytes:
    """The body, read no further than the limit. Most come in one piece; whoever sends it in drops has half a minute.

    Raises:
        TooLarge: more bytes than the limit.
        BadInput: it did not come in time.
    """
    body, more = await _piece(request)
    if len(body) > limit:
        raise _too_large(limit)
    return await _whole(request, body, limit) if more else body


async def _whole(request: Request, first: bytes, limit: int) -> bytes:
    parts, size, more = [first], len(first), True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                part, more = await _piece(request)
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
    except TimeoutError:
        raise BadInput(f"the body did not come within {BODY_SECONDS:.0f} s; send fewer rows per request") from None
    return b"".join(parts)


async def _piece(request: Request) -> tuple[bytes, bool]:
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), message.get("more_body", False)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit} bytes; send fewer rows per request")


def json_of(body: bytes) -> Any:
    """Whatever JSON it is.

    Raises:
        BadInput: it is none.
    """
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise BadInput(f"the body is not JSON: {error}; send one object or a list of them") from None


async def upload(request: Request, house: House) -> dict[str, Any] | bytes:
    """A JSON object, or the bytes of a CSV that was sent.

    Raises:
        BadInput: it is neither.
        TooLarge: as `body_of`.
    """
    kind = header(request, b"content-type").partition(";")[0].strip().lower()
    body = await body_of(request, house.max_body_bytes)
    if kind in ("text/csv", "multipart/form-data"):
        return body if kind == "text/csv" else await _uploaded(request, body)
    sent = json_of(body)
    if not isinstance(sent, dict):
        raise BadInput("the body is no JSON object; send one that names the input, or the rows as text/csv")
    return sent


async def _rows(request: Request, house: House) -> tuple[list[Any], bool]:
    kind = header(request, b"content-type").partition(";")[0].strip().lower()
    body = await body_of(request, house.max_body_bytes)
    if kind == "text/csv":
        return _of_csv(body, house), False
    if kind == "multipart/form-data":
        return _of_csv(await _uploaded(request, body), house), False
    return rows_of_json(json_of(body))


def _of_csv(body: bytes, house: House) -> list[Any]:
    """One row more than the door takes is enough to refuse them all."""
    return tables.rows_of_csv(body, most=house.max_rows + 1)


def rows_of_json(sent: Any) -> tuple[list[Any], bool]:
    """The rows, and whether it was a single one.

    Raises:
        BadInput: no rows in it.
    """
    wrapper = next((name for name in WRAPPERS if isinstance(sent, dict) and name in sent), "")
    if wrapper:
        sent = sent[wrapper]
        if not isinstance(sent, list):
            raise BadInput(f"{wrapper} must be a list of rows")
    if not isinstance(sent, list):
        return [sent], True
    if not sent:
        raise BadInput("there are no rows in the list; send at least one")
    return sent, False


async def _uploaded(request: Request, body: bytes) -> bytes:
    """The one file of an upload (S4-13). The body is in memory already, and within the limit."""

    async def again() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    parser = MultiPartParser(request.headers, Request(request.scope, again).stream(), max_files=1, max_fields=10)
    parser.spool_max_size = len(body) + 1  # ids must not touch a disk
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise BadInput(f"the upload cannot be read ({error}); send multipart/form-data with one file") from None
    try:
        files = [part for part in form.values() if isinstance(part, UploadFile)]
        if not files:
            raise BadInput("the upload holds no file; send the CSV as a file, such as curl -F file=@rows.csv")
        return await files[0].read()
    finally:
        await form.close()

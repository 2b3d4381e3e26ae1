"""`POST /v1/{use_case}/predict`: one row, a list of rows, or {"instances": [rows]}."""

from datetime import UTC, datetime
from time import perf_counter
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from pydantic_core import from_json

from deployments.endpoint import Endpoint
from deployments.house import House
from deployments.routes.envelope import PROBLEMS, answer, request_id
from forewarn import scoring
from forewarn.errors import BadInput, TooLarge
from forewarn.scoring import Rows, Scores


def install(app: FastAPI, house: House, endpoint: Endpoint) -> None:
    """The canonical path, the short one, and the root for the default use case."""
    name = endpoint.case.name
    paths = [f"/v1/{name}/predict", f"/{name}/predict", *(["/predict"] if name == house.default else [])]

    async def predict(request: Request) -> Response:
        began = perf_counter()
        house.doorkeeper.check(request.headers.get("x-api-key"))
        raw, single = read(await body_of(request, house.max_body_bytes), house.max_rows)
        rows = scoring.validate(endpoint.case, raw)
        scores = await endpoint.score(rows.values)
        answers = _answers(endpoint, rows, scores, request_id(request), began)
        return answer(answers[0] if single else {"predictions": answers, "count": len(answers)})

    for path in paths:
        app.add_api_route(
            path,
            predict,
            methods=["POST"],
            summary=endpoint.case.title,
            tags=[name],
            operation_id=f"predict{path.replace('/', '_')}",
            response_model=endpoint.case.response | _batch(endpoint),
            responses=PROBLEMS,
            openapi_extra=_request_schema(endpoint),
        )


async def body_of(request: Request, limit: int) -> bytes:
    """The body, read no further than the limit.

    Raises:
        TooLarge: more bytes than the limit.
    """
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(f"the body is larger than {limit} bytes; send fewer rows per request")
        parts.append(part)
    return b"".join(parts)


def read(body: bytes, max_rows: int) -> tuple[list[Any], bool]:
    """The raw rows of a request's body, and whether it was a single one.

    Raises:
        BadInput: not JSON, or no rows in it.
        TooLarge: more than the limit.
    """
    try:
        sent = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise BadInput(f"the body is not JSON: {error}; send one object or a list of them") from None
    if isinstance(sent, dict) and "instances" in sent:
        sent = sent["instances"]
        if not isinstance(sent, list):
            raise BadInput("instances must be a list of rows")
    if not isinstance(sent, list):
        return [sent], True
    if not sent:
        raise BadInput("there are no rows in the list; send at least one")
    if len(sent) > max_rows:
        raise TooLarge(f"{len(sent)} rows in one request; send at most {max_rows}, or score a file instead")
    return sent, False


def _answers(endpoint: Endpoint, rows: Rows, scores: Scores, request: str, began: float) -> list[dict[str, Any]]:
    shared = {
        "model_version": scores.version,
        "request_id": request,
        "served_from": "champion",
        "decision_support": True,
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "latency_ms": round((perf_counter() - began) * 1000, 3),
    }
    decisions = scoring.decide(endpoint.case, scores)
    return [
        {
            **endpoint.case.answer(decision),
            "probability": decision.probability,
            "risk_level": decision.risk_level,
            "prediction_id": uuid4().hex,
            "features_imputed": imputed,
            "fields_ignored": ignored,
            **shared,
        }
        for decision, imputed, ignored in zip(decisions, rows.imputed, rows.ignored, strict=True)
    ]


def _batch(endpoint: Endpoint) -> type[BaseModel]:
    class Batch(BaseModel):
        """Answers in the order of the rows."""

        predictions: list[endpoint.case.response]  # type: ignore[name-defined]
        count: int

    Batch.__name__ = Batch.__qualname__ = f"{endpoint.case.response.__name__}Batch"
    return Batch


def _request_schema(endpoint: Endpoint) -> dict[str, Any]:
    row = endpoint.case.row.model_json_schema(mode="validation")
    many = {"type": "array", "items": row, "minItems": 1}
    wrapped = {"type": "object", "properties": {"instances": many}, "required": ["instances"]}
    examples = {example.name: {"value": dict(example.row)} for example in endpoint.case.examples}
    content = {"schema": {"anyOf": [row, many, wrapped]}, "examples": examples}
    key = {"name": "X-API-Key", "in": "header", "required": True, "schema": {"type": "string"}}
    return {"requestBody": {"required": True, "content": {"application/json": content}}, "parameters": [key]}

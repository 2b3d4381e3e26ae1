"""What the API documentation says of each use case's doors: schemas, examples, statuses."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, create_model

from deployments.endpoint import Endpoint
from deployments.routes.envelope import PROBLEMS
from forewarn import tables

KEY: dict[str, Any] = {"security": [{"ApiKey": []}]}
EXPLAIN = {
    "name": "explain",
    "in": "query",
    "required": False,
    "description": "Add each field's exact contribution, reasons in words, and a recommendation.",
    "schema": {"type": "boolean", "default": False},
}


class RowProblem(BaseModel):
    """What is wrong with the row at this index; the others are answered."""

    index: int
    error: str
    type: str
    details: list[str]


def single(endpoint: Endpoint) -> dict[str, Any]:
    """One object in, one object out."""
    return _operation(endpoint, endpoint.case.api.response, _body(endpoint, one=True, many=False))


def batch(endpoint: Endpoint) -> dict[str, Any]:
    """A list, a wrapped list, CSV or a file in; the document's batch out."""
    return _operation(endpoint, _batch(endpoint), _body(endpoint, one=True, many=True), what="a batch")


def either(endpoint: Endpoint, *, explaining: bool = False) -> dict[str, Any]:
    """An object for an object, a batch for a list."""
    answers = endpoint.case.api.response | _batch(endpoint)
    what = "and why" if explaining else ""
    return _operation(endpoint, answers, _body(endpoint, one=True, many=True), what=what, explaining=explaining)


def secure(app: FastAPI) -> None:
    """Name the key in the documentation, so that its pages can send it."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        found = made()
        scheme = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
        found.setdefault("components", {}).setdefault("securitySchemes", {})["ApiKey"] = scheme
        return found

    app.openapi = openapi  # type: ignore[method-assign]


def _operation(
    endpoint: Endpoint, response: Any, body: dict[str, Any], *, what: str = "", explaining: bool = False
) -> dict[str, Any]:
    csv = {"content": {"text/csv": {"schema": {"type": "string"}}}}
    return {
        "summary": f"{endpoint.case.title}{f': {what}' if what else ''}",
        "tags": [endpoint.case.name],
        "response_model": response,
        "responses": {200: csv, **PROBLEMS},
        "openapi_extra": {"requestBody": body, **KEY, **({} if explaining else {"parameters": [EXPLAIN]})},
    }


def _batch(endpoint: Endpoint) -> type[BaseModel]:
    api = endpoint.case.api
    where = "results" if "predictions" in api.batch_response.model_fields else "predictions"
    rows: Any = list[api.response | RowProblem]  # type: ignore[name-defined]
    fields: dict[str, Any] = {where: (rows, ...), "errors": (list[RowProblem], ...), "request_id": (str, ...)}
    doc = "Answers in the order of the rows."
    return create_model(f"{api.response.__name__}Batch", __base__=api.batch_response, __doc__=doc, **fields)


def _body(endpoint: Endpoint, *, one: bool, many: bool) -> dict[str, Any]:
    row = endpoint.case.row.model_json_schema(mode="validation")
    row["required"] = []  # with a subject's id alone, the feature store knows the rest
    rows = {"type": "array", "items": row, "minItems": 1}
    wrapped = {"type": "object", "properties": {"instances": rows}, "required": ["instances"]}
    shapes = [*([row] if one else []), *([rows, wrapped] if many else [])]
    examples = {example.name: {"value": dict(example.row)} for example in endpoint.case.examples}
    content: dict[str, Any] = {"application/json": {"schema": {"anyOf": shapes}, "examples": examples}}
    if many:
        content["text/csv"] = {"schema": {"type": "string"}, "example": _csv_example(endpoint)}
        upload = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
        content["multipart/form-data"] = {"schema": {**upload, "required": ["file"]}}
    return {"required": True, "content": content}


def _csv_example(endpoint: Endpoint) -> str:
    return tables.csv_of([example.row for example in endpoint.case.examples])

"""Open Inference Protocol v2, for clients of KServe and Seldon: a tensor a field in, a tensor an output out."""

from collections.abc import Sequence
from time import perf_counter
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deployments import desk
from deployments.desk import Asked, Given
from deployments.endpoint import Endpoint
from deployments.house import House
from deployments.routes import reading, schema
from deployments.routes.envelope import PROBLEMS, answer, request_id
from forewarn.errors import BadInput, ForewarnError, NotFound, TooLarge
from forewarn.fields import FieldSpec
from forewarn.keys import Key
from forewarn.tasks import Classification, Regression
from forewarn.usecase import UseCase

Datatype = Literal["BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32",
                   "FP64", "BYTES"]  # fmt: skip


class Tensor(BaseModel):
    """One field of every row: shape [n] or [n, 1]."""

    name: str
    shape: list[int] = Field(min_length=1, max_length=2)
    datatype: Datatype
    data: list[Any]


class InferenceRequest(BaseModel):
    """What a client sends. `outputs` names those it wants; all of them if it names none."""

    model_config = ConfigDict(extra="allow")

    id: str | None = None
    inputs: list[Tensor] = Field(min_length=1)
    outputs: list[dict[str, Any]] | None = None


class InferenceResponse(BaseModel):
    """What a client gets."""

    model_name: str
    model_version: str
    id: str
    parameters: dict[str, Any]
    outputs: list[Tensor]


class TensorMetadata(BaseModel):
    """One input or output; -1 is any number of rows."""

    name: str
    datatype: Datatype
    shape: list[int]


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Live(BaseModel):
    """Alive."""

    live: bool


class Ready(BaseModel):
    """Able to answer."""

    name: str
    ready: bool


class Server(BaseModel):
    """What this is."""

    name: str
    version: str
    extensions: list[str]


VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
OUTPUTS: dict[type, dict[str, Datatype]] = {
    Classification: {"probability": "FP64", "event": "BOOL", "risk_level": "BYTES"},
    Regression: {"prediction": "FP64", "low": "FP64", "high": "FP64"},
}


def install(app: FastAPI, house: House) -> None:
    """Server, health and, for each use case, metadata, readiness and inference, with and without a version."""

    @app.get("/v2", tags=["inference protocol v2"], response_model=Server, summary="What this is")
    async def server() -> Response:
        return answer({"name": "forewarn", "version": app.version, "extensions": []})

    @app.get("/v2/health/live", tags=["inference protocol v2"], response_model=Live, summary="Alive?")
    async def live() -> Response:
        return answer({"live": True})

    @app.get(
        "/v2/health/ready", tags=["inference protocol v2"], response_model=Ready, summary="Can every model answer?",
        responses={503: {"model": Ready}},
    )  # fmt: skip
    async def ready() -> Response:
        return answer({"name": "forewarn", "ready": house.ready}, 200 if house.ready else 503)

    for endpoint in house.endpoints.values():
        for prefix in (f"/v2/models/{endpoint.case.name}", f"/v2/models/{endpoint.case.name}/versions/{{version}}"):
            _model(app, house, endpoint, prefix)


def _model(app: FastAPI, house: House, endpoint: Endpoint, prefix: str) -> None:
    async def metadata(request: Request) -> Response:
        _refuse_other(endpoint, request)
        return answer(_metadata(endpoint))

    async def ready(request: Request) -> Response:
        _refuse_other(endpoint, request)
        able = bool(endpoint.version)
        return answer({"name": endpoint.case.name, "ready": able}, 200 if able else 503)

    async def infer(request: Request) -> Response:
        key = reading.admit(house, request, "predict", endpoint=endpoint)
        await house.quota.spend(key)
        _refuse_other(endpoint, request)
        began = perf_counter()
        sent = _sent(reading.json_of(await reading.body_of(request, house.max_body_bytes)))
        found = await _infer(house, endpoint, sent, request, key)
        house.meter.took(endpoint.case.name, perf_counter() - began)
        return answer(found)

    named = prefix.strip("/").replace("/", "_").replace("{version}", "version")
    where = {"parameters": [VERSION]} if "{version}" in prefix else {}
    shared: dict[str, Any] = {"tags": ["inference protocol v2"]}
    app.add_api_route(
        prefix, metadata, operation_id=named, response_model=ModelMetadata, responses={404: PROBLEMS[404]},
        summary="What it takes and gives", openapi_extra=where, **shared,
    )  # fmt: skip
    app.add_api_route(
        f"{prefix}/ready", ready, operation_id=f"{named}_ready", response_model=Ready,
        responses={404: PROBLEMS[404], 503: {"model": Ready}}, summary="Can it answer?", openapi_extra=where, **shared,
    )  # fmt: skip
    app.add_api_route(
        f"{prefix}/infer", infer, methods=["POST"], operation_id=f"{named}_infer", response_model=InferenceResponse,
        responses=PROBLEMS, summary=endpoint.case.title, openapi_extra=_documented(endpoint.case) | where, **shared,
    )  # fmt: skip


def _refuse_other(endpoint: Endpoint, request: Request) -> None:
    version = request.path_params.get("version")
    if version is not None and version != endpoint.version:
        raise NotFound(f"{endpoint.case.name} {version[:40]} does not answer here; {endpoint.version or 'none'} does")


async def _infer(
    house: House, endpoint: Endpoint, sent: InferenceRequest, request: Request, key: Key
) -> dict[str, Any]:
    rows = _rows(sent.inputs)
    if len(rows) > house.max_rows:
        raise TooLarge(f"{len(rows)} rows in one request; send at most {house.max_rows}, or score a file instead")
    wanted = request.path_params.get("version", "")  # the champion's name, as long as it is that
    asked = Asked(
        rows=rows, single=False, explained=False, request_id=request_id(request), key_id=key.id, wanted=wanted
    )
    answers = _all_good(await desk.answers(house, endpoint, asked))
    return {
        "model_name": endpoint.case.name,
        "model_version": answers[0]["model_version"],
        "id": sent.id or asked.request_id,
        "parameters": {
            name: ", ".join(dict.fromkeys(one[name] for one in answers))
            for name in ("served_by", "served_from", "model_version")
        },
        "outputs": [_output(name, kind, answers) for name, kind in _outputs(endpoint.case, sent)],
    }


def _all_good(given: Sequence[Given]) -> list[dict[str, Any]]:
    """The answers. The protocol has no place for one row's error, so the first is the whole request's."""
    for place, one in enumerate(given):
        if isinstance(one, ForewarnError):
            raise type(one)(f"row {place}: {one}")
    return [one for one in given if not isinstance(one, ForewarnError)]


def _sent(found: Any) -> InferenceRequest:
    try:
        return InferenceRequest.model_validate(found)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, d['loc'])) or 'body'}: {d['msg']}" for d in error.errors()[:5]]
        raise BadInput("\n".join(["the body is no inference request (v2)", *problems])) from None


def _rows(inputs: Sequence[Tensor]) -> list[dict[str, Any]]:
    columns = {tensor.name: _column(tensor) for tensor in inputs}
    if len(columns) < len(inputs):
        raise BadInput("two inputs have the same name; send each field once")
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1 or lengths == {0}:
        raise BadInput(f"the inputs hold {sorted(lengths)} rows; send the same number in each, at least one")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _column(tensor: Tensor) -> list[Any]:
    flat = [value for item in tensor.data for value in (item if isinstance(item, list) else [item])]
    if tensor.shape[0] != len(flat) or tensor.shape[1:] not in ([], [1]):
        raise BadInput(
            f"{tensor.name}: shape {tensor.shape} with {len(flat)} values; a field has the shape [n] or [n, 1]"
        )
    return flat


def _outputs(case: UseCase, sent: InferenceRequest) -> list[tuple[str, Datatype]]:
    """Those asked for, in that order."""
    known = OUTPUTS[type(case.task)]
    if sent.outputs is None:
        return list(known.items())
    wanted = [str(output.get("name")) for output in sent.outputs]
    if unknown := [name for name in wanted if name not in known]:
        raise BadInput(f"there is no output {unknown[0][:40]}; there is {', '.join(known)}")
    return [(name, known[name]) for name in wanted]


def _output(name: str, kind: Datatype, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    values = [one["interval"][name] if name in ("low", "high") else one[name] for one in answers]
    return {"name": name, "shape": [len(values)], "datatype": kind, "data": values}


def _metadata(endpoint: Endpoint) -> dict[str, Any]:
    case = endpoint.case
    inputs = [{"name": spec.wire, "datatype": _datatype(spec), "shape": [-1]} for spec in case.fields]
    outputs = [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in OUTPUTS[type(case.task)].items()]
    versions = [endpoint.version] if endpoint.version else []
    return {"name": case.name, "versions": versions, "platform": "forewarn", "inputs": inputs, "outputs": outputs}


def _datatype(spec: FieldSpec) -> Datatype:
    coded = bool(spec.levels) and isinstance(spec.levels[0], int)
    return "INT64" if coded else "FP64" if spec.kind == "number" else "BYTES"


def _documented(case: UseCase) -> dict[str, Any]:
    row = case.examples[0].row
    inputs = [_example(name, value) for name, value in row.items()]
    asked = InferenceRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    del asked["$defs"]  # Tensor stands among the components, because answers hold it too
    body = {"schema": asked, "example": {"inputs": inputs}}
    return {"requestBody": {"required": True, "content": {"application/json": body}}, **schema.KEY}


def _example(name: str, value: Any) -> dict[str, Any]:
    kind = "BYTES" if isinstance(value, str) else "FP64"
    return {"name": name, "shape": [1], "datatype": kind, "data": [value]}

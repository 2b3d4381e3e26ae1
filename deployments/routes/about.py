"""What is known of a use case's model: `model_info`, and its own `health`."""

from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict

from deployments.endpoint import Endpoint
from deployments.house import House
from deployments.routes import reading, schema
from deployments.routes.envelope import PROBLEMS, answer
from deployments.routes.predict import prefixes


class ModelInfo(BaseModel):
    """S3-08. `metadata` is null until a first model is there."""

    status: Literal["loaded", "not loaded"]
    use_case: str
    model_version: str | None
    metadata: dict[str, Any] | None
    timestamp: str


class UseCaseHealth(BaseModel):
    """S3-05: the use case's own facts come beside these."""

    model_config = ConfigDict(extra="allow")

    status: Literal["healthy", "degraded"]
    model_loaded: bool
    model_version: str | None
    timestamp: str


def install(app: FastAPI, house: House, endpoint: Endpoint) -> None:
    """Beside predict, wherever that is; the root's health is the whole service's."""

    async def model_info(request: Request) -> Response:
        reading.admit(house, request, "predict", "read", endpoint=endpoint)
        return answer(_info(endpoint))

    async def health() -> Response:
        return answer(_health(endpoint))

    for prefix, shown in prefixes(house, endpoint):
        name = f"{prefix}/model_info"
        app.add_api_route(
            name, model_info, methods=["GET"], operation_id=name.strip("/").replace("/", "_"),
            include_in_schema=shown, tags=[endpoint.case.name], response_model=ModelInfo,
            responses={status: PROBLEMS[status] for status in (401, 403)}, openapi_extra=schema.KEY,
            summary="Which version answers, how good it was when it was tested, and what it was made of",
        )  # fmt: skip
        if prefix:
            name = f"{prefix}/health"
            app.add_api_route(
                name, health, methods=["GET"], operation_id=name.strip("/").replace("/", "_"),
                include_in_schema=shown, tags=[endpoint.case.name], response_model=UseCaseHealth,
                summary="Alive? Always 200 while it is",
            )  # fmt: skip


def _info(endpoint: Endpoint) -> dict[str, Any]:
    card = endpoint.card
    return {
        "status": "loaded" if card else "not loaded",
        "use_case": endpoint.case.name,
        "model_version": endpoint.version,
        "metadata": {**_facts(card), **endpoint.case.api.about(card)} if card else None,
        "timestamp": now(endpoint),
    }


def _facts(card: dict[str, Any]) -> dict[str, Any]:
    wanted = ("algorithm", "metrics", "baselines", "rule", "fields", "created", "git_sha", "data", "quality")
    return {name: card[name] for name in wanted if name in card}


def _health(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "status": "healthy" if endpoint.version else "degraded",
        "model_loaded": bool(endpoint.version),
        "model_version": endpoint.version,
        "timestamp": now(endpoint),
        **facts(endpoint),
    }


def facts(endpoint: Endpoint) -> dict[str, Any]:
    """What the use case's document wants its health to say."""
    return endpoint.case.api.health(endpoint.card) if endpoint.card else {}


def now(endpoint: Endpoint) -> str:
    """The time, as the use case's document writes it."""
    return endpoint.case.api.timestamp(datetime.now(UTC).replace(microsecond=0))

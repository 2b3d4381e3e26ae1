"""Is it there, is it alive, can it answer, how busy is it: `/`, `/health`, `/ready`, `/metrics`."""

from time import monotonic
from typing import Any, Literal

from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict

from deployments.house import House
from deployments.routes.about import facts, now
from deployments.routes.envelope import PROBLEMS, answer


class ModelHealth(BaseModel):
    """One use case's state.

    Attributes:
        roles: champion, challenger, shadow and previous, of those that answer here.
        degraded_seconds: for how long the champion has not answered, and others do in its place.
        refused: versions that were to take a role over and do not answer, and why.
    """

    model_loaded: bool
    model_version: str | None
    roles: dict[str, str]
    degraded_seconds: float
    refused: dict[str, str]


class LedgerHealth(BaseModel):
    """Of the ledger as this replica sees it. While it is away, predictions wait on disk."""

    reachable: bool
    waiting_bytes: int


class Health(BaseModel):
    """S2-41, C36; and beside these what the default use case's own document wants (S3-05)."""

    model_config = ConfigDict(extra="allow")

    status: Literal["healthy", "degraded"]
    model_loaded: bool
    models: dict[str, ModelHealth]
    ledger: LedgerHealth
    uptime_seconds: float
    version: str
    timestamp: str


def install(app: FastAPI, house: House) -> None:
    """Open to everyone: load balancers and scrapers carry no key."""

    @app.get("/", summary="What this is", tags=["service"])
    async def welcome() -> Response:
        doors = [f"/v1/{name}/predict" for name in house.endpoints]
        return answer(
            {"message": "Welcome to Forewarn", "version": app.version, "docs": "/docs", "predict": doors},
        )

    @app.get("/metrics", summary="Counts for Prometheus", tags=["service"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        for name, endpoint in house.endpoints.items():
            house.meter.stands(name, degraded_s=endpoint.degraded_s, refused=len(endpoint.refused))
        house.meter.waits(house.spool.waiting_bytes, reachable=house.board.reachable)
        return Response(house.meter.page(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/health", summary="Alive? Always 200 while it is", tags=["service"], response_model=Health)
    async def alive() -> Response:
        return answer(_health(app, house))

    @app.get(
        "/ready", summary="Can every use case answer?", tags=["service"], response_model=Health,
        responses={503: PROBLEMS[503] | {"model": Health}},
    )  # fmt: skip
    async def ready() -> Response:
        return answer(_health(app, house), 200 if house.ready else 503)


def _health(app: FastAPI, house: House) -> dict[str, Any]:
    default = house.endpoints[house.default]
    return {
        "status": "healthy" if house.ready and not house.degraded else "degraded",
        "model_loaded": house.ready,
        "models": {
            name: {
                "model_loaded": bool(endpoint.version),
                "model_version": endpoint.version,
                "roles": endpoint.state.roles,
                "degraded_seconds": round(endpoint.degraded_s, 3),
                "refused": endpoint.refused,
            }
            for name, endpoint in house.endpoints.items()
        },
        "ledger": {"reachable": house.board.reachable, "waiting_bytes": house.spool.waiting_bytes},
        "uptime_seconds": round(monotonic() - house.since, 3),
        "version": app.version,
        "timestamp": now(default),
        **facts(default),
    }

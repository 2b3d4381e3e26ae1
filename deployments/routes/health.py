"""Is it there, is it alive, can it answer: `/`, `/health`, `/ready`."""

from time import monotonic
from typing import Any, Literal

from fastapi import FastAPI, Response
from pydantic import BaseModel

from deployments.house import House
from deployments.routes.envelope import PROBLEMS, answer


class ModelHealth(BaseModel):
    """One use case's state."""

    model_loaded: bool
    model_version: str | None


class Health(BaseModel):
    """S2-41, C36."""

    status: Literal["healthy", "degraded"]
    model_loaded: bool
    models: dict[str, ModelHealth]
    uptime_seconds: float
    version: str


def install(app: FastAPI, house: House) -> None:
    """Open to everyone: load balancers carry no key."""

    def health() -> dict[str, Any]:
        return {
            "status": "healthy" if house.ready else "degraded",
            "model_loaded": house.ready,
            "models": {
                n: {"model_loaded": bool(d.version), "model_version": d.version} for n, d in house.endpoints.items()
            },
            "uptime_seconds": round(monotonic() - house.since, 3),
            "version": app.version,
        }

    @app.get("/", summary="What this is", tags=["service"])
    async def welcome() -> Response:
        doors = [f"/v1/{name}/predict" for name in house.endpoints]
        return answer(
            {"message": "Welcome to Forewarn", "version": app.version, "docs": "/docs", "predict": doors},
        )

    @app.get("/health", summary="Alive? Always 200 while it is", tags=["service"], response_model=Health)
    async def alive() -> Response:
        return answer(health())

    @app.get(
        "/ready", summary="Can every use case answer?", tags=["service"], response_model=Health,
        responses={503: PROBLEMS[503] | {"model": Health}},
    )  # fmt: skip
    async def ready() -> Response:
        return answer(health(), 200 if house.ready else 503)

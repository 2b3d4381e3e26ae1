"""The doors of the house, one small file each, and the application that they make up."""

from importlib.metadata import version

from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from deployments.house import House
from deployments.routes import (
    about,
    audit,
    envelope,
    health,
    inference,
    jobs,
    predict,
    privacy,
    releases,
    schema,
    truth,
)
from deployments.routes.front import Front, Handler


def create_app(house: House) -> ASGIApp:
    """Every door of the house."""
    app = FastAPIOffline(  # its pages load nothing from elsewhere
        title="Forewarn",
        version=version("forewarn"),
        description="Warns early. People decide; Forewarn shows them why.",
        redoc_url=None,
    )
    app.state.house = house
    envelope.install(app)
    health.install(app, house)
    busy: dict[str, Handler] = {}
    for endpoint in house.endpoints.values():
        busy |= predict.install(app, house, endpoint)
        about.install(app, house, endpoint)
        truth.install(app, house, endpoint)
        releases.install(app, house, endpoint)
        jobs.install(app, house, endpoint)
    inference.install(app, house)
    audit.install(app, house)
    privacy.install(app, house)
    schema.secure(app)
    front = Front(app, busy)
    if not house.cors_origins:
        return front
    return CORSMiddleware(
        front, allow_origins=house.cors_origins, allow_methods=["GET", "POST", "DELETE"], allow_headers=["*"]
    )

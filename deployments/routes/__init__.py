"""The doors of the house, one small file each, and the FastAPI application that they make up."""

from importlib.metadata import version

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from deployments.house import House
from deployments.routes import about, envelope, health, inference, predict, schema


def create_app(house: House) -> FastAPI:
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
    for endpoint in house.endpoints.values():
        predict.install(app, house, endpoint)
        about.install(app, house, endpoint)
    inference.install(app, house)
    schema.secure(app)
    if house.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=house.cors_origins, allow_methods=["GET", "POST"], allow_headers=["*"]
        )
    return app

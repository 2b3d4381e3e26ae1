"""The doors of the house, one small file each, and the FastAPI application that they make up."""

from importlib.metadata import version

from fastapi import FastAPI

from deployments.house import House
from deployments.routes import envelope, health, predict


def create_app(house: House) -> FastAPI:
    """Every door of the house."""
    app = FastAPI(
        title="Forewarn",
        version=version("forewarn"),
        description="Warns early. People decide; Forewarn shows them why.",
        redoc_url=None,
    )
    envelope.install(app)
    health.install(app, house)
    for endpoint in house.endpoints.values():
        predict.install(app, house, endpoint)
    return app

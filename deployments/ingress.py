"""The only door: FastAPI for every use case, in front of their pipelines."""

import asyncio
from time import monotonic
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from deployments import collector
from deployments.auth import Doorkeeper
from deployments.cache import Cache
from deployments.coalesce import Coalescer, Lane
from deployments.courier import Courier
from deployments.endpoint import Endpoint
from deployments.house import House
from deployments.meter import Meter
from deployments.noticeboard import Noticeboard
from deployments.routes import create_app
from deployments.scribe import Scribe
from forewarn import usecases
from forewarn.feature_store import FeatureStore
from forewarn.ledger.doors import Doors
from forewarn.ledger.records import Recorder
from forewarn.ledger.spool import Spool
from forewarn.ledger.store import Ledger
from forewarn.releases import Releases
from forewarn.settings import Settings

LIMITS = ("max_group", "max_explained", "groups_in_flight", "max_waiting", "max_wait_s")


@serve.ingress()
class Ingress:
    """Checks the key, validates, coalesces, answers. Knows no model, only the way to each."""

    def __init__(
        self, door: dict[str, Any], default_use_case: str, pipelines: dict[str, DeploymentHandle[Any]]
    ) -> None:
        collector.relax()
        settings = Settings()
        releases = Releases(settings.packages)
        limits = {name: door[name] for name in LIMITS}
        memory = {"seconds": door["cache_seconds"], "rows": door["cache_rows"]}
        ledger = Ledger.open(settings)
        board = Noticeboard(ledger, settings.notices)
        doorkeeper, spool = Doorkeeper(board), Spool(settings.spools, most_bytes=door["spool_megabytes"] * 2**20)
        cases = {name: usecases.get(name) for name in pipelines}
        self._house = House(
            endpoints={
                name: Endpoint(
                    case,
                    Coalescer(_way(pipelines[name]), **limits),
                    releases,
                    Cache(case, **memory),
                    Recorder.of(case, settings),
                )
                for name, case in cases.items()
            },
            default=default_use_case,
            board=board,
            doorkeeper=doorkeeper,
            spool=spool,
            scribe=Scribe(spool),
            store=FeatureStore.open(settings),
            meter=Meter(),
            **{name: door[name] for name in ("max_rows", "max_explained", "max_body_bytes", "cors_origins")},
            since=monotonic(),
        )
        self._courier = Courier(spool, settings.spools, doorkeeper, Doors.of(settings, ledger))
        self._following: list[asyncio.Future[None]] = []

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        """Ray Serve's hook, called on the replica's own loop: from here on all that must be is followed and shipped."""
        endless = [endpoint.follow() for endpoint in self._house.endpoints.values()]
        endless += [self._house.board.follow(), self._courier.run()]
        self._following = [asyncio.ensure_future(one) for one in endless]
        return create_app(self._house)

    def check_health(self) -> None:
        """Ray Serve asks every 5 s and replaces a replica that raises."""
        for following in self._following:
            if following.done():
                raise RuntimeError("this replica no longer follows what it must know")


def _way(pipeline: DeploymentHandle[Any]) -> Any:
    async def send(lane: Lane, rows: list[dict[str, Any]]) -> Any:
        return await pipeline.remote(lane.version, lane.why, rows)

    return send

"""The only door: FastAPI for every use case, in front of their pipelines."""

import asyncio
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from deployments import collector
from deployments.auth import Doorkeeper
from deployments.cache import Cache, Shared
from deployments.coalesce import Coalescer, Lane
from deployments.courier import Courier
from deployments.endpoint import Endpoint
from deployments.fallback import Nightly
from deployments.foreman import RayJobs
from deployments.house import House
from deployments.lessor import Lease, Lessor, RedisCounter
from deployments.meter import Meter
from deployments.noticeboard import Noticeboard
from deployments.orders import Orders
from deployments.quota import Quota
from deployments.routes import create_app
from deployments.scribe import Scribe
from deployments.shadows import Shadows, at_leisure
from forewarn import usecases
from forewarn.feature_store import FeatureStore
from forewarn.ledger.audit import Chain
from forewarn.ledger.doors import Doors
from forewarn.ledger.privacy import Privacy
from forewarn.ledger.records import Recorder
from forewarn.ledger.releases import History
from forewarn.ledger.spool import Spool
from forewarn.ledger.store import Ledger
from forewarn.releases import Releases
from forewarn.settings import Settings

LIMITS = ("max_group", "max_explained", "groups_in_flight", "max_waiting", "max_wait_s")
# Small, so that no group of answers waits for long behind one.
SHADOW_GROUP = 64


@serve.ingress()
class Ingress:
    """Checks the key, validates, coalesces, answers. Knows no model, only the way to each."""

    def __init__(
        self,
        door: dict[str, Any],
        default_use_case: str,
        pipelines: dict[str, DeploymentHandle[Any]],
        lessor: DeploymentHandle[Any] | None = None,
    ) -> None:
        collector.relax()
        settings = Settings()
        ledger, meter, redis = Ledger.open(settings), Meter(), _redis(settings)
        board = Noticeboard(ledger, settings.notices)
        spool = Spool(settings.spools, most_bytes=door["spool_megabytes"] * 2**20)
        self._shared = Shared(redis, seconds=door["cache_seconds"]) if redis and door["cache_seconds"] else None
        scribe, doorkeeper = Scribe(spool), Doorkeeper(board)
        make = EndpointMaker(settings, door, self._shared, scribe, meter)
        self._house = House(
            endpoints={name: make(name, pipeline) for name, pipeline in pipelines.items()},
            default=default_use_case,
            ledger=ledger,
            chain=Chain.of(settings),
            privacy=Privacy(settings, ledger),
            history=History.of(settings, ledger, load=False),
            nightly=Nightly(ledger=ledger, after_s=door["fallback_after_s"], hours=door["nightly_hours"]),
            board=board,
            doorkeeper=doorkeeper,
            quota=Quota(door["quota_per_minute"], _counting(lessor, redis), meter, replicas=door["replicas"]),
            spool=spool,
            scribe=scribe,
            store=FeatureStore.open(settings),
            orders=Orders(settings, RayJobs()),
            meter=meter,
            **{name: door[name] for name in ("max_rows", "max_explained", "max_body_bytes", "cors_origins")},
            since=monotonic(),
        )
        self._courier = Courier(spool, settings.spools, doorkeeper, Doors.of(settings, ledger))
        self._following: list[asyncio.Future[None]] = []

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        """Ray Serve's hook, called on the replica's own loop: from here on all that must be is followed and shipped."""
        endless = [endpoint.follow() for endpoint in self._house.endpoints.values()]
        endless += [self._house.board.follow(self._forget), self._courier.run()]
        self._following = [asyncio.ensure_future(one) for one in endless]
        return create_app(self._house)

    async def _forget(self, subjects: set[str]) -> None:
        """Of those who were just erased, what caches remember."""
        for endpoint in self._house.endpoints.values():
            endpoint.cache.forget()
        if self._shared is not None:
            for subject in subjects:
                with suppress(TimeoutError):  # what is there still ends by itself within minutes
                    await self._shared.forget(subject)

    def check_health(self) -> None:
        """Ray Serve asks every 5 s and replaces a replica that raises."""
        for following in self._following:
            if following.done():
                raise RuntimeError("this replica no longer follows what it must know")


class EndpointMaker:
    """Builds each use case's endpoint, with the way to its pipeline, for those who answer and for shadows."""

    def __init__(self, settings: Settings, door: dict[str, Any], shared: Shared | None, scribe: Scribe, meter: Meter):
        self._settings, self._door = settings, door
        self._shared, self._scribe, self._meter = shared, scribe, meter
        self._releases = Releases(settings.packages)

    def __call__(self, name: str, pipeline: DeploymentHandle[Any]) -> Endpoint:
        """One use case's."""
        case, door, send = usecases.get(name), self._door, _way(pipeline)
        recorder = Recorder.of(case, self._settings)
        patience = {False: door["answer_seconds"], True: door["explain_seconds"]}
        limits = {**{limit: door[limit] for limit in LIMITS}, "patience": patience}
        way = partial(Coalescer, send, answered=self._scribe.expect, **limits)
        cache = Cache(recorder, seconds=door["cache_seconds"], rows=door["cache_rows"], shared=self._shared)
        beside = Coalescer(
            at_leisure(send), max_group=SHADOW_GROUP, max_explained=1, groups_in_flight=1,
            max_waiting=door["shadow_rows"], patience=patience,
        )  # fmt: skip
        return Endpoint(
            case, way, self._releases, cache, recorder,
            shadows=Shadows(case, recorder, beside, self._scribe.spool, self._meter.shadowed),
            patience=patience,
        )  # fmt: skip


def _redis(settings: Settings) -> Any:
    """The connections to Redis; none where none is set."""
    if not settings.redis_url:
        return None
    from redis.asyncio import ConnectionPool

    return ConnectionPool.from_url(settings.redis_url, socket_timeout=1.0, socket_connect_timeout=1.0)


def _counting(lessor: DeploymentHandle[Any] | None, redis: Any) -> Lessor | None:
    """Who counts requests for all replicas: Redis, else the deployment, else nobody but this one."""
    if redis is not None:
        return RedisCounter(redis)
    return Deployed(lessor) if lessor is not None else None


class Deployed:
    """The deployment `deployments.lessor.Counter`, from here."""

    def __init__(self, handle: DeploymentHandle[Any]):
        self._handle = handle

    async def lease(self, key_id: str, per_minute: int, wanted: int) -> Lease:
        """As `Lessor`."""
        lease: Lease = await self._handle.lease.remote(key_id, per_minute, wanted)
        return lease


def _way(pipeline: DeploymentHandle[Any]) -> Any:
    async def send(lane: Lane, rows: list[dict[str, Any]]) -> Any:
        return await pipeline.remote(lane.version, lane.why, rows)

    return send

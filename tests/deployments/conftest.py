"""A whole house in one process: the real FastAPI application, features and models behind it; only Ray is left out."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import cache
from threading import Event
from time import monotonic
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.types import ASGIApp

from deployments.auth import Doorkeeper
from deployments.cache import Cache
from deployments.coalesce import Coalescer, Lane
from deployments.endpoint import Endpoint
from deployments.fallback import Nightly
from deployments.foreman import Seen, Status
from deployments.house import House
from deployments.meter import Meter
from deployments.noticeboard import Noticeboard
from deployments.orders import Orders
from deployments.quota import Quota
from deployments.routes import create_app
from deployments.scribe import Scribe
from forewarn import scoring
from forewarn.errors import ClusterUnavailable
from forewarn.feature_store import FeatureStore
from forewarn.ledger import doors
from forewarn.ledger.audit import Chain
from forewarn.ledger.privacy import Privacy
from forewarn.ledger.records import Recorder
from forewarn.ledger.releases import History
from forewarn.ledger.spool import Spool
from forewarn.ledger.store import Ledger
from forewarn.package import ModelPackage
from forewarn.releases import Releases, ReleaseState
from forewarn.scoring import Scores
from forewarn.settings import Settings
from tests.conftest import CASES, fitted


@pytest.fixture(scope="session")
def packages() -> dict[str, ModelPackage]:
    return {case.name: replace(fitted(case, seed=1), version="v1") for case in CASES}


def endpoint_of(package: ModelPackage, settings: Settings) -> Endpoint:
    async def send(lane: Lane, rows: list[dict[str, Any]]) -> Scores:
        return scoring.score(package, rows, why=lane.why)

    coalescer = Coalescer(send, max_group=1000, max_explained=100, groups_in_flight=2, max_waiting=2000)
    recorder = Recorder.of(package.case, settings)
    cache = Cache(recorder, seconds=0, rows=0)
    endpoint = Endpoint(package.case, lambda: coalescer, Releases(settings.packages), cache, recorder)
    stand(endpoint, package)
    return endpoint


def stand(endpoint: Endpoint, *packages: ModelPackage, **state: Any) -> None:
    """The first package is champion; more may have other roles."""
    endpoint._cards = {one.version: {**one.card, "rule": dict(one.rule)} for one in packages}
    endpoint._breakers = {}
    endpoint.refused.clear()
    endpoint.adopt(ReleaseState(champion=packages[0].version, **state))


@pytest.fixture
def default() -> str:
    return "attrition"


@pytest.fixture(scope="session")
def apps(
    packages: dict[str, ModelPackage], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[ASGIApp, House]]:
    """The application for a default use case and its house, built once: 101 routes take a tenth of a second."""

    @cache
    def built(default: str) -> tuple[ASGIApp, House]:
        settings = Settings(home=tmp_path_factory.mktemp("home"))
        endpoints = {name: endpoint_of(package, settings) for name, package in packages.items()}
        house = house_of(endpoints, default, settings)
        return create_app(house), house

    return built


class Crew:
    """Takes jobs and does nothing until it is told what became of them."""

    def __init__(self) -> None:
        self.taken: dict[str, str] = {}
        self.seen: dict[str, Seen] = {}
        self.away = False
        self.answers = Event()
        self.answers.set()

    def submit(self, job: str, entrypoint: str, runtime_env: dict[str, Any]) -> None:
        self._refuse()
        assert self.answers.wait(timeout=10)
        self.taken[job] = entrypoint
        self.environment = runtime_env
        self.became(job, "queued")

    def look(self, job: str) -> Seen | None:
        self._refuse()
        return self.seen.get(job)

    def stop(self, job: str) -> None:
        self._refuse()
        self.became(job, "cancelled")

    def forget(self, job: str) -> None:
        self._refuse()
        del self.seen[job]

    def became(self, job: str, status: Status, message: str = "") -> None:
        self.seen[job] = Seen(status=status, message=message, began_ms=1_800_000_000_000)

    def _refuse(self) -> None:
        if self.away:
            raise ClusterUnavailable("the cluster does not take or tell of jobs now")


def house_of(endpoints: dict[str, Endpoint], default: str, settings: Settings) -> House:
    doors.installation_key(settings)
    ledger = Ledger.open(settings)
    board = Noticeboard(ledger, settings.notices)
    spool = Spool(settings.spools, most_bytes=2**24)
    meter = Meter()
    return House(
        endpoints=endpoints,
        default=default,
        ledger=ledger,
        chain=Chain.of(settings),
        privacy=Privacy(settings, ledger),
        history=History.of(settings, ledger),
        nightly=Nightly(ledger=ledger),
        board=board,
        doorkeeper=Doorkeeper(board),
        spool=spool,
        scribe=Scribe(spool),
        store=FeatureStore.open(settings),
        orders=Orders(settings, Crew()),
        meter=meter,
        quota=Quota(0, None, meter),
        max_rows=1000,
        max_explained=20,
        max_body_bytes=2**20,
        since=monotonic(),
        cors_origins=("https://hr.example",),
    )


@pytest.fixture
def app(apps: Callable[[str], tuple[ASGIApp, House]], default: str) -> ASGIApp:
    return apps(default)[0]


@pytest.fixture
def house(
    apps: Callable[[str], tuple[ASGIApp, House]],
    packages: dict[str, ModelPackage],
    settings: Settings,
    default: str,
) -> House:
    """The application's house, as good as new."""
    house = apps(default)[1]
    for name, endpoint in house.endpoints.items():
        stand(endpoint, packages[name])
        endpoint.recorder = Recorder.of(endpoint.case, settings)
        endpoint.cache = Cache(endpoint.recorder, seconds=0, rows=0)
    fresh = house_of(house.endpoints, default, settings)
    for field in fields(House):
        object.__setattr__(house, field.name, getattr(fresh, field.name))
    return house


@pytest.fixture
def client(app: ASGIApp, house: House, settings: Settings) -> Iterator[TestClient]:
    key = settings.local_key.read_text()
    with TestClient(app, headers={"X-API-Key": key}, raise_server_exceptions=False) as client:
        yield client


def problem(response: Any) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert set(body) == {"error", "type", "details", "request_id"}
    assert body["request_id"]
    return body

"""How often a key may ask, over several replicas, each with its own purse."""

import asyncio
import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis.asyncio import ConnectionPool

from deployments.house import House
from deployments.lessor import Counter, Lessor, RedisCounter
from deployments.meter import Meter
from deployments.quota import Quota
from forewarn.errors import QuotaExceeded
from forewarn.keys import Key
from tests.deployments.conftest import problem
from tests.faults.processes import redis

LIMIT = 300
KEY = Key(id="k1", name="HR portal", hash="", scopes=frozenset({"predict"}))


class Away:
    """Does not answer."""

    async def lease(self, key_id: str, per_minute: int, wanted: int) -> tuple[int, float]:  # noqa: ARG002
        raise ConnectionError


@pytest.fixture(params=["in this process", "Redis"])
def replicas(request: pytest.FixtureRequest) -> Iterator[Callable[[], tuple[list[Quota], Any]]]:
    with redis() if request.param == "Redis" else nullcontext(("", None)) as (url, _):

        def made() -> tuple[list[Quota], Any]:
            pool = ConnectionPool.from_url(url) if url else None
            counter: Lessor = RedisCounter(pool) if pool else Counter()
            return [Quota(LIMIT, counter, Meter(), replicas=3) for _ in range(3)], pool

        yield made


async def let_in(quotas: list[Quota], asked: int, key: Key = KEY, at_once: int = 16) -> int:
    """How many of so many requests, spread over the replicas."""
    numbers, admitted = iter(range(asked)), 0

    async def client() -> None:
        nonlocal admitted
        for number in numbers:
            try:
                await quotas[number % len(quotas)].spend(key)
                admitted += 1
            except QuotaExceeded:
                pass

    await asyncio.gather(*(client() for _ in range(at_once)))
    return admitted


@pytest.mark.requirement("S2-76")
@pytest.mark.parametrize("at_once", [1, 64])
def test_the_limit_holds_over_three_replicas_within_five_percent(
    replicas: Callable[[], tuple[list[Quota], Any]], at_once: int
) -> None:
    async def story() -> None:
        quotas, pool = replicas()
        assert 0.95 * LIMIT <= await let_in(quotas, 2000, at_once=at_once) <= LIMIT
        if pool:
            await pool.disconnect()

    asyncio.run(story())


def test_one_key_s_requests_are_not_another_s_and_a_key_s_own_limit_goes_first() -> None:
    async def story() -> None:
        quotas = [Quota(LIMIT, Counter(), Meter())]
        few = Key(id="k2", name="guest", hash="", scopes=frozenset({"predict"}), per_minute=5)
        assert await let_in(quotas, 20, few) == 5
        assert await let_in(quotas, 20) == 20

    asyncio.run(story())


def test_without_a_limit_nothing_is_counted() -> None:
    async def story() -> None:
        assert await let_in([Quota(0, Away(), Meter())], 5000) == 5000

    asyncio.run(story())


def test_a_busy_key_costs_few_leases() -> None:
    class Counted(Counter):
        asked = 0

        async def lease(self, key_id: str, per_minute: int, wanted: int) -> tuple[int, float]:
            self.asked += 1
            return await super().lease(key_id, per_minute, wanted)

    async def story() -> None:
        counter = Counted()
        await let_in([Quota(100_000, counter, Meter())], 20_000)
        assert counter.asked < 200

    asyncio.run(story())


def test_an_idle_key_holds_nothing_back() -> None:
    """What a replica had leased while it was busy is lost a second later; one that is asked again leases as much as
    that is worth.
    """

    async def story() -> None:
        clock = itertools.count()
        seconds = [0.0]
        quota = Quota(6000, Counter(), Meter(), clock=lambda: next(clock) * 1e-6 + seconds[0])
        await let_in([quota], 500)
        assert quota._purses["k1"].left > 10
        seconds[0] = 60.0
        await quota.spend(KEY)
        assert quota._purses["k1"].left <= 5

    asyncio.run(story())


@pytest.mark.requirement("S2-76")
@pytest.mark.parametrize("replicas", [1, 3, 8])
def test_a_burst_a_trickle_and_full_speed_again_stay_within_five_percent(
    replicas: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst order there is: each replica leases for its burst, a trickle keeps what it holds alive until the burst
    has left the window, and then all of it is spent in one minute.
    """
    seconds = [1000.0]
    monkeypatch.setattr("limits.storage.memory.time", FakeTime(seconds))
    monkeypatch.setattr("deployments.lessor.time", lambda: seconds[0])
    admitted: list[float] = []

    async def ask(quota: Quota) -> None:
        with suppress(QuotaExceeded):
            await quota.spend(KEY)
            admitted.append(seconds[0])

    async def story() -> None:
        counter = Counter()
        quotas = [Quota(1000, counter, Meter(), replicas=replicas, clock=lambda: seconds[0]) for _ in range(replicas)]
        for step in range(14_000):  # of 10 ms
            burst, trickle = step < 100, step % 90 == 0
            for quota in quotas if burst or step >= 7000 or trickle else ():
                await ask(quota)
            seconds[0] += 0.01
            await asyncio.sleep(0)

    asyncio.run(story())
    worst = max(bisect_right(admitted, since + 60) - bisect_left(admitted, since) for since in admitted)
    assert 950 <= worst <= 1050


class FakeTime:
    """The module `time`, of somebody else's clock."""

    def __init__(self, seconds: list[float]):
        self._seconds = seconds

    def time(self) -> float:
        return self._seconds[0]


def test_a_counter_that_hangs_costs_one_request_a_moment_and_those_after_it_nothing() -> None:
    class Hanging(Counter):
        asked = 0

        async def lease(self, key_id: str, per_minute: int, wanted: int) -> tuple[int, float]:
            self.asked += 1
            await asyncio.Event().wait()
            return await super().lease(key_id, per_minute, wanted)

    async def story() -> None:
        seconds, counter = [0.0], Hanging()
        quota = Quota(LIMIT, counter, Meter(), clock=lambda: seconds[0])
        assert await let_in([quota], 100, at_once=1) == 100
        assert counter.asked == 1
        seconds[0] = 5.5
        assert await let_in([quota], 100, at_once=1) == 100
        assert counter.asked == 2, "it is asked again some seconds later"

    asyncio.run(story())


def test_a_redis_that_stops_leaves_each_replica_to_count_by_itself() -> None:
    async def story() -> None:
        with redis() as (url, server):
            pool = ConnectionPool.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
            quotas = [Quota(LIMIT, RedisCounter(pool), Meter(), replicas=2) for _ in range(2)]
            assert await let_in(quotas, 50) == 50
            server.kill()
            server.wait()
            assert LIMIT < await let_in(quotas, 2000) <= 2 * LIMIT + 6
            await pool.disconnect()

    asyncio.run(story())


def test_a_busy_key_loses_nothing_however_long_it_is_busy() -> None:
    async def story() -> None:
        seconds = [0.0]
        quota, admitted = Quota(LIMIT, Counter(), Meter(), clock=lambda: seconds[0]), 0
        for _ in range(2 * LIMIT):
            seconds[0] += 0.05
            try:
                await quota.spend(KEY)
                admitted += 1
            except QuotaExceeded:
                pass
        assert admitted == LIMIT

    asyncio.run(story())


def test_where_whoever_counts_is_away_each_replica_counts_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        meter = Meter()
        quotas = [Quota(LIMIT, Away(), meter) for _ in range(2)]
        assert await let_in(quotas, 2000) == 2 * LIMIT
        assert b'forewarn_errors_total{type="QuotaUnavailable",use_case=""}' in meter.page()

    asyncio.run(story())
    assert caplog.text.count("counts requests by itself") == 2


@pytest.mark.requirement("C33")
def test_who_asks_too_often_is_told_when_to_come_back(client: TestClient, house: House) -> None:
    object.__setattr__(house, "quota", Quota(3, None, house.meter))
    row = {"MonthlyIncome": 5500, "OverTime": "Yes"}
    answers = [client.post("/predict", json=row) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    last = answers[-1]
    assert problem(last)["type"] == "QuotaExceeded"
    assert 1 <= int(last.headers["retry-after"]) <= 120
    assert (last.headers["ratelimit-limit"], last.headers["ratelimit-remaining"]) == ("3", "0")
    assert last.headers["ratelimit-reset"] == last.headers["retry-after"]

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import Popen
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis.asyncio import ConnectionPool

from deployments.cache import Cache, Shared
from deployments.coalesce import Lane
from deployments.house import House
from forewarn import scoring
from forewarn.ids import IdKey
from forewarn.ledger.records import Recorder
from forewarn.ledger.seals import Seal
from forewarn.package import ModelPackage
from forewarn.scoring import Scores
from forewarn.usecase import UseCase
from tests.conftest import CASES
from tests.faults.processes import redis

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture
def remembering(house: House) -> House:
    for endpoint in house.endpoints.values():
        endpoint.cache = Cache(endpoint.recorder, seconds=300, rows=10)
    return house


def asked(client: TestClient, case: UseCase, **changes: Any) -> dict[str, Any]:
    answer = client.post(f"/v1/{case.name}/predict", json={**case.examples[0].row, **changes})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@each_case
@pytest.mark.requirement("S2-09")
def test_the_same_row_again_is_answered_from_memory_with_the_same_words(
    case: UseCase, client: TestClient, remembering: House
) -> None:
    first, second = asked(client, case), asked(client, case)
    assert (first["served_from"], second["served_from"]) == ("champion", "cache")
    own = {"served_from", "prediction_id", "request_id", "latency_ms", "timestamp"}
    assert {name: value for name, value in first.items() if name not in own} == {
        name: value for name, value in second.items() if name not in own
    }
    assert first["prediction_id"] != second["prediction_id"]
    client.post(f"/v1/{case.name}/predict", json=[dict(case.examples[0].row)] * 2)  # of batches nothing is remembered
    assert f'forewarn_cache_lookups_total{{result="miss",use_case="{case.name}"}} 1.0' in client.get("/metrics").text
    assert f'forewarn_cache_lookups_total{{result="hit",use_case="{case.name}"}} 1.0' in client.get("/metrics").text


@pytest.mark.requirement("C11")
def test_another_value_version_or_wish_is_another_row(client: TestClient, remembering: House) -> None:
    case = next(case for case in CASES if case.name == "attrition")
    endpoint = remembering.endpoints["attrition"]
    asked(client, case)
    assert asked(client, case, Age=case.examples[0].row["Age"] + 1)["served_from"] == "cache"  # the model never gets it
    assert asked(client, case, MonthlyIncome=6789)["served_from"] == "champion"
    assert endpoint.cache.get(Lane("v2"), valid(case, {**case.examples[0].row})) is None
    assert endpoint.cache.get(Lane("v1", why=True), valid(case, {**case.examples[0].row})) is None


def recorder(case: UseCase, secret: bytes = bytes(32)) -> Recorder:
    key = IdKey(secret)
    return Recorder(case, key, Seal(key.derived("tests")))


def valid(case: UseCase, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    return scoring.validate(case, rows).values


def test_nothing_is_remembered_for_longer_than_it_may_nor_more_than_fits(packages: dict[str, ModelPackage]) -> None:
    package = packages["attrition"]
    case = package.case
    rows = valid(case, *case.sample(3, seed=0))

    def scored(row: dict[str, Any]) -> Scores:
        return scoring.score(package, [row])

    known = kept(case, scored, rows, seconds=300, rows=2)
    assert known == [False, True, True]  # the oldest went
    assert kept(case, scored, rows, seconds=1e-9, rows=9) == [False, False, False]
    assert kept(case, scored, rows, seconds=0, rows=9) == [False, False, False]


def kept(
    case: UseCase, scored: Callable[[dict[str, Any]], Scores], given: list[dict[str, Any]], *, seconds: float, rows: int
) -> list[bool]:
    cache = Cache(recorder(case), seconds=seconds, rows=rows)
    for row in given:
        cache.put(Lane("v1"), [row], scored(row))
    return [cache.get(Lane("v1"), [row]) is not None for row in given]


@pytest.mark.requirement("C32")
def test_what_is_kept_tells_nothing_of_a_person(packages: dict[str, ModelPackage]) -> None:
    package = packages["churn"]
    case = package.case
    (row,) = valid(case, {**case.examples[0].row, "customer_id": "anna.smith@example.com"})
    cache = Cache(recorder(case), seconds=300, rows=9)
    cache.put(Lane("v1"), [row], scoring.score(package, [row]))
    assert cache._known is not None
    ((key, scores),) = cache._known.items()
    assert (key[:2], len(key[2])) == (("v1", False), 16)
    assert "anna" not in repr(scores)


@contextmanager
def two_replicas(case: UseCase) -> Iterator[tuple[list[Cache], Popen[bytes]]]:
    """Of one Redis."""
    with redis() as (url, server):
        yield [of_redis(url, recorder(case)) for _ in range(2)], server


def of_redis(url: str, recorder: Recorder, package: str = "0123456789abcdef") -> Cache:
    cache = Cache(recorder, seconds=300, rows=9, shared=Shared(ConnectionPool.from_url(url), seconds=300))
    cache.serves("v1", package)
    return cache


async def closed(caches: list[Cache]) -> None:
    for cache in caches:
        assert cache._shared
        await cache._shared.close()


def test_one_replica_knows_what_another_has_scored_to_the_bit_until_its_person_is_erased(
    packages: dict[str, ModelPackage],
) -> None:
    package = packages["churn"]
    (row,) = valid(package.case, {**package.case.examples[0].row, "customer_id": "anna.smith@example.com"})
    scores = scoring.score(package, [row])

    async def story() -> None:
        with two_replicas(package.case) as ((one, other), _):
            assert await other.fetch(Lane("v1"), [row]) is None
            one.put(Lane("v1"), [row], scores)
            assert one._shared
            await asyncio.gather(*one._shared._under_way)
            found = await other.fetch(Lane("v1"), [row])
            assert found
            assert (found.version, dict(found.rule)) == (scores.version, dict(scores.rule))
            assert found.values.tolist() == scores.values.tolist()
            assert await other.fetch(Lane("v2"), [row]) is None
            assert other.get(Lane("v1"), [row]) is found, "it is in its own memory now"
            told = [await one._shared._redis.dump(key) for key in await one._shared._redis.keys()]
            assert len(told) == 2
            assert not [one for one in told if b"anna" in one]
            subject = recorder(package.case).subject(row)
            assert subject
            await one._shared.forget(subject)
            other.forget()
            assert await one._shared._redis.keys() == []
            assert await other.fetch(Lane("v1"), [row]) is None
            await closed([one, other])

    asyncio.run(story())


def test_a_redis_that_goes_away_costs_a_moment_and_no_answer(packages: dict[str, ModelPackage]) -> None:
    package = packages["churn"]
    (row,) = valid(package.case, dict(package.case.examples[0].row))

    async def story() -> None:
        with two_replicas(package.case) as ((one, other), server):
            server.kill()
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    await one.fetch(Lane("v1"), [row])
            one.put(Lane("v1"), [row], scoring.score(package, [row]))
            assert one.get(Lane("v1"), [row]) is not None, "it knows by itself"
            await closed([one, other])

    asyncio.run(story())


def test_two_installations_or_packages_on_one_redis_never_read_each_other_s_scores(
    packages: dict[str, ModelPackage],
) -> None:
    """Both call their first version `v1`."""
    package = packages["churn"]
    case = package.case
    (row,) = valid(case, dict(case.examples[0].row))

    async def story() -> None:
        with redis() as (url, _):
            own = of_redis(url, recorder(case))
            elsewhere = of_redis(url, recorder(case, bytes([1]) * 32))
            again = of_redis(url, recorder(case), package="trained again")
            own.put(Lane("v1"), [row], scoring.score(package, [row]))
            assert own._shared
            await asyncio.gather(*own._shared._under_way)
            same = of_redis(url, recorder(case))
            assert await same.fetch(Lane("v1"), [row]) is not None
            assert [await other.fetch(Lane("v1"), [row]) for other in (elsewhere, again)] == [None, None]
            await closed([own, same, elsewhere, again])

    asyncio.run(story())

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from deployments.coalesce import MAX_TRIES, Coalescer, Lane
from forewarn.errors import Overloaded
from forewarn.scoring import Scores


class Pipeline:
    """Answers each row with its own number; holds every group until `open` is set."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.groups: list[list[int]] = []
        self.versions: list[str] = []

    async def __call__(self, lane: Lane, rows: list[dict[str, Any]]) -> Scores:
        self.groups.append([row["n"] for row in rows])
        self.versions.append(lane.version)
        await self.open.wait()
        if any(row["n"] < 0 for row in rows):
            raise ValueError("poisoned")
        values = np.array([row["n"] for row in rows], dtype=float)
        return Scores(version=lane.version, rule={"threshold": 0.5}, values=values)


def coalescer(pipeline: Pipeline, **limits: Any) -> Coalescer:
    usual: dict[str, Any] = {"max_group": 100, "max_explained": 10, "groups_in_flight": 1, "max_waiting": 1000}
    return Coalescer(pipeline, **(usual | limits))


def run(story: Callable[[Pipeline], Awaitable[None]]) -> None:
    async def told() -> None:
        await asyncio.wait_for(story(Pipeline()), timeout=10)

    asyncio.run(told())


async def asked(endpoint: Coalescer, *numbers: int, version: str = "v1") -> "asyncio.Task[Scores]":
    task = asyncio.create_task(endpoint.submit(Lane(version), [{"n": n} for n in numbers]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


def test_the_first_goes_at_once_and_what_comes_meanwhile_travels_together() -> None:
    async def story(pipeline: Pipeline) -> None:
        endpoint = coalescer(pipeline)
        first, second, third = await asked(endpoint, 1), await asked(endpoint, 2, 3), await asked(endpoint, 4)
        assert pipeline.groups == [[1]]
        pipeline.open.set()
        answers = [await task for task in (first, second, third)]
        assert [list(scores.values) for scores in answers] == [[1], [2, 3], [4]]
        assert pipeline.groups == [[1], [2, 3, 4]]

    run(story)


def test_as_many_groups_fly_as_there_are_places() -> None:
    async def story(pipeline: Pipeline) -> None:
        endpoint = coalescer(pipeline, groups_in_flight=2)
        tasks = [await asked(endpoint, n) for n in range(4)]
        assert pipeline.groups == [[0], [1]]
        pipeline.open.set()
        await asyncio.gather(*tasks)
        assert sorted(n for group in pipeline.groups for n in group) == [0, 1, 2, 3]

    run(story)


def test_a_group_is_bounded_but_never_cuts_a_request() -> None:
    async def story(pipeline: Pipeline) -> None:
        endpoint = coalescer(pipeline, max_group=3)
        tasks = [
            await asked(endpoint, 0),
            await asked(endpoint, 1, 2),
            await asked(endpoint, 3, 4),
            await asked(endpoint, *range(5, 10)),
        ]
        pipeline.open.set()
        await asyncio.gather(*tasks)
        assert pipeline.groups == [[0], [1, 2], [3, 4], [5, 6, 7, 8, 9]]

    run(story)


def test_versions_never_share_a_group() -> None:
    async def story(pipeline: Pipeline) -> None:
        endpoint = coalescer(pipeline)
        versions = ["v1", "v1", "v2", "v1"]
        tasks = [await asked(endpoint, n, version=version) for n, version in enumerate(versions)]
        pipeline.open.set()
        answers = await asyncio.gather(*tasks)
        assert pipeline.groups == [[0], [1], [2], [3]]
        assert [scores.version for scores in answers] == versions

    run(story)


def test_a_client_that_hangs_up_stalls_nobody() -> None:
    async def story(pipeline: Pipeline) -> None:
        endpoint = coalescer(pipeline)
        flying, waiting, patient = await asked(endpoint, 1), await asked(endpoint, 2), await asked(endpoint, 3)
        flying.cancel()
        waiting.cancel()
        pipeline.open.set()
        assert list((await patient).values) == [3]
        assert pipeline.groups == [[1], [3]]
        assert list((await endpoint.submit(Lane("v1"), [{"n": 4}])).values) == [4]

    run(story)


def test_a_poisoned_row_fails_alone() -> None:
    async def story(pipeline: Pipeline) -> None:
        endpoint = coalescer(pipeline)
        first, good, bad, also = (
            await asked(endpoint, 0),
            await asked(endpoint, 1),
            await asked(endpoint, -1),
            await asked(endpoint, 2),
        )
        pipeline.open.set()
        assert list((await good).values) == [1]
        assert list((await also).values) == [2]
        with pytest.raises(ValueError, match="poisoned"):
            await bad
        await first

    run(story)


def test_a_hand_off_that_is_cancelled_leaves_nobody_waiting() -> None:
    async def story(pipeline: Pipeline) -> None:
        async def cancelled(lane: Lane, rows: list[dict[str, Any]]) -> Scores:
            await pipeline.open.wait()
            raise asyncio.CancelledError

        endpoint = Coalescer(cancelled, max_group=100, max_explained=100, groups_in_flight=1, max_waiting=1000)
        tasks = [await asked(endpoint, n) for n in range(4)]
        pipeline.open.set()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in told] == [ConnectionError] * 4

    run(story)


def test_a_broken_pipeline_is_not_asked_again_for_every_request() -> None:
    async def story(pipeline: Pipeline) -> None:
        endpoint = coalescer(pipeline)
        tasks = [await asked(endpoint, -n) for n in range(1, 101)]
        pipeline.open.set()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(error, ValueError) for error in told)
        assert len(pipeline.groups) <= 1 + MAX_TRIES + 8

    run(story)


def test_a_group_that_does_not_come_back_leaves_its_place_to_the_next() -> None:
    async def story(pipeline: Pipeline) -> None:
        endpoint = Coalescer(
            pipeline,
            max_group=100,
            max_explained=10,
            groups_in_flight=1,
            max_waiting=1000,
            patience={False: 0.05, True: 1.0},
        )
        first, second = await asked(endpoint, 1, 2), await asked(endpoint, 3)
        with pytest.raises(TimeoutError):
            await first
        pipeline.open.set()
        assert list((await second).values) == [3]
        assert pipeline.groups == [[1, 2], [3]], "halves of what hangs would hang too"

    run(story)


def test_beyond_the_limit_the_answer_is_no_at_once() -> None:
    async def story(pipeline: Pipeline) -> None:
        endpoint = coalescer(pipeline, max_waiting=3)
        tasks = [await asked(endpoint, 0), await asked(endpoint, 1, 2)]
        with pytest.raises(Overloaded, match="2 rows are waiting"):
            await endpoint.submit(Lane("v1"), [{"n": 3}, {"n": 4}])
        further = asyncio.create_task(endpoint.submit(Lane("v1"), [{"n": 7}, {"n": 8}], further=True))
        pipeline.open.set()
        await asyncio.gather(*tasks)
        assert list((await further).values) == [7, 8]
        assert list((await endpoint.submit(Lane("v1"), [{"n": 5}, {"n": 6}])).values) == [5, 6]

    run(story)


def test_rows_that_would_wait_too_long_are_turned_away_however_few_they_are() -> None:
    async def slow(lane: Lane, rows: list[dict[str, Any]]) -> Scores:
        await asyncio.sleep(0.1 if lane.why else 0)
        return Scores(version=lane.version, rule={}, values=np.zeros(len(rows)))

    async def story() -> None:
        door = Coalescer(slow, max_group=100, max_explained=10, groups_in_flight=1, max_waiting=1000, max_wait_s=0.05)
        why, plainly, rows = Lane("v1", why=True), Lane("v1"), [{}] * 10
        await door.submit(why, rows)  # what a group takes is known only when one came back
        flying, waiting = (asyncio.create_task(door.submit(why, rows)) for _ in range(2))
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded, match="10 rows are waiting"):
            await door.submit(plainly, rows)
        await asyncio.gather(flying, waiting)
        quick = [asyncio.create_task(door.submit(plainly, rows)) for _ in range(90)]
        assert len(await asyncio.gather(*quick)) == 90

    asyncio.run(story())

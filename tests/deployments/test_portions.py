import asyncio
from typing import Any

import numpy as np
import pytest

from deployments.coalesce import Coalescer, Lane
from deployments.portions import AHEAD, PORTION, each
from forewarn.scoring import Scores


def test_answers_come_in_the_order_of_the_rows() -> None:
    async def backwards(rows: list[int], further: bool) -> list[int]:
        await asyncio.sleep(0.001 * (10 - rows[0] / PORTION))  # the first portion takes longest
        return [-row for row in rows]

    rows = list(range(10 * PORTION + 7))
    assert asyncio.run(each(rows, backwards)) == [-row for row in rows]


def test_a_small_request_is_asked_for_whole_and_a_large_one_is_let_in_once() -> None:
    asked: list[tuple[int, bool]] = []

    async def counted(rows: list[int], further: bool) -> list[int]:
        asked.append((len(rows), further))
        return rows

    asyncio.run(each([1] * PORTION, counted))
    assert asked == [(PORTION, False)]
    asyncio.run(each([1] * (2 * PORTION + 1), counted))
    assert asked[1:] == [(PORTION, False), (PORTION, True), (1, True)]


def test_no_more_than_two_portions_of_a_request_are_on_their_way() -> None:
    flying = most = 0

    async def watched(rows: list[int], further: bool) -> list[int]:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.001)
        flying -= 1
        return rows

    asyncio.run(each([1] * (8 * PORTION), watched))
    assert most == AHEAD


def test_others_have_their_turn_between_two_portions() -> None:
    turns: list[str] = []

    async def scored(rows: list[int], further: bool) -> list[int]:
        turns.append("portion")
        return rows

    async def story() -> None:
        large = asyncio.create_task(each([1] * (5 * PORTION), scored))
        while not large.done():
            turns.append("other")
            await asyncio.sleep(0)

    asyncio.run(story())
    between = [turns[place : place + 2] for place in range(len(turns) - 1)]
    assert turns.count("portion") == 5
    assert ["portion", "portion"] not in between


def test_the_first_failure_is_the_requests_and_the_rest_is_given_up() -> None:
    asked: list[int] = []

    async def poisoned(rows: list[int], further: bool) -> list[int]:
        asked.append(rows[0])
        if rows[0] == PORTION:
            raise ValueError("poisoned")
        await asyncio.sleep(0)
        return rows

    async def story() -> None:
        with pytest.raises(ValueError, match="poisoned"):
            await each(list(range(9 * PORTION)), poisoned)
        await asyncio.sleep(0)
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and not task.done()] == []

    asyncio.run(story())
    assert len(asked) < 9


def test_batches_of_a_thousand_do_not_starve_a_single_row() -> None:
    """Whoever comes after eight batches finds the portions of each before it, and not their eight thousand rows."""
    groups: list[int] = []

    async def send(lane: Lane, rows: list[dict[str, Any]]) -> Scores:
        groups.append(len(rows))
        await asyncio.sleep(0.001)
        return Scores(version=lane.version, rule={}, values=np.zeros(len(rows)))

    async def story() -> None:
        door = Coalescer(send, max_group=256, max_explained=100, groups_in_flight=2, max_waiting=2000)

        async def scored(rows: list[dict[str, Any]], further: bool) -> list[float]:
            return (await door.submit(Lane("v1"), rows, further=further)).values.tolist()

        batches = [asyncio.create_task(each([{}] * 1000, scored)) for _ in range(8)]
        while len(groups) < 4:
            await asyncio.sleep(0)
        before = len(groups)
        await door.submit(Lane("v1"), [{}])
        passed = len(groups) - before
        await asyncio.gather(*batches)
        assert passed <= 1 + 8 * AHEAD * PORTION / 200  # a group of at most 256 rows holds two portions
        assert len(groups) > 2 * passed

    asyncio.run(story())

"""Requests that arrive together travel together: the two hops behind the ingress are paid once per group."""

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import inf
from time import perf_counter
from typing import Any

from forewarn.errors import Overloaded
from forewarn.scoring import Scores

# Enough to single out one poisoned request of a hundred by halving.
MAX_TRIES = 16
# What the latest group counts for in how long one takes.
LATEST = 0.3

# By kind, explained or not: seconds; None for ever.
Patience = Mapping[bool, float | None]
PATIENT: Patience = {False: None, True: None}
Send = Callable[["Lane", list[dict[str, Any]]], Awaitable[Scores]]


@dataclass(frozen=True)
class Lane:
    """Rows travel together that go to the same version and want the same of it.

    Attributes:
        why: whether the contributions are wanted too.
    """

    version: str
    why: bool = False


@dataclass(frozen=True)
class _Waiting:
    lane: Lane
    rows: list[dict[str, Any]]
    answer: "asyncio.Future[Scores]"


class Coalescer:
    """Sends a request at once while a place is free; what arrives meanwhile forms the next group.

    Nobody waits for a later request: there is no timer, only a bounded number of groups in flight. First come,
    first served; a group holds one lane. If a group fails it is halved and tried again, so that a poisoned row
    fails alone; but only a few times, so that a broken pipeline is not asked again for each request. A group that has
    not come back in time (`patience`, in seconds, by kind) has failed, and its place is free again.
    """

    def __init__(
        self, send: Send, *, max_group: int, max_explained: int, groups_in_flight: int, max_waiting: int,
        max_wait_s: float = inf, patience: Patience = PATIENT, answered: Callable[[int], None] = lambda _: None,
    ):  # fmt: skip
        self._send = send
        self._answered = answered
        self._most = {False: max_group, True: max_explained}
        self._places = groups_in_flight
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        self._patience = patience
        self._queue: deque[_Waiting] = deque()
        # By kind, explained or not: rows that wait, and how long a group takes, the last ones counting most.
        self._rows = {False: 0, True: 0}
        self._group_s: dict[bool, float] = {}
        self._flying: set[asyncio.Task[None]] = set()

    async def apart(self, lane: Lane, rows: list[dict[str, Any]]) -> Scores:
        """Scores for made-up rows: they take no place, and how long they take says nothing of others: a version that is
        asked for the first time is loaded first.
        """
        return await self._send(lane, rows)

    async def submit(self, lane: Lane, rows: list[dict[str, Any]], *, further: bool = False) -> Scores:
        """Scores for these rows. Further rows of a request that was let in are not turned away.

        Raises:
            Overloaded: too many rows are waiting already.
            Exception: whatever scoring these rows raised.
        """
        if not further:
            self.refuse_beyond(len(rows))
        waiting = _Waiting(lane, rows, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._rows[lane.why] += len(rows)
        self._dispatch()
        return await waiting.answer

    def refuse_beyond(self, rows: int) -> None:
        """Turn away what could not wait.

        Raises:
            Overloaded: with so many rows more too many would be waiting, or those that do have to wait too long.
        """
        waiting = sum(self._rows.values())
        if waiting + rows > self._max_waiting or self._wait_s() > self._max_wait_s:
            raise Overloaded(f"{waiting} rows are waiting already; try again in a second")

    def _wait_s(self) -> float:
        """How long the last of those that wait will, if groups take as long as the last ones did."""
        groups = {why: -(-rows // self._most[why]) for why, rows in self._rows.items()}
        return sum(count * self._group_s.get(why, 0.0) for why, count in groups.items()) / self._places

    def _dispatch(self) -> None:
        while self._queue and len(self._flying) < self._places:
            # A context of its own: in the request's, Ray Serve would cancel the group when that client hangs up.
            flight = self._fly(self._next_group())
            task = asyncio.get_running_loop().create_task(flight, context=contextvars.Context())
            self._flying.add(task)
            task.add_done_callback(self._landed)

    def _landed(self, task: "asyncio.Task[None]") -> None:
        self._flying.discard(task)
        self._dispatch()

    def _next_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size = 0
        while self._queue and (not group or self._fits(group[0], self._queue[0], size)):
            taken = self._queue.popleft()
            self._rows[taken.lane.why] -= len(taken.rows)
            # A client that hung up has cancelled its future: scoring for it would be lost work.
            if not taken.answer.done():
                group.append(taken)
                size += len(taken.rows)
        return group

    def _fits(self, first: _Waiting, candidate: _Waiting, size: int) -> bool:
        return candidate.lane == first.lane and size + len(candidate.rows) <= self._most[first.lane.why]

    async def _fly(self, group: list[_Waiting]) -> None:
        """Score a group, or halves of it; every client hears of its rows' scores or of what went wrong."""
        parts, tries = [group], 0
        while parts:
            part = [waiting for waiting in parts.pop() if not waiting.answer.done()]
            tries += 1
            try:
                await self._score(part)
            except TimeoutError as error:  # whatever they were, halves of them would hang too
                _fail(part, error)
            except asyncio.CancelledError:
                _fail(part, ConnectionError("the hand-off was cancelled"))
            except Exception as error:  # noqa: BLE001 - whatever it was, each waiting client must hear of it
                if len(part) == 1 or tries >= MAX_TRIES:
                    _fail(part, error)
                else:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]

    async def _score(self, group: list[_Waiting]) -> None:
        if not group:
            return
        lane, began = group[0].lane, perf_counter()
        async with asyncio.timeout(self._patience[lane.why]):
            scores = await self._send(lane, [row for waiting in group for row in waiting.rows])
        took = perf_counter() - began
        before = self._group_s.get(lane.why, took)
        self._group_s[lane.why] = before + LATEST * (took - before)
        start = 0
        for waiting in group:
            end = start + len(waiting.rows)
            share = scores.part(start, end)
            start = end
            if not waiting.answer.done():
                waiting.answer.set_result(share)
        self._answered(len(group))


def _fail(part: list[_Waiting], error: Exception) -> None:
    for waiting in part:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)

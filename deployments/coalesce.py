"""Requests that arrive together travel together: the two hops behind the ingress are paid once per group."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from forewarn.errors import Overloaded
from forewarn.scoring import Scores

Send = Callable[[str, list[dict[str, Any]]], Awaitable[Scores]]


@dataclass(frozen=True)
class _Waiting:
    version: str
    rows: list[dict[str, Any]]
    answer: "asyncio.Future[Scores]"


class Coalescer:
    """Sends a request at once while a place is free; what arrives meanwhile forms the next group.

    Nobody waits for a later request: there is no timer, only a bounded number of groups in flight. First come,
    first served; a group holds one version. If a group fails, its requests are tried one by one, so that a
    poisoned row fails alone.
    """

    def __init__(self, send: Send, *, max_group: int, groups_in_flight: int, max_waiting: int):
        self._send = send
        self._max_group = max_group
        self._places = groups_in_flight
        self._max_waiting = max_waiting
        self._queue: deque[_Waiting] = deque()
        self._rows_waiting = 0
        self._flying: set[asyncio.Task[None]] = set()

    async def submit(self, version: str, rows: list[dict[str, Any]]) -> Scores:
        """Scores for these rows.

        Raises:
            Overloaded: too many rows are waiting already.
            Exception: whatever scoring these rows raised.
        """
        if self._rows_waiting + len(rows) > self._max_waiting:
            raise Overloaded(f"{self._rows_waiting} rows are waiting already; try again in a second")
        waiting = _Waiting(version, rows, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._rows_waiting += len(rows)
        self._dispatch()
        return await waiting.answer

    def _dispatch(self) -> None:
        while self._queue and len(self._flying) < self._places:
            task = asyncio.ensure_future(self._fly(self._next_group()))
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
            self._rows_waiting -= len(taken.rows)
            # A client that hung up has cancelled its future: scoring for it would be lost work.
            if not taken.answer.done():
                group.append(taken)
                size += len(taken.rows)
        return group

    def _fits(self, first: _Waiting, candidate: _Waiting, size: int) -> bool:
        return candidate.version == first.version and size + len(candidate.rows) <= self._max_group

    async def _fly(self, group: list[_Waiting]) -> None:
        try:
            await self._score(group)
        except Exception as error:  # noqa: BLE001 - whatever it was, each waiting client must hear of it
            if len(group) == 1:
                _fail(group[0], error)
                return
            for alone in group:
                await self._fly([alone])

    async def _score(self, group: list[_Waiting]) -> None:
        if not group:
            return
        scores = await self._send(group[0].version, [row for waiting in group for row in waiting.rows])
        start = 0
        for waiting in group:
            end = start + len(waiting.rows)
            share = Scores(
                version=scores.version,
                threshold=scores.threshold,
                probabilities=scores.probabilities[start:end],
            )
            start = end
            if not waiting.answer.done():
                waiting.answer.set_result(share)


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)

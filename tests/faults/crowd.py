"""Clients that ask without a pause, ask once more where they got no answer, and remember what was acknowledged."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp

# The one that a polite client waits for: Retry-After says so.
AGAIN_SECONDS = 1.0


class Heard(NamedTuple):
    """An answer: whose, by which version, from where, when it was asked for, and how long it took, in seconds."""

    subject: Any
    version: str
    served_from: str
    at: float
    took: float


@dataclass
class Crowd:
    """What came of it.

    Attributes:
        rows: people who are asked about in turn; else everybody once.
        acknowledged: ids of predictions; heard: what was said of each.
        failed_first: what -> how many requests had no answer at first.
        failed: the same of those that had none at the second time of asking either.
    """

    acknowledged: list[str] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    failed_first: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    rows: Sequence[dict[str, Any]] = ()
    asked: int = 0
    ended: bool = False

    async def client(self, session: aiohttp.ClientSession, url: str, row: dict[str, Any], name: int) -> None:
        while not self.ended:
            self.asked += 1
            mine = self.of(row, f"{name}-{self.asked}")
            if wrong := await self._ask(session, url, mine):
                self.failed_first[wrong] += 1
                await asyncio.sleep(AGAIN_SECONDS)
                if wrong := await self._ask(session, url, mine):
                    self.failed[wrong] += 1

    def of(self, row: dict[str, Any], number: str) -> dict[str, Any]:
        """A row of somebody's own."""
        return self.rows[self.asked % len(self.rows)] if self.rows else {**row, "EmployeeNumber": number}

    async def _ask(self, session: aiohttp.ClientSession, url: str, row: dict[str, Any]) -> str:
        began = time.monotonic()
        try:
            async with session.post(url, json=row) as answer:
                if answer.status != 200:
                    return f"{answer.status} {(await answer.text())[:80]}"
                said = await answer.json()
                self.acknowledged.append(said["prediction_id"])
                took = time.monotonic() - began
                self.heard.append(Heard(row["EmployeeNumber"], said["model_version"], said["served_from"], began, took))
        except (aiohttp.ClientError, TimeoutError) as error:
            return type(error).__name__
        return ""


@contextmanager
def asking(
    url: str, key: str, row: dict[str, Any], *, clients: int, rows: Sequence[dict[str, Any]] = ()
) -> Iterator[Crowd]:
    """For the length of the block, in a thread of their own."""
    crowd = Crowd(rows=rows)
    thread = threading.Thread(target=asyncio.run, args=(_all(crowd, url, key, row, clients),))
    thread.start()
    try:
        yield crowd
    finally:
        crowd.ended = True
        thread.join()


async def _all(crowd: Crowd, url: str, key: str, row: dict[str, Any], clients: int) -> None:
    limits = {"connector": aiohttp.TCPConnector(limit=clients), "timeout": aiohttp.ClientTimeout(total=30)}
    async with aiohttp.ClientSession(headers={"X-API-Key": key}, **limits) as session:
        await asyncio.gather(*(crowd.client(session, url, row, name) for name in range(clients)))

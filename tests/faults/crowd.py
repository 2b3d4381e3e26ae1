"""Clients that ask without a pause, ask once more where they got no answer, and remember what was acknowledged."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

# The one that a polite client waits for: Retry-After says so.
AGAIN_SECONDS = 1.0


@dataclass
class Crowd:
    """What came of it.

    Attributes:
        acknowledged: ids of predictions.
        failed_first: what -> how many requests had no answer at first.
        failed: the same of those that had none at the second time of asking either.
    """

    acknowledged: list[str] = field(default_factory=list)
    failed_first: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    ended: bool = False

    async def client(self, session: aiohttp.ClientSession, url: str, row: dict[str, Any], name: int) -> None:
        while not self.ended:
            self.asked += 1
            mine = {**row, "EmployeeNumber": f"{name}-{self.asked}"}
            if wrong := await self._ask(session, url, mine):
                self.failed_first[wrong] += 1
                await asyncio.sleep(AGAIN_SECONDS)
                if wrong := await self._ask(session, url, mine):
                    self.failed[wrong] += 1

    async def _ask(self, session: aiohttp.ClientSession, url: str, row: dict[str, Any]) -> str:
        try:
            async with session.post(url, json=row) as answer:
                if answer.status != 200:
                    return f"{answer.status} {(await answer.text())[:80]}"
                self.acknowledged.append((await answer.json())["prediction_id"])
        except (aiohttp.ClientError, TimeoutError) as error:
            return type(error).__name__
        return ""


@contextmanager
def asking(url: str, key: str, row: dict[str, Any], *, clients: int) -> Iterator[Crowd]:
    """For the length of the block, in a thread of their own."""
    crowd = Crowd()
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

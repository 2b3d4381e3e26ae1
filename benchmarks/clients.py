"""A closed loop of HTTP clients in one Python process: each asks, waits for its answer, and asks again.

Tells answers apart by status, which wrk does not; and serves where there is no wrk, at several times its cost.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

import httptools
import numpy as np
import uvloop

from benchmarks.load import Load

PATIENCE_SECONDS = 600


@dataclass(frozen=True)
class Seen:
    """One answer: how long it took, and its status; 0 is a connection that broke."""

    took: float
    status: int


class _Client(asyncio.Protocol):
    """One connection. httptools reads the answers; wrk's own parser is the same C."""

    def __init__(
        self, requests: Sequence[bytes], first: int, seen: list[Seen], enough: Callable[[], bool], polite_s: float
    ):
        self._polite_s = polite_s
        self._requests = requests
        self._next = first
        self._seen = seen
        self._enough = enough
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        self._seen.append(Seen(perf_counter() - self._began, status))
        if self._enough():
            self._transport.close()
        elif status == 503 and self._polite_s:
            asyncio.get_running_loop().call_later(self._polite_s, self.ask)
        else:
            self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._enough():
            self._seen.append(Seen(0.0, 0))
        self.done.set_result(exc)

    def ask(self) -> None:
        self._began = perf_counter()
        self._transport.write(self._requests[self._next % len(self._requests)])
        self._next += 1


def requests(url: str, bodies: Sequence[bytes], headers: Mapping[str, str]) -> list[bytes]:
    """The bytes of a POST of each body."""
    parts = urlsplit(url)
    lines = {"Host": parts.netloc, **headers}
    head = f"POST {parts.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]


def ask(url: str, asked: Sequence[bytes], *, connections: int, seconds: float) -> Load:
    """Ask on so many connections at once for so long: the answers with status 200."""
    return _summed(_for(url, asked, connections, seconds), 200, seconds)


def ask_by_status(
    url: str, asked: Sequence[bytes], *, connections: int, seconds: float, polite_s: float = 0
) -> dict[int, Load]:
    """The same, status by status: 200, and 503, after which a polite client waits."""
    seen = _for(url, asked, connections, seconds, polite_s)
    return {status: _summed(seen, status, seconds) for status in (200, 503)}


def ask_for(url: str, asked: Sequence[bytes], *, connections: int, count: int) -> int:
    """Ask until so many answers are there; how many have status 200."""
    seen: list[Seen] = []
    uvloop.run(_ask(url, asked, connections, seen, lambda _: len(seen) > count - connections))
    return sum(one.status == 200 for one in seen)


def _for(url: str, asked: Sequence[bytes], connections: int, seconds: float, polite_s: float = 0) -> list[Seen]:
    seen: list[Seen] = []
    uvloop.run(_ask(url, asked, connections, seen, lambda since: perf_counter() - since >= seconds, polite_s))
    return seen


async def _ask(
    url: str,
    asked: Sequence[bytes],
    connections: int,
    seen: list[Seen],
    enough: Callable[[float], bool],
    polite_s: float = 0,
) -> None:
    """All connect, and then all begin."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    began = perf_counter()
    places = range(0, connections * 7919, 7919)
    clients = [_Client(asked, first, seen, lambda: enough(began), polite_s) for first in places]
    for client in clients:
        await loop.create_connection(partial(_itself, client), str(parts.hostname), int(parts.port or 80))
    began = perf_counter()
    for client in clients:
        client.ask()
    await asyncio.wait([client.done for client in clients], timeout=PATIENCE_SECONDS)


def _itself(client: _Client) -> _Client:
    return client


def _summed(seen: Sequence[Seen], status: int, seconds: float) -> Load:
    took = np.array([one.took for one in seen if one.status == status]) * 1000
    p50, p95, p99 = np.percentile(took, (50, 95, 99)) if len(took) else (np.nan,) * 3
    others = [str(one.status or "broken") for one in seen if one.status != status]
    failed = {name: others.count(name) for name in set(others)}
    return Load(rate=len(took) / seconds, p50=float(p50), p95=float(p95), p99=float(p99), failed=failed)

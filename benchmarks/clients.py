"""A closed loop of HTTP clients in one Python process: each asks, waits for its answer, and asks again.

Told apart by status, which wrk does not do; and for machines without wrk, at several times its cost.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

import httptools
import numpy as np
import uvloop

from benchmarks.load import Load


class _Client(asyncio.Protocol):
    """One connection. httptools reads the answers; wrk's own parser is the same C."""

    def __init__(self, requests: Sequence[bytes], first: int, until: float, seen: list[tuple[float, float, int]]):
        self._requests = requests
        self._next = first
        self._until = until
        self._seen = seen
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        now = perf_counter()
        self._seen.append((now, now - self._began, self._parser.get_status_code()))
        if now >= self._until:
            self._transport.close()
        else:
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if perf_counter() < self._until:
            self._seen.append((perf_counter(), 0.0, 0))
        self.done.set_result(exc)

    def _ask(self) -> None:
        self._began = perf_counter()
        self._transport.write(self._requests[self._next % len(self._requests)])
        self._next += 1


def requests(url: str, bodies: Sequence[bytes], headers: dict[str, str]) -> list[bytes]:
    """The bytes of a POST of each body."""
    parts = urlsplit(url)
    lines = {"Host": parts.netloc, **headers}
    head = f"POST {parts.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]


def ask(url: str, asked: Sequence[bytes], *, connections: int, seconds: float) -> Load:
    """Ask on so many connections at once for so long."""
    return uvloop.run(_ask(url, asked, connections, seconds))


async def _ask(url: str, asked: Sequence[bytes], connections: int, seconds: float) -> Load:
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    began = perf_counter()
    until = began + seconds
    seen: list[tuple[float, float, int]] = []
    clients = []
    for number in range(connections):
        made = _Client(asked, number * 7919, until, seen)
        await loop.create_connection(partial(_itself, made), str(parts.hostname), int(parts.port or 80))
        clients.append(made)
    await asyncio.wait([client.done for client in clients], timeout=seconds + 30)
    return _summed(seen, began, until)


def _itself(client: _Client) -> _Client:
    return client


def _summed(seen: Sequence[tuple[float, float, int]], start: float, end: float) -> Load:
    within = [(took, status) for when, took, status in seen if start <= when <= end]
    good = np.array([took for took, status in within if status == 200]) * 1000
    p50, p95, p99 = np.percentile(good, (50, 95, 99)) if len(good) else (np.nan,) * 3
    failed = Counter(str(status or "broken") for _, status in within if status != 200)
    return Load(rate=len(good) / (end - start), p50=float(p50), p95=float(p95), p99=float(p99), failed=failed)

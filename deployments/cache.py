"""Scores of rows that were asked for a moment ago. A row scores to the same bits each time, so none is stale."""

import asyncio
import logging
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from cachetools import TTLCache

from deployments.coalesce import Lane
from forewarn.fields import Row
from forewarn.ledger.records import Recorder
from forewarn.scoring import Scores

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

log = logging.getLogger(__name__)

PREFIX = "forewarn-cache"
# Of Redis: to score takes a few milliseconds, so nobody waits longer for what would save them.
ANSWER_S = 0.05
LET_BE_S = 1.0

# Version, whether with why, digest of the inputs.
Known = tuple[str, bool, bytes]


class Cache:
    """One use case's scores for so many seconds (S2-09), in this replica's memory; and in Redis, for all replicas.

    A row is known by a digest of what a model may read of it, with the use case and the version (C11): neither its
    subject nor its values can be read here. Requests of one row are remembered; a batch costs too little per row.
    """

    def __init__(self, recorder: Recorder, *, seconds: float, rows: int, shared: "Shared | None" = None):
        self._recorder = recorder
        self._known: TTLCache[Known, Scores] | None = TTLCache(rows, seconds) if seconds and rows else None
        self._shared = shared
        self._packages: dict[str, str] = {}

    def serves(self, version: str, package: str) -> None:
        """What a version is, for those who share a Redis with whoever calls another one by that name."""
        self._packages[version] = package

    def keeps(self, rows: Sequence[Row]) -> bool:
        """Whether these are rows that are remembered."""
        return self._known is not None and len(rows) == 1

    @property
    def is_shared(self) -> bool:
        """Whether others may know what this replica does not."""
        return self._shared is not None

    def get(self, lane: Lane, rows: Sequence[Row]) -> Scores | None:
        """What this replica remembers of this one row."""
        return self._known.get(self._key(lane, rows[0])) if self._known is not None and self.keeps(rows) else None

    async def fetch(self, lane: Lane, rows: Sequence[Row]) -> Scores | None:
        """What others remember of it.

        Raises:
            TimeoutError: Redis does not answer, or not soon enough to be of use.
        """
        if self._shared is None or self._known is None or lane.why or not self.keeps(rows):
            return None
        if lane.version not in self._packages:
            return None
        key = self._key(lane, rows[0])
        found = await self._shared.get(self._name(key))
        if found is not None:
            self._known[key] = found
        return found

    def put(self, lane: Lane, rows: Sequence[Row], scores: Scores) -> None:
        """Remember it."""
        if self._known is None or not self.keeps(rows):
            return
        key = self._key(lane, rows[0])
        self._known[key] = scores
        if self._shared is not None and scores.why is None and lane.version in self._packages:
            self._shared.put(self._name(key), scores, self._recorder.subject(rows[0]))

    def forget(self) -> None:
        """Everything in this replica's memory: somebody was erased, and whose rows these are is not known here."""
        if self._known is not None:
            self._known.clear()

    def _key(self, lane: Lane, row: Row) -> Known:
        return lane.version, lane.why, self._recorder.digest(row)

    def _name(self, key: Known) -> str:
        """In Redis, which may be several installations': of one that has another secret, or another package under the
        version's name, nothing is found.
        """
        version, why, digest = key
        return f"{PREFIX}:{self._recorder.installation}:{self._packages[version]}:{int(why)}:{digest.hex()}"


class Shared:
    """Scores in Redis, and which of them are of whose rows. Where Redis is slow or away it is let be for a second."""

    def __init__(self, pool: "ConnectionPool", *, seconds: float):
        from redis.asyncio import Redis

        self._redis: Redis = Redis(connection_pool=pool)
        self._seconds = max(1, int(seconds))
        self._ask_at = 0.0
        self._under_way: set[asyncio.Task[None]] = set()

    async def get(self, name: str) -> Scores | None:
        """What is known of a row.

        Raises:
            TimeoutError: Redis does not answer.
        """
        told = await self._soon(self._redis.get(name))
        return _read(told) if told else None

    def put(self, name: str, scores: Scores, subject: str | None) -> None:
        """Nobody waits for it."""
        if monotonic() >= self._ask_at:
            task = asyncio.ensure_future(self._put(name, scores, subject))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def forget(self, subject: str) -> None:
        """All that is known of somebody's rows.

        Raises:
            TimeoutError: Redis does not answer.
        """
        theirs = _of(subject)
        await self._soon(self._redis.unlink(theirs, *await self._soon(self._redis.smembers(theirs))))

    async def close(self) -> None:
        """Let go of the connections."""
        await asyncio.gather(*self._under_way)
        await self._redis.connection_pool.disconnect()

    async def _put(self, name: str, scores: Scores, subject: str | None) -> None:
        pipe = self._redis.pipeline(transaction=False)
        pipe.set(name, _told(scores), ex=self._seconds)
        if subject:
            pipe.sadd(_of(subject), name)
            pipe.expire(_of(subject), self._seconds)
        try:
            await self._soon(pipe.execute())
        except TimeoutError:
            return

    async def _soon(self, answer: Any) -> Any:
        from redis.exceptions import RedisError

        if monotonic() < self._ask_at:
            getattr(answer, "close", lambda: None)()
            raise TimeoutError
        try:
            async with asyncio.timeout(ANSWER_S):
                return await answer
        except (RedisError, OSError, TimeoutError) as error:
            self._ask_at = monotonic() + LET_BE_S
            log.debug("the shared cache does not answer: %r", error)
            raise TimeoutError from None


def _of(subject: str) -> str:
    return f"{PREFIX}-of:{subject}"


def _told(scores: Scores) -> bytes:
    return orjson.dumps([scores.version, dict(scores.rule), scores.values.tolist()])


def _read(told: bytes) -> Scores:
    version, rule, values = orjson.loads(told)
    return Scores(version=version, rule=rule, values=np.array(values))

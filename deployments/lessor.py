"""Who counts the requests of each key for all replicas together, and hands them out in leases.

The window moves: the last sixty seconds count, at any moment (`limits`' moving window). A fixed one would let twice the
limit through around a full minute, and a counter that guesses how the minute before was spread, a sixth more after a
burst (an eighth of a kilobyte a key would be all that it needs; this one keeps a time for each request of the minute).
"""

from time import time
from typing import TYPE_CHECKING, Any, Protocol

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter as SharedLimiter
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

# How many were granted; and after how many seconds it is worth asking again where it were none.
Lease = tuple[int, float]
LEAST_WAIT_S = 0.2
NAMESPACE = "forewarn-quota"


class Lessor(Protocol):
    """Hands out leases."""

    async def lease(self, key_id: str, per_minute: int, wanted: int) -> Lease:
        """So many requests of those wanted, perhaps none."""
        ...


class Counter:
    """In this process's memory: for one replica, or as a deployment of its own for all of them."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def lease(self, key_id: str, per_minute: int, wanted: int) -> Lease:
        """As `Lessor`."""
        item = RateLimitItemPerMinute(per_minute)
        for cost in fewer(wanted):
            if self._limiter.hit(item, key_id, cost=cost):
                return cost, 0.0
        return 0, wait_s(self._limiter.get_window_stats(item, key_id).reset_time)


class RedisCounter:
    """In Redis, for every replica of every cluster that shares it."""

    def __init__(self, pool: "ConnectionPool"):
        # The address is the pool's; the library wants one all the same.
        options: dict[str, Any] = {"implementation": "redispy", "key_prefix": NAMESPACE, "connection_pool": pool}
        storage = RedisStorage("async+redis://", **options)
        self._limiter = SharedLimiter(storage)

    async def lease(self, key_id: str, per_minute: int, wanted: int) -> Lease:
        """As `Lessor`."""
        item = RateLimitItemPerMinute(per_minute)
        for cost in fewer(wanted):
            if await self._limiter.hit(item, key_id, cost=cost):
                return cost, 0.0
        return 0, wait_s((await self._limiter.get_window_stats(item, key_id)).reset_time)


def fewer(wanted: int) -> list[int]:
    """What to ask for in turn: all, then a quarter of it, down to one."""
    steps = [wanted]
    while steps[-1] > 1:
        steps.append(steps[-1] // 4 or 1)
    return steps


def wait_s(reset_time: float) -> float:
    """Until a window of that end has moved on."""
    return max(reset_time - time(), LEAST_WAIT_S)

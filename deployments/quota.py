"""How often a key may ask, over all replicas together (S2-76). Load shedding is another matter: see `coalesce` (C33).

A replica spends leases: some requests ahead, as many as the key asked here in the last half second, so that a busy key
costs no hop and an idle one holds nothing back. A lease is renewed before it is spent, and what is left of it after a
second is lost. Leases that are held and not yet spent are all that the limit can be exceeded by within a minute, and
all that can be lost at its end: together at most one and a half fiftieths of it, 3 %, however many replicas there are.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from deployments.lessor import Counter, Lessor
from deployments.meter import Meter
from forewarn.errors import QuotaExceeded
from forewarn.keys import Key

log = logging.getLogger(__name__)

AHEAD_S = 0.5
# What all replicas may hold in leases together, as a part of the limit.
LARGEST_SHARE = 50
LEASE_S = 1.0
# How busy a key is, is told by so many seconds.
LOOK_BACK_S = 5.0
# Of whoever counts: nobody waits for longer, and then it is let be for some seconds. A quarter of a second was too
# short on two busy cores: the counter was there, and each replica counted by itself.
ANSWER_S = 1.0
LET_BE_S = 5.0


@dataclass
class Purse:
    """What one key may still spend here.

    Attributes:
        left: requests.
        since, asked: when counting began, and what was asked since: how busy the key is.
        leased: when the last lease came.
        closed_until: no use in asking for more before.
    """

    left: int = 0
    since: float = 0.0
    asked: float = 0.0
    leased: float = 0.0
    closed_until: float = 0.0
    renewing: "asyncio.Task[None] | None" = None


class Quota:
    """One replica's. Where whoever counts for all does not answer, it counts by itself: then a key may ask as often as
    its limit says at each replica, which is told in the log and the metrics.
    """

    def __init__(
        self,
        per_minute: int,
        lessor: Lessor | None,
        meter: Meter,
        *,
        replicas: int = 1,
        clock: Callable[[], float] = monotonic,
    ):
        self._per_minute, self._meter, self._clock = per_minute, meter, clock
        self._share = LARGEST_SHARE * replicas
        self._alone = Counter()
        self._lessor = lessor or self._alone
        self._purses: dict[str, Purse] = {}
        self._ask_at = 0.0

    async def spend(self, key: Key) -> None:
        """One request.

        Raises:
            QuotaExceeded: the key has asked as often as it may for now.
        """
        limit = key.per_minute or self._per_minute
        if not limit:
            return
        purse = self._purses.setdefault(key.id, Purse())
        self._note(purse)
        while purse.left == 0:
            self._refuse_closed(purse, limit)
            await asyncio.shield(self._renewed(purse, key.id, limit))
        purse.left -= 1
        if purse.left <= self._wanted(purse, limit) // 2 and purse.closed_until <= self._clock():
            self._renewed(purse, key.id, limit)

    def _note(self, purse: Purse) -> None:
        """One more was asked. An old lease is lost, for the window has moved on."""
        now = self._clock()
        if now - purse.leased > LEASE_S:
            purse.left = 0
        if now - purse.since > LOOK_BACK_S:
            purse.asked *= AHEAD_S / (now - purse.since)
            purse.since = now - AHEAD_S
        purse.asked += 1

    def _wanted(self, purse: Purse, limit: int) -> int:
        """How large a lease is worth having."""
        busy = purse.asked * AHEAD_S / max(self._clock() - purse.since, AHEAD_S)
        return max(1, min(int(busy), limit // self._share))

    def _refuse_closed(self, purse: Purse, limit: int) -> None:
        wait = purse.closed_until - self._clock()
        if wait > 0:
            error = QuotaExceeded(f"this key may ask {limit} times a minute, and has; ask again in {wait:.0f} s")
            error.limit, error.wait_s = limit, wait
            raise error

    def _renewed(self, purse: Purse, key_id: str, limit: int) -> "asyncio.Task[None]":
        """The one renewal that is under way."""
        if purse.renewing is None or purse.renewing.done():
            purse.renewing = asyncio.ensure_future(self._renew(purse, key_id, limit))
        return purse.renewing

    async def _renew(self, purse: Purse, key_id: str, limit: int) -> None:
        granted, wait = await self._lease(key_id, limit, self._wanted(purse, limit))
        purse.left += granted
        purse.leased = self._clock()
        if not granted:
            purse.closed_until = self._clock() + wait

    async def _lease(self, key_id: str, limit: int, wanted: int) -> tuple[int, float]:
        if self._clock() < self._ask_at:
            return await self._alone.lease(key_id, limit, wanted)
        try:
            async with asyncio.timeout(ANSWER_S):
                lease = await self._lessor.lease(key_id, limit, wanted)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from answering, requests go on
            self._meter.refused("", "QuotaUnavailable")
            if not self._ask_at:
                log.warning("this replica counts requests by itself: %s", type(error).__name__)
            self._ask_at = self._clock() + LET_BE_S
            return await self._alone.lease(key_id, limit, wanted)
        self._ask_at = 0.0
        return lease

"""What this replica knows of the ledger's notices; looked up every second, and kept for when the ledger is away."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from forewarn.errors import LedgerUnavailable, StateDamaged
from forewarn.keys import KeyRing
from forewarn.ledger import notices
from forewarn.ledger.notices import Notices
from forewarn.ledger.store import Ledger

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
RETRY_SECONDS = 2.0


class Noticeboard:
    """The newest notices, and the key ring that they make up.

    Attributes:
        reachable: whether the ledger answered last time.
    """

    def __init__(self, ledger: Ledger, kept: Path):
        self._ledger, self._kept = ledger, kept
        self.reachable = True
        self._put_up(self._of_before())
        self._told: set[str] = set(self.now.erased)
        self.look()

    def look(self) -> bool:
        """Whether the ledger answered."""
        try:
            found = notices.read(self._ledger, self.now.number)
        except LedgerUnavailable as error:
            if self.reachable:
                log.warning("keys and opt-outs stay as they were: %s", error)
            self.reachable = False
            return False
        self.reachable = True
        if found:
            self._put_up(found)
            found.save(self._kept)
        return True

    async def follow(self, forget: Callable[[set[str]], Awaitable[None]]) -> None:
        """For as long as the replica lives. `forget` is told of people who were erased, once."""
        while True:
            await asyncio.sleep(LOOK_SECONDS if await asyncio.to_thread(self.look) else RETRY_SECONDS)
            erased = set(self.now.erased)
            if erased - self._told:
                await forget(erased - self._told)
            self._told = erased

    def _put_up(self, found: Notices) -> None:
        self.now, self.ring = found, KeyRing(found.keys)

    def _of_before(self) -> Notices:
        try:
            return Notices.load(self._kept)
        except StateDamaged as error:
            log.error("read anew: %s", error)
            return Notices()

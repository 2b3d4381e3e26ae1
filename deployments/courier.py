"""Sees to it that somebody on this node takes spooled lines to the ledger: `forewarn.ledger.shipper`, one process."""

import asyncio
import logging
import subprocess
import sys
from pathlib import Path

from deployments.auth import Doorkeeper
from forewarn.errors import LedgerUnavailable
from forewarn.ledger.doors import Doors
from forewarn.ledger.shipper import LOCK
from forewarn.ledger.spool import Spool
from forewarn.locks import Lock

log = logging.getLogger(__name__)

TURN_SECONDS = 1.0
TELL_EVERY = 10


class Courier:
    """Closes what the spool has, every second, and starts the shipper where there is none."""

    def __init__(self, spool: Spool, spools: Path, doorkeeper: Doorkeeper, doors: Doors):
        self._spool, self._spools, self._doorkeeper, self._doors = spool, spools, doorkeeper, doors
        self._shipper: subprocess.Popen[bytes] | None = None

    async def run(self) -> None:
        """For as long as the replica lives."""
        turn = 0
        while True:
            await asyncio.sleep(TURN_SECONDS)
            self._spool.turn()
            await asyncio.to_thread(self._hire)
            turn += 1
            if turn % TELL_EVERY == 0:
                await asyncio.to_thread(self._tell)

    def _hire(self) -> None:
        if self._shipper is not None and self._shipper.poll() is None:
            return
        lock = Lock(self._spools / LOCK)
        if lock.take():
            lock.free()  # whoever takes it first of those that start now stays
            self._shipper = subprocess.Popen([sys.executable, "-m", "forewarn.ledger.shipper"])

    def _tell(self) -> None:
        """When which key was last used."""
        used = self._doorkeeper.used()
        try:
            if used:
                self._doors.used(used)
        except LedgerUnavailable as error:
            log.debug("not told when keys were used: %s", error)

"""Who may come in: the key ring, read again when its file changes."""

import logging
from pathlib import Path
from time import monotonic

from forewarn.errors import StateDamaged
from forewarn.keys import KeyRing

log = logging.getLogger(__name__)

REREAD_SECONDS = 1.0


class Doorkeeper:
    """Checks keys. A key that was added or taken away counts within a second."""

    def __init__(self, keys: Path):
        self._path = keys
        self._ring = KeyRing.load(keys)
        self._changed = self._stamp()
        self._looked = monotonic()

    def check(self, key: str | None) -> str:
        """The name of the key's owner.

        Raises:
            NotAuthenticated, NotAllowed: as `KeyRing.check`.
        """
        if monotonic() - self._looked > REREAD_SECONDS:
            self._reread()
        return self._ring.check(key)

    def _reread(self) -> None:
        self._looked = monotonic()
        if (stamp := self._stamp()) != self._changed:
            try:
                self._ring, self._changed = KeyRing.load(self._path), stamp
            except StateDamaged as error:
                log.error("the keys of before stay in force: %s", error)

    def _stamp(self) -> float:
        return self._path.stat().st_mtime if self._path.exists() else 0.0

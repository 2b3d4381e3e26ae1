"""Who may come in, and what for."""

from collections.abc import Callable
from datetime import UTC, datetime

from deployments.noticeboard import Noticeboard
from forewarn.databases import written
from forewarn.errors import NotAllowed
from forewarn.keys import Key


class Doorkeeper:
    """Checks keys. One that was made or revoked counts within some two seconds."""

    def __init__(self, board: Noticeboard, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)):
        self._board, self._clock = board, clock
        self._used: dict[str, str] = {}

    def check(self, key: str | None, *scopes: str) -> Key:
        """Whose key it is; it must have one of the scopes.

        Raises:
            NotAuthenticated, NotAllowed: as `KeyRing.check`; or none of the scopes is the key's.
        """
        at = written(self._clock())
        found = self._board.ring.check(key, at=at)
        if scopes and not found.may(scopes):
            has, wanted = ", ".join(sorted(found.scopes)), " or ".join(scopes)
            raise NotAllowed(f"this API key may {has}; this door takes one that may {wanted}")
        self._used[found.id] = at
        return found

    def used(self) -> dict[str, str]:
        """When keys came in last since this was asked, by id."""
        used, self._used = self._used, {}
        return used

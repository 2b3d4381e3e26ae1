"""Tells when a version does not answer, so that nobody waits for it; and when it does again."""

from collections.abc import Callable
from time import monotonic

# In a row. A version that fails on some rows only is the judge's matter.
FAILURES = 5


class Breaker:
    """Closed while all is well; open after so many failures in a row, until somebody who tried says that it answers."""

    def __init__(self, *, clock: Callable[[], float] = monotonic):
        self._clock = clock
        self._failures = 0
        self._since: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is no use to ask."""
        return self._failures >= FAILURES

    @property
    def is_whole(self) -> bool:
        """Whether the last one that asked was answered."""
        return self._failures == 0

    @property
    def failing_s(self) -> float:
        """For how long nothing has been answered, in seconds."""
        return 0.0 if self._since is None else self._clock() - self._since

    def failed(self) -> bool:
        """One more; whether it is this one that opened it."""
        self._failures += 1
        if self._since is None:
            self._since = self._clock()
        return self._failures == FAILURES

    def succeeded(self) -> None:
        """It answers."""
        self._failures, self._since = 0, None

"""Proves versions before they answer anybody: each by itself, so that one that hangs stands in no other's way."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

log = logging.getLogger(__name__)
# A version that failed is tried again after this.
RETRY_SECONDS = 5.0
# So long whoever asks waits for those that are being tried; then it goes on without them, and asks again.
PATIENCE_SECONDS = 2.0


class Trials:
    """Of one use case.

    Attributes:
        refused: version -> what is wrong with it, until it passes or is wanted no more.
    """

    def __init__(self, use_case: str, prove: Callable[[str], Awaitable[None]]):
        self.refused: dict[str, str] = {}
        self._use_case, self._prove = use_case, prove
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._passed: set[str] = set()
        self._again: dict[str, float] = {}

    async def passed(self, versions: Sequence[str]) -> set[str]:
        """Which of these have passed by now; of the others those are tried that are not on trial."""
        self._forget_all_but(versions)
        for version in versions:
            known = version in self._passed or version in self._under_way
            if not known and monotonic() >= self._again.get(version, 0.0):
                self._under_way[version] = asyncio.create_task(self._try(version))
        if self._under_way:
            await asyncio.wait(list(self._under_way.values()), timeout=PATIENCE_SECONDS)
        return self._passed.intersection(versions)

    def refuse(self, version: str, error: Exception) -> None:
        """Note what is wrong; said in the log where it is new."""
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        if self.refused.get(version) != said:
            log.error("%s: %s does not take over: %s", self._use_case, version, said)
        self.refused[version] = said

    async def _try(self, version: str) -> None:
        try:
            await self._prove(version)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others answer
            self.refuse(version, error)
            self._again[version] = monotonic() + RETRY_SECONDS
        else:
            self.refused.pop(version, None)
            self._passed.add(version)
        finally:
            del self._under_way[version]

    def _forget_all_but(self, versions: Sequence[str]) -> None:
        for gone in self._under_way.keys() - set(versions):
            self._under_way[gone].cancel()
        self._passed.intersection_update(versions)
        for known in (self.refused, self._again):
            for gone in known.keys() - set(versions):
                del known[gone]

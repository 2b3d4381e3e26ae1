"""The versions that a replica has in memory: verified, loaded beside the work and not in its way."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from forewarn.errors import ForewarnError
from forewarn.releases import Releases
from forewarn.usecase import UseCase

log = logging.getLogger(__name__)
# Every role's, and one on its way in.
KEPT = 5
LOOK_SECONDS = 0.5
RETRY_SECONDS = 5.0
Part = TypeVar("Part")


class LoadedVersions(Generic[Part]):
    """Of one use case's versions the part that a replica works with: a whole package, or its features.

    A version that fails to load changes nothing for the others.

    Attributes:
        wanted: the versions that have a role, the champion first.
    """

    def __init__(self, case: UseCase, releases: Releases, load: Callable[[UseCase, str], Part]):
        self._case = case
        self._load = load
        self._loading: dict[str, asyncio.Task[Part]] = {}
        self._there: dict[str, Part] = {}
        self.wanted: list[str] = []
        self.champion: str | None = None
        self._releases = releases
        self._bad: dict[str, float] = {}
        # Before the replica counts as started, so that its first request finds them there. A damaged champion leaves
        # the one before it to answer, rather than the replica in a loop of restarts.
        self.look()

    def look(self) -> None:
        """Load what has come into a role since; what could not be loaded is tried again after some seconds."""
        try:
            state = self._releases.state(self._case)
        except ForewarnError as error:
            log.error("%s: %s", self._case.name, error)
            return
        self.wanted, self.champion = state.versions, state.champion
        now = time.monotonic()
        for version in self.wanted:
            if version not in self._there and now >= self._bad.get(version, now):
                self._bad[version] = now + RETRY_SECONDS
                try:
                    self._there[version] = self._load(self._case, version)
                except ForewarnError as error:
                    log.error("%s %s cannot be loaded: %s", self._case.name, version, error)
        self._make_room()

    def follow(self) -> None:
        """Look for as long as the process lives, in a thread: what has come into a role is there before it is asked."""
        threading.Thread(target=self._follow, daemon=True, name=f"versions of {self._case.name}").start()

    def _follow(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            self.look()

    async def get(self, version: str) -> Part:
        """That version, loaded in a thread if it is not here yet; callers share one load.

        Raises:
            NotFound, PackageDamaged: as `Releases.load`; the next call tries again.
        """
        found = self._there.pop(version, None)
        if found is not None:
            self._there[version] = found  # last in, last to go
            return found
        if version not in self._loading:
            self._loading[version] = asyncio.create_task(self._fetched(version))
        return await asyncio.shield(self._loading[version])

    async def _fetched(self, version: str) -> Part:
        try:
            found = await asyncio.to_thread(self._load, self._case, version)
        finally:
            del self._loading[version]
        self._there[version] = found
        self._make_room()
        return found

    def _make_room(self) -> None:
        """Whatever has a role stays; of the others the longest unused go first."""
        spare = [version for version in list(self._there) if version not in self.wanted]
        for version in spare[: max(0, len(self._there) - KEPT)]:
            self._there.pop(version, None)

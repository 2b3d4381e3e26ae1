"""The versions that a replica has in memory: verified, loaded beside the work and not in its way."""

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from forewarn.errors import ForewarnError
from forewarn.releases import Releases
from forewarn.usecase import UseCase

log = logging.getLogger(__name__)
# The champion, the one before it, and one on its way in.
KEPT = 3
Part = TypeVar("Part")


class LoadedVersions(Generic[Part]):
    """Of one use case's versions the part that a replica works with: a whole package, or its features.

    A version that fails to load changes nothing for the others.
    """

    def __init__(self, case: UseCase, releases: Releases, load: Callable[[UseCase, str], Part]):
        self._case = case
        self._load = load
        self._loading: dict[str, asyncio.Task[Part]] = {}
        self._there: dict[str, Part] = {}
        # Before the replica counts as started, so that its first request finds the champion there. A damaged one
        # leaves this empty and /ready at 503, rather than the replica in a loop of restarts.
        if version := releases.champion(case):
            try:
                self._there[version] = load(case, version)
            except ForewarnError as error:
                log.error("%s: the champion cannot be loaded: %s", case.name, error)

    async def get(self, version: str) -> Part:
        """That version, loaded in a thread if it is not here yet; callers share one load.

        Raises:
            NotFound, PackageDamaged: as `Releases.load`; the next call tries again.
        """
        if version in self._there:
            self._there[version] = self._there.pop(version)  # last in, last to go
            return self._there[version]
        if version not in self._loading:
            self._loading[version] = asyncio.create_task(self._fetched(version))
        return await asyncio.shield(self._loading[version])

    async def _fetched(self, version: str) -> Part:
        try:
            self._there[version] = await asyncio.to_thread(self._load, self._case, version)
        finally:
            del self._loading[version]
        while len(self._there) > KEPT:
            del self._there[next(iter(self._there))]
        return self._there[version]

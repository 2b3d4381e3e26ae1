"""The packages that a replica has in memory: whole, verified, loaded beside the work and not in its way."""

import asyncio
import logging

from forewarn.errors import ForewarnError
from forewarn.package import ModelPackage
from forewarn.releases import Releases
from forewarn.usecase import UseCase

log = logging.getLogger(__name__)
# The champion, the one before it, and one on its way in.
KEPT = 3


class LoadedPackages:
    """One use case's loaded versions. A version that fails to load changes nothing for the others."""

    def __init__(self, case: UseCase, releases: Releases):
        self._case = case
        self._releases = releases
        self._loading: dict[str, asyncio.Task[ModelPackage]] = {}
        self._packages: dict[str, ModelPackage] = {}
        # Before the replica counts as started, so that its first request finds the champion there. A damaged one
        # leaves this empty and /ready at 503, rather than the replica in a loop of restarts.
        if version := releases.champion(case):
            try:
                self._packages[version] = releases.load(case, version)
            except ForewarnError as error:
                log.error("%s: the champion cannot be loaded: %s", case.name, error)

    async def get(self, version: str) -> ModelPackage:
        """The package of that version, loaded in a thread if it is not here yet; callers share one load.

        Raises:
            NotFound, PackageDamaged: as `Releases.load`; the next call tries again.
        """
        if version in self._packages:
            self._packages[version] = self._packages.pop(version)  # last in, last to go
            return self._packages[version]
        if version not in self._loading:
            self._loading[version] = asyncio.create_task(self._load(version))
        return await asyncio.shield(self._loading[version])

    async def _load(self, version: str) -> ModelPackage:
        try:
            self._packages[version] = await asyncio.to_thread(self._releases.load, self._case, version)
        finally:
            del self._loading[version]
        while len(self._packages) > KEPT:
            del self._packages[next(iter(self._packages))]
        return self._packages[version]

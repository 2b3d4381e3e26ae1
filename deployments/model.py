"""The last stop: a matrix becomes scores."""

import asyncio
from typing import Any

from deployments import collector
from deployments.loaded import LoadedVersions
from forewarn import explain, scoring, usecases
from forewarn.features import Matrix
from forewarn.releases import Releases
from forewarn.scoring import Scores
from forewarn.settings import Settings


class Model:
    """Holds the loaded packages of one use case and scores matrices with the version that comes with them."""

    def __init__(self, use_case: str) -> None:
        collector.relax()
        releases = Releases(Settings().packages)
        self._packages = LoadedVersions(usecases.get(use_case), releases, releases.load)
        self._packages.follow()

    async def __call__(self, version: str, matrix: Matrix, explained: list[dict[str, Any]] | None) -> Scores:
        """Shape (n, columns) to n scores; with the rows it was made of, also why."""
        package = await self._packages.get(version)
        if explained is not None and explain.is_slow(package.estimator):  # others must not wait for it
            return await asyncio.to_thread(scoring.scores, package, matrix, explained)
        return scoring.scores(package, matrix, explained)

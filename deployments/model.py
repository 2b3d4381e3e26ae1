"""The last stop: a matrix becomes scores."""

import asyncio
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from deployments import collector
from deployments.loaded import LoadedVersions
from forewarn import explain, scoring, usecases
from forewarn.features import Matrix
from forewarn.package import ModelPackage
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
        self._aside: dict[str, Executor] = {}

    async def __call__(self, version: str, matrix: Matrix, explained: list[dict[str, Any]] | None) -> Scores:
        """Shape (n, columns) to n scores; with the rows it was made of, also why."""
        package = await self._packages.get(version)
        if version == self._packages.champion and not _is_slow(package, explained):
            return scoring.scores(package, matrix, explained)
        own = self._thread_of(version)
        return await asyncio.get_running_loop().run_in_executor(own, scoring.scores, package, matrix, explained)

    def _thread_of(self, version: str) -> Executor:
        """Where it keeps nobody waiting but its own: a challenger that takes seconds for a row, or explanations."""
        for gone in self._aside.keys() - {*self._packages.wanted, version}:
            self._aside.pop(gone).shutdown(wait=False, cancel_futures=True)
        if version not in self._aside:
            self._aside[version] = ThreadPoolExecutor(1, thread_name_prefix=version)
        return self._aside[version]


def _is_slow(package: ModelPackage, explained: list[dict[str, Any]] | None) -> bool:
    return explained is not None and explain.is_slow(package.estimator)

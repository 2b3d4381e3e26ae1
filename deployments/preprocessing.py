"""The middle stop: validated rows become the matrix of the version that will score them."""

from collections.abc import Awaitable, Callable
from typing import Any

from ray.serve.handle import DeploymentHandle

from deployments import collector
from deployments.loaded import LoadedVersions
from deployments.model import Model
from forewarn import usecases
from forewarn.releases import Releases
from forewarn.scoring import Scores
from forewarn.settings import Settings


class Preprocessor:
    """Runs the features of the version that comes with the rows, and hands the matrix on to the model.

    The model is a deployment of its own, or (`composition: colocated`) the same class in this process.
    """

    def __init__(self, use_case: str, model: DeploymentHandle[Any] | None) -> None:
        collector.relax()
        releases = Releases(Settings().packages)
        # Without the estimator, whose libraries are 0.7 s of CPU and 55 MB; the model proves the package by its scores.
        self._features = LoadedVersions(usecases.get(use_case), releases, releases.features)
        self._features.follow()
        self._score: Callable[..., Awaitable[Scores]] = model.remote if model else Model(use_case)

    async def __call__(self, version: str, why: bool, rows: list[dict[str, Any]]) -> Scores:
        """Rows in, their scores out, in the same order; with `why`, also what each field did."""
        features = await self._features.get(version)
        return await self._score(version, features.matrix(rows), rows if why else None)

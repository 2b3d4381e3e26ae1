"""The middle stop: validated rows become the matrix of the version that will score them."""

from collections.abc import Awaitable, Callable
from typing import Any

from ray.serve.handle import DeploymentHandle

from deployments.loaded import LoadedPackages
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
        self._packages = LoadedPackages(usecases.get(use_case), Releases(Settings().packages))
        self._score: Callable[..., Awaitable[Scores]] = model.remote if model else Model(use_case, self._packages)

    async def __call__(self, version: str, why: bool, rows: list[dict[str, Any]]) -> Scores:
        """Rows in, their scores out, in the same order; with `why`, also what each field did."""
        package = await self._packages.get(version)
        return await self._score(version, package.prepare(rows), rows if why else None)

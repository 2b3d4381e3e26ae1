"""The middle stop: validated rows become the matrix of the version that will score them."""

from typing import Any

from ray.serve.handle import DeploymentHandle

from deployments.loaded import LoadedPackages
from forewarn import usecases
from forewarn.releases import Releases
from forewarn.scoring import Scores
from forewarn.settings import Settings


class Preprocessor:
    """Runs the features of the version that comes with the rows, and hands the matrix on to the model."""

    def __init__(self, use_case: str, model: DeploymentHandle[Any]) -> None:
        self._packages = LoadedPackages(usecases.get(use_case), Releases(Settings().packages))
        self._model = model

    async def __call__(self, version: str, why: bool, rows: list[dict[str, Any]]) -> Scores:
        """Rows in, their scores out, in the same order; with `why`, also what each field did."""
        package = await self._packages.get(version)
        scores: Scores = await self._model.remote(version, package.prepare(rows), rows if why else None)
        return scores

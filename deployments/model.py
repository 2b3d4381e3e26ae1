"""The last stop: a matrix becomes probabilities."""

from deployments.loaded import LoadedPackages
from forewarn import scoring, usecases
from forewarn.features import Matrix
from forewarn.releases import Releases
from forewarn.scoring import Scores
from forewarn.settings import Settings


class Model:
    """Holds the loaded packages of one use case and scores matrices with the version that comes with them."""

    def __init__(self, use_case: str) -> None:
        self._packages = LoadedPackages(usecases.get(use_case), Releases(Settings().packages))

    async def __call__(self, version: str, matrix: Matrix) -> Scores:
        """Shape (n, columns) to n probabilities."""
        package = await self._packages.get(version)
        return scoring.scores(package, package.predict(matrix))

"""The estimators behind one face: XGBoost trees, logistic regression, support vectors, and blends of them.

Every estimator answers `margins(matrix)`: log-odds or amounts, float64, shape (n,), and gives one row the same bits
whether it comes alone or among a thousand. BLAS does not (it picks its kernel by the shape), hence `kernels._dot`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from forewarn.calibration import Calibration
from forewarn.errors import PackageDamaged
from forewarn.features import Matrix
from forewarn.kernels import Linear, SupportVectors
from forewarn.tasks import Vector
from forewarn.trees import Trees


class Estimator(Protocol):
    """What a package holds."""

    def margins(self, matrix: Matrix) -> Vector:
        """Log-odds of the event, or the amount; shape (n,)."""

    def save(self, folder: Path) -> dict[str, Any]:
        """Write native files into the folder; return what `load` needs to find them again."""


@runtime_checkable
class Additive(Protocol):
    """An estimator whose margin is a sum of what each column adds. Kernel machines are not: `explain` samples them."""

    exactness: ClassVar[str]

    def contributions(self, matrix: Matrix) -> Vector:
        """Per row, what each column adds, and last what all rows share: shape (n, columns + 1)."""


@dataclass(frozen=True, kw_only=True)
class Blend:
    """Weighted mean of two models' margins: a smooth model steadies the trees where data is scarce."""

    first: Estimator
    second: Estimator
    first_share: float

    def margins(self, matrix: Matrix) -> Vector:
        """first_share × first + (1 - first_share) × second."""
        return blended(self.first.margins(matrix), self.second.margins(matrix), self.first_share)

    def save(self, folder: Path) -> dict[str, Any]:
        """Both parts beside each other."""
        parts = [self.first.save(folder), self.second.save(folder)]
        return {"algorithm": "blend", "parts": parts, "first_share": self.first_share}

    @classmethod
    def load(cls, folder: Path, state: dict[str, Any]) -> "Blend":
        """The inverse of `save`."""
        first, second = (LOADERS[part["algorithm"]](folder, part) for part in state["parts"])
        return cls(first=first, second=second, first_share=float(state["first_share"]))


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """An estimator whose log-odds are mapped to what comes true."""

    inner: Estimator
    calibration: Calibration

    def margins(self, matrix: Matrix) -> Vector:
        """Calibrated log-odds."""
        return self.calibration(self.inner.margins(matrix))

    def save(self, folder: Path) -> dict[str, Any]:
        """The estimator's own files; the calibration in the note."""
        return {"algorithm": "calibrated", "inner": self.inner.save(folder), "calibration": self.calibration.to_json()}

    @classmethod
    def load(cls, folder: Path, state: dict[str, Any]) -> "Calibrated":
        """The inverse of `save`."""
        inner = LOADERS[state["inner"]["algorithm"]](folder, state["inner"])
        return cls(inner=inner, calibration=Calibration.from_json(state["calibration"]))


FITTERS: dict[str, Callable[..., Estimator]] = {
    "xgboost": Trees.fit,
    "logistic": Linear.fit,
    "xgboost_absolute": Trees.fit_absolute,
    "svr": SupportVectors.fit,
}
LOADERS: dict[str, Callable[[Path, dict[str, Any]], Estimator]] = {
    "xgboost": Trees.load,
    "logistic": Linear.load,
    "xgboost_absolute": Trees.load,
    "svr": SupportVectors.load,
    "blend": Blend.load,
    "calibrated": Calibrated.load,
}


def blended(first: Vector, second: Vector, first_share: float) -> Vector:
    """The blend of two margins."""
    return first_share * first + (1.0 - first_share) * second


def save(estimator: Estimator, folder: Path) -> None:
    """Write an estimator and the note that says which it is."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "estimator.json").write_text(json.dumps(estimator.save(folder)))


def load(folder: Path) -> Estimator:
    """Read back what `save` wrote.

    Raises:
        PackageDamaged: an algorithm that this release does not know.
    """
    state = json.loads((folder / "estimator.json").read_text())
    if state["algorithm"] not in LOADERS:
        raise PackageDamaged(f"{folder}: unknown algorithm {state['algorithm']!r}; there is {', '.join(LOADERS)}")
    return LOADERS[state["algorithm"]](folder, state)

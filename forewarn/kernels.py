"""What measures distances or adds up columns: logistic regression and support vectors, on standardised columns."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from forewarn.features import Matrix
from forewarn.tasks import Vector

if TYPE_CHECKING:
    from sklearn.svm import SVR


@dataclass(frozen=True, kw_only=True)
class Standard:
    """One-hot categories and standardised numbers: what models that measure distances need."""

    levels: tuple[int, ...]
    mean: Vector
    scale: Vector

    @classmethod
    def fit(cls, matrix: Matrix, levels: tuple[int, ...]) -> "Standard":
        """Learn mean and deviation of each wide column; a constant one keeps its scale."""
        wide = _one_hot(matrix, levels)
        scale = wide.std(axis=0)
        scale[scale == 0] = 1.0
        return cls(levels=levels, mean=wide.mean(axis=0), scale=scale)

    def wide(self, matrix: Matrix) -> Vector:
        """Shape (n, numbers + sum of levels), float64, row-contiguous."""
        return np.ascontiguousarray((_one_hot(matrix, self.levels) - self.mean) / self.scale)

    def folded(self, wide: Vector) -> Vector:
        """What belongs to the wide columns, summed back onto the matrix's own columns."""
        numbers = [place for place, count in enumerate(self.levels) if not count]
        out = np.zeros((len(wide), len(self.levels)))
        out[:, numbers] = wide[:, : len(numbers)]
        start = len(numbers)
        for place, count in enumerate(self.levels):
            if count:
                out[:, place] = wide[:, start : start + count].sum(axis=1)
                start += count
        return out

    def to_json(self) -> dict[str, Any]:
        """Python writes doubles so that they read back to the same bits."""
        return {"levels": list(self.levels), "mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> "Standard":
        """The inverse of `to_json`."""
        return cls(levels=tuple(state["levels"]), mean=np.array(state["mean"]), scale=np.array(state["scale"]))


@dataclass(frozen=True, kw_only=True)
class Linear:
    """Logistic regression, as plain arrays."""

    standard: Standard
    weights: Vector
    intercept: float
    exactness: ClassVar[str] = "exact linear terms"

    @classmethod
    def fit(cls, matrix: Matrix, labels: Vector, levels: tuple[int, ...], *, seed: int, **params: float) -> "Linear":
        """L2-penalised maximum likelihood; C is the inverse strength of the penalty, `scale_pos_weight` what an
        event counts.
        """
        from sklearn.linear_model import LogisticRegression  # 1 s to import, and serving never needs it

        standard = Standard.fit(matrix, levels)
        weights = {0.0: 1.0, 1.0: params.get("scale_pos_weight", 1.0)}
        model = LogisticRegression(C=params["C"], class_weight=weights, max_iter=5000, random_state=seed)
        model.fit(standard.wide(matrix), labels)
        return cls(standard=standard, weights=model.coef_[0], intercept=float(model.intercept_[0]))

    def margins(self, matrix: Matrix) -> Vector:
        """Intercept plus weighted standardised columns."""
        return self.intercept + _dot(self.standard.wide(matrix), self.weights)

    def contributions(self, matrix: Matrix) -> Vector:
        """Weight times distance from the training mean; the last column is the intercept."""
        own = self.standard.folded(self.standard.wide(matrix) * self.weights)
        return np.hstack([own, np.full((len(matrix), 1), self.intercept)])

    def save(self, folder: Path) -> dict[str, Any]:
        """JSON."""
        state = {"standard": self.standard.to_json(), "weights": self.weights.tolist(), "intercept": self.intercept}
        (folder / "logistic.json").write_text(json.dumps(state))
        return {"algorithm": "logistic"}

    @classmethod
    def load(cls, folder: Path, _: dict[str, Any]) -> "Linear":
        """The inverse of `save`."""
        state = json.loads((folder / "logistic.json").read_text())
        weights = np.array(state["weights"], dtype=np.float64)
        return cls(standard=Standard.from_json(state["standard"]), weights=weights, intercept=state["intercept"])


@dataclass(frozen=True, kw_only=True)
class SupportVectors:
    """Support vector regression with an RBF kernel (S3-01)."""

    standard: Standard
    model: "SVR"

    @classmethod
    def fit(
        cls,
        matrix: Matrix,
        labels: Vector,
        levels: tuple[int, ...],
        *,
        seed: int,  # noqa: ARG003
        **params: float,
    ) -> "SupportVectors":
        """Epsilon-insensitive loss; the fit draws no random numbers."""
        from sklearn.svm import SVR  # 1 s to import, and only packages that hold one need it

        standard = Standard.fit(matrix, levels)
        model = SVR(kernel="rbf", C=params["C"], epsilon=params["epsilon"], gamma=params["gamma"], cache_size=50)
        return cls(standard=standard, model=model.fit(standard.wide(matrix), labels))

    def margins(self, matrix: Matrix) -> Vector:
        """Weighted kernels of the support vectors; libsvm takes row by row, so rows do not mix."""
        return np.asarray(self.model.predict(self.standard.wide(matrix)), dtype=np.float64)

    def save(self, folder: Path) -> dict[str, Any]:
        """skops: loading it runs no code, unlike a pickle."""
        import skops.io

        (folder / "svr.skops").write_bytes(_steady(skops.io.dumps(self.model)))
        (folder / "svr.json").write_text(json.dumps(self.standard.to_json()))
        return {"algorithm": "svr"}

    @classmethod
    def load(cls, folder: Path, _: dict[str, Any]) -> "SupportVectors":
        """The inverse of `save`; anything but scikit-learn's and NumPy's own types is refused."""
        import skops.io

        standard = Standard.from_json(json.loads((folder / "svr.json").read_text()))
        return cls(standard=standard, model=skops.io.load(folder / "svr.skops", trusted=[]))


def _one_hot(matrix: Matrix, levels: tuple[int, ...]) -> NDArray[np.float64]:
    """Codes spread over 0/1 columns, numbers kept: shape (n, numbers + sum of levels), row-contiguous."""
    numbers = [column for column, count in enumerate(levels) if not count]
    parts = [matrix[:, numbers].astype(np.float64)]
    parts += [matrix[:, [column]] == np.arange(count) for column, count in enumerate(levels) if count]
    return np.ascontiguousarray(np.hstack(parts), dtype=np.float64)


def _dot(wide: NDArray[np.float64], weights: Vector) -> Vector:
    """Row by row, each sum in the same order whatever the number of rows (pairwise over a contiguous axis)."""
    return np.asarray((wide * weights).sum(axis=1), dtype=np.float64)


def _steady(dumped: bytes) -> bytes:
    """The same skops file without what changes from one dump to the next: addresses in memory, and the time."""
    with ZipFile(BytesIO(dumped)) as given:
        parts = {name: given.read(name) for name in given.namelist()}
    schema = parts.pop("schema.json").decode()
    addresses = dict.fromkeys(re.findall(r'"__id__": (\d+)|"(\d+)\.npy"', schema))
    numbers = {"".join(address): str(number) for number, address in enumerate(addresses)}
    told = {"schema.json": _renumbered(schema, numbers).encode()}
    told |= {_renumbered(name, numbers): content for name, content in parts.items()}
    written = BytesIO()
    with ZipFile(written, "w") as made:
        for name, content in told.items():
            made.writestr(ZipInfo(name), content)
    return written.getvalue()


def _renumbered(text: str, numbers: Mapping[str, str]) -> str:
    return re.sub(r"\d{9,}", lambda found: numbers.get(found.group(), found.group()), text)

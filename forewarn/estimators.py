"""The estimators behind one face: XGBoost trees, logistic regression, support vectors, and blends of them.

Every estimator answers `margins(matrix)`: log-odds or amounts, float64, shape (n,), and gives one row the same bits
whether it comes alone or among a thousand. BLAS does not (it picks its kernel by the shape), hence `_dot`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import xgboost
from numpy.typing import NDArray

from forewarn.errors import PackageDamaged
from forewarn.features import Matrix
from forewarn.tasks import Vector

if TYPE_CHECKING:
    from sklearn.svm import SVR


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


@dataclass(frozen=True)
class Trees:
    """Gradient-boosted trees."""

    booster: xgboost.Booster
    algorithm: str = "xgboost"
    exactness: ClassVar[str] = "exact TreeSHAP"

    @classmethod
    def fit(cls, matrix: Matrix, labels: Vector, levels: tuple[int, ...], *, seed: int, **params: float) -> "Trees":
        """Trees for an event, by the log-loss."""
        return cls(_boosted("binary:logistic", matrix, labels, levels, seed=seed, **params))

    @classmethod
    def fit_absolute(
        cls, matrix: Matrix, labels: Vector, levels: tuple[int, ...], *, seed: int, **params: float
    ) -> "Trees":
        """Trees for an amount, by the absolute error: a few huge amounts must not dominate."""
        return cls(_boosted("reg:absoluteerror", matrix, labels, levels, seed=seed, **params), "xgboost_absolute")

    def margins(self, matrix: Matrix) -> Vector:
        """Sum of the trees' leaves, in XGBoost's own float32, widened."""
        return np.asarray(self.booster.inplace_predict(matrix, predict_type="margin"), dtype=np.float64)

    def contributions(self, matrix: Matrix) -> Vector:
        """TreeSHAP (Lundberg et al. 2020), exact for the trees; the last column is their expected margin."""
        data = xgboost.DMatrix(matrix, feature_types=self.booster.feature_types, enable_categorical=True, nthread=1)
        return np.asarray(self.booster.predict(data, pred_contribs=True), dtype=np.float64)

    def save(self, folder: Path) -> dict[str, Any]:
        """XGBoost's own binary JSON."""
        self.booster.save_model(folder / f"{self.algorithm}.ubj")
        return {"algorithm": self.algorithm}

    @classmethod
    def load(cls, folder: Path, state: dict[str, Any]) -> "Trees":
        """One thread per prediction: more only adds jitter on small inputs (dmlc/xgboost #7734)."""
        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(folder / f"{state['algorithm']}.ubj")
        return cls(booster, state["algorithm"])


def _boosted(
    objective: str, matrix: Matrix, labels: Vector, levels: tuple[int, ...], *, seed: int, **params: float
) -> xgboost.Booster:
    """Train with one thread: small data gains nothing from two, and parallel trials need the cores."""
    rounds = int(params.pop("n_estimators"))
    kinds = ["c" if count else "q" for count in levels]
    data = xgboost.DMatrix(matrix, labels, feature_types=kinds, enable_categorical=True, nthread=1)
    fixed = {"objective": objective, "tree_method": "hist", "nthread": 1, "seed": seed}
    whole = {"max_depth": int(params["max_depth"]), "max_cat_to_onehot": max((*levels, 4)) + 1}
    return xgboost.train({**params, **whole, **fixed}, data, rounds)


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
        """L2-penalised maximum likelihood; C is the inverse strength of the penalty."""
        from sklearn.linear_model import LogisticRegression  # 1 s to import, and serving never needs it

        standard = Standard.fit(matrix, levels)
        model = LogisticRegression(C=params["C"], max_iter=5000, random_state=seed)
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

        skops.io.dump(self.model, folder / "svr.skops")
        (folder / "svr.json").write_text(json.dumps(self.standard.to_json()))
        return {"algorithm": "svr"}

    @classmethod
    def load(cls, folder: Path, _: dict[str, Any]) -> "SupportVectors":
        """The inverse of `save`; anything but scikit-learn's and NumPy's own types is refused."""
        import skops.io

        standard = Standard.from_json(json.loads((folder / "svr.json").read_text()))
        return cls(standard=standard, model=skops.io.load(folder / "svr.skops", trusted=[]))


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


def _one_hot(matrix: Matrix, levels: tuple[int, ...]) -> NDArray[np.float64]:
    """Codes spread over 0/1 columns, numbers kept: shape (n, numbers + sum of levels), row-contiguous."""
    numbers = [column for column, count in enumerate(levels) if not count]
    parts = [matrix[:, numbers].astype(np.float64)]
    parts += [matrix[:, [column]] == np.arange(count) for column, count in enumerate(levels) if count]
    return np.ascontiguousarray(np.hstack(parts), dtype=np.float64)


def _dot(wide: NDArray[np.float64], weights: Vector) -> Vector:
    """Row by row, each sum in the same order whatever the number of rows (pairwise over a contiguous axis)."""
    return np.asarray((wide * weights).sum(axis=1), dtype=np.float64)

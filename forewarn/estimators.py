"""The estimators behind one face: XGBoost trees, logistic regression, and their blend in log-odds.

Every estimator answers `margins(matrix)`: log-odds, float64, shape (n,), and gives one row the same bits
whether it comes alone or among a thousand. BLAS does not (it picks its kernel by the shape), hence `_dot`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xgboost
from numpy.typing import NDArray
from scipy.special import expit

from forewarn.errors import PackageDamaged
from forewarn.features import Matrix
from forewarn.usecase import Vector


class Estimator(Protocol):
    """What a package holds."""

    def margins(self, matrix: Matrix) -> Vector:
        """Log-odds of the event, shape (n,)."""

    def save(self, folder: Path) -> dict[str, Any]:
        """Write native files into the folder; return what `load` needs to find them again."""


def probabilities(margins: Vector) -> Vector:
    """Log-odds to probabilities: 1 / (1 + exp(-m)). `expit` works element by element, so rows do not mix."""
    return np.asarray(expit(margins), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Range:
    """A hyperparameter's range: bounds included, whole numbers if `whole`, drawn on a log scale if `log`."""

    low: float
    high: float
    log: bool = False
    whole: bool = False


SPACES: dict[str, dict[str, Range]] = {
    "xgboost": {
        "n_estimators": Range(low=50, high=600, log=True, whole=True),
        "max_depth": Range(low=1, high=6, whole=True),
        "learning_rate": Range(low=0.01, high=0.3, log=True),
        "subsample": Range(low=0.5, high=1.0),
        "colsample_bytree": Range(low=0.2, high=1.0),
        "min_child_weight": Range(low=0.5, high=20.0, log=True),
        "reg_lambda": Range(low=0.1, high=30.0, log=True),
        "gamma": Range(low=0.0, high=5.0),
    },
    "logistic": {"C": Range(low=0.005, high=5.0, log=True)},
}

# Tried first: additive stumps and a shallow tree (the shapes that won on public data, docs/decisions/0004),
# then three strengths of the linear baseline, which stands in every report.
STARTING_POINTS: dict[str, list[dict[str, float]]] = {
    "xgboost": [
        {
            "n_estimators": 260,
            "max_depth": 1,
            "learning_rate": 0.15,
            "subsample": 0.9,
            "colsample_bytree": 0.35,
            "min_child_weight": 1.0,
            "reg_lambda": 1.0,
            "gamma": 0.0,
        },
        {
            "n_estimators": 250,
            "max_depth": 2,
            "learning_rate": 0.06,
            "subsample": 0.7,
            "colsample_bytree": 0.3,
            "min_child_weight": 3.0,
            "reg_lambda": 5.0,
            "gamma": 0.0,
        },
        {
            "n_estimators": 170,
            "max_depth": 4,
            "learning_rate": 0.07,
            "subsample": 0.55,
            "colsample_bytree": 0.35,
            "min_child_weight": 1.0,
            "reg_lambda": 1.0,
            "gamma": 4.7,
        },
    ],
    "logistic": [{"C": 0.1}, {"C": 0.03}, {"C": 0.5}],
}


@dataclass(frozen=True)
class Trees:
    """Gradient-boosted trees."""

    booster: xgboost.Booster

    @classmethod
    def fit(cls, matrix: Matrix, labels: Vector, levels: tuple[int, ...], *, seed: int, **params: float) -> "Trees":
        """Train with one thread: small data gains nothing from two, and parallel trials need the cores."""
        rounds = int(params.pop("n_estimators"))
        data = xgboost.DMatrix(
            matrix,
            labels,
            feature_types=["c" if count else "q" for count in levels],
            enable_categorical=True,
            nthread=1,
        )
        fixed = {"objective": "binary:logistic", "tree_method": "hist", "nthread": 1, "seed": seed}
        whole = {"max_depth": int(params["max_depth"]), "max_cat_to_onehot": max((*levels, 4)) + 1}
        return cls(xgboost.train({**params, **whole, **fixed}, data, rounds))

    def margins(self, matrix: Matrix) -> Vector:
        """Sum of the trees' leaves, in XGBoost's own float32, widened."""
        return np.asarray(self.booster.inplace_predict(matrix, predict_type="margin"), dtype=np.float64)

    def save(self, folder: Path) -> dict[str, Any]:
        """XGBoost's own binary JSON."""
        self.booster.save_model(folder / "xgboost.ubj")
        return {"algorithm": "xgboost"}

    @classmethod
    def load(cls, folder: Path, _: dict[str, Any]) -> "Trees":
        """One thread per prediction: more only adds jitter on small inputs (dmlc/xgboost #7734)."""
        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(folder / "xgboost.ubj")
        return cls(booster)


@dataclass(frozen=True, kw_only=True)
class Linear:
    """Logistic regression on one-hot categories and standardised numbers, as plain arrays."""

    levels: tuple[int, ...]
    mean: Vector
    scale: Vector
    weights: Vector
    intercept: float

    @classmethod
    def fit(cls, matrix: Matrix, labels: Vector, levels: tuple[int, ...], *, seed: int, **params: float) -> "Linear":
        """L2-penalised maximum likelihood; C is the inverse strength of the penalty."""
        from sklearn.linear_model import LogisticRegression  # 1 s to import, and serving never needs it

        wide = _one_hot(matrix, levels)
        mean, scale = wide.mean(axis=0), wide.std(axis=0)
        scale[scale == 0] = 1.0
        model = LogisticRegression(C=params["C"], max_iter=5000, random_state=seed)
        model.fit((wide - mean) / scale, labels)
        return cls(
            levels=levels,
            mean=mean,
            scale=scale,
            weights=model.coef_[0],
            intercept=float(model.intercept_[0]),
        )

    def margins(self, matrix: Matrix) -> Vector:
        """Intercept plus weighted standardised columns."""
        return self.intercept + _dot((_one_hot(matrix, self.levels) - self.mean) / self.scale, self.weights)

    def save(self, folder: Path) -> dict[str, Any]:
        """JSON: Python writes doubles so that they read back to the same bits."""
        state = {
            "levels": list(self.levels),
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "weights": self.weights.tolist(),
            "intercept": self.intercept,
        }
        (folder / "logistic.json").write_text(json.dumps(state))
        return {"algorithm": "logistic"}

    @classmethod
    def load(cls, folder: Path, _: dict[str, Any]) -> "Linear":
        """The inverse of `save`."""
        state = json.loads((folder / "logistic.json").read_text())
        arrays = {name: np.array(state[name], dtype=np.float64) for name in ("mean", "scale", "weights")}
        return cls(levels=tuple(state["levels"]), intercept=state["intercept"], **arrays)


@dataclass(frozen=True, kw_only=True)
class Blend:
    """Weighted mean of the two log-odds: the linear part steadies the trees where data is scarce."""

    trees: Trees
    linear: Linear
    tree_share: float

    def margins(self, matrix: Matrix) -> Vector:
        """tree_share × trees + (1 - tree_share) × linear."""
        return blended(self.trees.margins(matrix), self.linear.margins(matrix), self.tree_share)

    def save(self, folder: Path) -> dict[str, Any]:
        """Both parts beside each other."""
        self.trees.save(folder)
        self.linear.save(folder)
        return {"algorithm": "blend", "tree_share": self.tree_share}

    @classmethod
    def load(cls, folder: Path, state: dict[str, Any]) -> "Blend":
        """The inverse of `save`."""
        return cls(
            trees=Trees.load(folder, state),
            linear=Linear.load(folder, state),
            tree_share=float(state["tree_share"]),
        )


FITTERS: dict[str, type[Trees] | type[Linear]] = {"xgboost": Trees, "logistic": Linear}
LOADERS: dict[str, type[Trees] | type[Linear] | type[Blend]] = {**FITTERS, "blend": Blend}


def blended(trees: Vector, linear: Vector, tree_share: float) -> Vector:
    """The blend of two margins."""
    return tree_share * trees + (1.0 - tree_share) * linear


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
    return LOADERS[state["algorithm"]].load(folder, state)


def _one_hot(matrix: Matrix, levels: tuple[int, ...]) -> NDArray[np.float64]:
    """Codes spread over 0/1 columns, numbers kept: shape (n, numbers + sum of levels), row-contiguous."""
    numbers = [column for column, count in enumerate(levels) if not count]
    parts = [matrix[:, numbers].astype(np.float64)]
    parts += [matrix[:, [column]] == np.arange(count) for column, count in enumerate(levels) if count]
    return np.ascontiguousarray(np.hstack(parts), dtype=np.float64)


def _dot(wide: NDArray[np.float64], weights: Vector) -> Vector:
    """Row by row, each sum in the same order whatever the number of rows (pairwise over a contiguous axis)."""
    return np.asarray((wide * weights).sum(axis=1), dtype=np.float64)

"""Gradient-boosted trees: what XGBoost is asked for, and what it gives back.

XGBoost is imported where it works, not here: it brings scikit-learn and SciPy, 0.7 s of CPU and 55 MB, which processes
that hold no trees can do without. Importing it again takes 50 ns.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from forewarn.features import Matrix
from forewarn.tasks import Vector

if TYPE_CHECKING:
    import xgboost

OBJECTIVES = {"xgboost": "binary:logistic", "xgboost_absolute": "reg:absoluteerror"}


@dataclass(frozen=True)
class Trees:
    """Gradient-boosted trees."""

    booster: "xgboost.Booster"
    algorithm: str = "xgboost"
    exactness: ClassVar[str] = "exact TreeSHAP"

    @classmethod
    def fit(cls, matrix: Matrix, labels: Vector, levels: tuple[int, ...], *, seed: int, **params: float) -> "Trees":
        """Trees for an event, by the log-loss."""
        return cls(_boosted(OBJECTIVES["xgboost"], matrix, labels, levels, seed=seed, **params))

    @classmethod
    def fit_absolute(
        cls, matrix: Matrix, labels: Vector, levels: tuple[int, ...], *, seed: int, **params: float
    ) -> "Trees":
        """Trees for an amount, by the absolute error: a few huge amounts must not dominate."""
        objective = OBJECTIVES["xgboost_absolute"]
        return cls(_boosted(objective, matrix, labels, levels, seed=seed, **params), "xgboost_absolute")

    def margins(self, matrix: Matrix) -> Vector:
        """Sum of the trees' leaves, in XGBoost's own float32, widened."""
        return np.asarray(self.booster.inplace_predict(matrix, predict_type="margin"), dtype=np.float64)

    def contributions(self, matrix: Matrix) -> Vector:
        """TreeSHAP (Lundberg et al. 2020), exact for the trees; the last column is their expected margin."""
        import xgboost

        data = xgboost.DMatrix(matrix, feature_types=self.booster.feature_types, enable_categorical=True, nthread=1)
        return np.asarray(self.booster.predict(data, pred_contribs=True), dtype=np.float64)

    def save(self, folder: Path) -> dict[str, Any]:
        """XGBoost's own binary JSON."""
        self.booster.save_model(folder / f"{self.algorithm}.ubj")
        return {"algorithm": self.algorithm}

    @classmethod
    def load(cls, folder: Path, state: dict[str, Any]) -> "Trees":
        """One thread per prediction: more only adds jitter on small inputs (dmlc/xgboost #7734)."""
        import xgboost

        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(folder / f"{state['algorithm']}.ubj")
        return cls(booster, state["algorithm"])


@dataclass(frozen=True, kw_only=True)
class Boosting:
    """What XGBoost is asked for, in process or on many machines.

    Attributes:
        kinds: per column "c" for category codes, "q" for numbers.
    """

    params: dict[str, Any]
    rounds: int
    kinds: list[str]

    @classmethod
    def of(cls, objective: str, levels: tuple[int, ...], *, seed: int, **params: float) -> "Boosting":
        """From hyperparameters as a search draws them. One thread: small data gains nothing from two, and parallel
        trials need the cores.
        """
        rounds = int(params.pop("n_estimators"))
        whole = {"max_depth": int(params["max_depth"]), "max_cat_to_onehot": max((*levels, 4)) + 1}
        fixed = {"objective": objective, "tree_method": "hist", "nthread": 1, "seed": seed}
        kinds = ["c" if count else "q" for count in levels]
        return cls(params={**params, **whole, **fixed}, rounds=rounds, kinds=kinds)


def _boosted(
    objective: str, matrix: Matrix, labels: Vector, levels: tuple[int, ...], *, seed: int, **params: float
) -> "xgboost.Booster":
    import xgboost

    asked = Boosting.of(objective, levels, seed=seed, **settled(objective, matrix, labels, levels, seed=seed, **params))
    data = xgboost.DMatrix(matrix, labels, feature_types=asked.kinds, enable_categorical=True, nthread=1)
    return xgboost.train(asked.params, data, asked.rounds)


def settled(
    objective: str, matrix: Matrix, labels: Vector, levels: tuple[int, ...], *, seed: int, **params: float
) -> dict[str, float]:
    """The parameters with `early_stopping_rounds`, if there is one, turned into a number of rounds: those until a
    tenth of these rows, set aside, has not improved for so many (S2-34).
    """
    import xgboost

    patience = int(params.pop("early_stopping_rounds", 0))
    if not patience:
        return params
    asked = Boosting.of(objective, levels, seed=seed, **params)
    data = xgboost.DMatrix(matrix, labels, feature_types=asked.kinds, enable_categorical=True, nthread=1)
    order = np.random.default_rng(seed).permutation(data.num_row())
    aside, rest = order[: len(order) // 10], order[len(order) // 10 :]
    watched = [(data.slice(np.sort(aside)), "aside")]
    found = xgboost.train(asked.params, data.slice(np.sort(rest)), asked.rounds, evals=watched,
                          early_stopping_rounds=patience, verbose_eval=False)  # fmt: skip
    return {**params, "n_estimators": int(found.best_iteration) + 1}

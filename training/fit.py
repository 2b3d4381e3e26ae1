"""The final fit: prove the winners on fresh folds, blend them if that helps, fit on every row, pack."""

import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from forewarn import drift, performance, scoring
from forewarn.errors import ForewarnError
from forewarn.estimators import FITTERS, Blend, Estimator, Linear, Trees, blended, probabilities
from forewarn.features import Features
from forewarn.package import ModelPackage, contract
from forewarn.settings import PROJECT
from forewarn.usecase import UseCase, Vector
from training.data import Examples, Fold
from training.tune import CPUS_PER_TRIAL, Found

# 0 is the linear model alone, 1 the trees alone; a finer grid would fit the folds' noise.
TREE_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
SMOKE_ROWS = 5
LIBRARIES = ("xgboost", "scikit-learn", "numpy", "ray", "optuna", "pydantic")


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What repeated cross-validation says of the chosen model.

    Attributes:
        tree_share: weight of the trees in the blend, in log-odds; 1 or 0 means no blend.
        threshold: probability with the highest F1 over all held-out rows.
        metrics: metric -> mean and standard deviation over folds.
        baselines: algorithm -> mean ROC-AUC over the same folds.
    """

    tree_share: float
    threshold: float
    metrics: dict[str, dict[str, float]]
    baselines: dict[str, float]


def prove(folds: list[Fold], found: Found, *, seed: int) -> Proof:
    """Choose the blend on folds that the search has not seen, and measure it there. Runs as parallel Ray tasks.

    Raises:
        ForewarnError: the search found no parameters at all.
    """
    if not found.best:
        raise ForewarnError("the search found nothing to fit")
    margins = _held_out_margins(folds, found.best, seed)
    labels = [fold.test_labels for fold in folds]
    shares = TREE_SHARES if len(margins) == 2 else (1.0 if "xgboost" in margins else 0.0,)
    mixes = {share: _mix(margins, share) for share in shares}
    share = max(shares, key=lambda share: _mean_auc(labels, mixes[share]))
    chances = [probabilities(mix) for mix in mixes[share]]
    threshold = performance.best_f1_threshold(np.concatenate(labels), np.concatenate(chances))
    measured = [performance.classification(y, p, threshold) for y, p in zip(labels, chances, strict=True)]
    return Proof(
        tree_share=share,
        threshold=threshold,
        metrics=performance.over_folds(measured),
        baselines={algorithm: _mean_auc(labels, own) for algorithm, own in margins.items()},
    )


def fit(
    found: Examples, best: dict[str, dict[str, float]], tree_share: float, *, seed: int
) -> tuple[Features, Estimator]:
    """Features and estimator on every row."""
    features = Features.fit(found.case, found.rows)
    matrix = features.matrix(found.rows)

    def part(algorithm: str) -> Any:
        return FITTERS[algorithm].fit(matrix, found.labels, features.levels, seed=seed, **best[algorithm])

    if tree_share == 1.0:
        return features, part("xgboost")
    if tree_share == 0.0:
        return features, part("logistic")
    trees, linear = part("xgboost"), part("logistic")
    assert isinstance(trees, Trees)
    assert isinstance(linear, Linear)
    return features, Blend(trees=trees, linear=linear, tree_share=tree_share)


def pack(
    found: Examples, features: Features, estimator: Estimator, proof: Proof, record: dict[str, Any]
) -> ModelPackage:
    """Everything that must travel with the model. The smoke rows are made up: no person's row leaves here."""
    case = found.case
    scores = probabilities(estimator.margins(features.matrix(found.rows)))
    made_up = case.sample(SMOKE_ROWS, seed=1)
    return ModelPackage(
        case=case,
        features=features,
        estimator=estimator,
        threshold=proof.threshold,
        metadata={**record, "metrics": proof.metrics, "baselines": proof.baselines, **provenance()},
        contract=contract(case, found.rows),
        reference=drift.profile(case, found.rows, scores),
        smoke=tuple(_smoke(case, made_up)),
    )


def provenance() -> dict[str, Any]:
    """When, from which commit and with which libraries."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_sha": git_sha(),
        "environment": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    }


def _held_out_margins(
    folds: list[Fold], best: dict[str, dict[str, float]], seed: int
) -> dict[str, list[NDArray[np.float64]]]:
    task = ray.remote(num_cpus=CPUS_PER_TRIAL)(_margins)
    shared = [ray.put(fold) for fold in folds]
    pending = {a: [task.remote(fold, a, params, seed) for fold in shared] for a, params in best.items()}
    return {algorithm: ray.get(refs) for algorithm, refs in pending.items()}


def _margins(fold: Fold, algorithm: str, params: dict[str, float], seed: int) -> Vector:
    return FITTERS[algorithm].fit(fold.train, fold.train_labels, fold.levels, seed=seed, **params).margins(fold.test)


def _mix(margins: dict[str, list[Vector]], tree_share: float) -> list[Vector]:
    if len(margins) == 1:
        return next(iter(margins.values()))
    pairs = zip(margins["xgboost"], margins["logistic"], strict=True)
    return [blended(trees, linear, tree_share) for trees, linear in pairs]


def _mean_auc(labels: list[Vector], scores: list[Vector]) -> float:
    return float(np.mean([performance.roc_auc(y, s) for y, s in zip(labels, scores, strict=True)]))


def _smoke(case: UseCase, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, case.key: None} for row in scoring.validate(case, rows).values]


def git_sha() -> str:
    """The checkout's commit; a job runs from a copy without one, and says so."""
    asked = ["git", "-C", str(PROJECT), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return "unknown"
    return found.stdout.strip() or "unknown"

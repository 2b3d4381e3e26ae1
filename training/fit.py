"""The final fit: prove the winners on fresh folds, blend them if that helps, fit on every row, pack."""

import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import ray

from forewarn import drift, performance, scoring
from forewarn.errors import ForewarnError
from forewarn.estimators import FITTERS, Blend, Estimator, blended
from forewarn.features import Features
from forewarn.package import ModelPackage, contract
from forewarn.settings import PROJECT
from forewarn.tasks import Task, Vector
from forewarn.usecase import UseCase
from training.data import Examples, Fold
from training.tune import CPUS_PER_TRIAL, Found

# 0 is the second algorithm alone, 1 the first alone; a finer grid would fit the folds' noise.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
SMOKE_ROWS = 5
LIBRARIES = ("xgboost", "scikit-learn", "numpy", "ray", "optuna", "pydantic")


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What repeated cross-validation says of the chosen model.

    Attributes:
        parts: the algorithms that make up the model: one, or two that are blended.
        first_share: weight of the first, in margins; 1 means no blend.
        rule: learned from all held-out rows: the threshold with the highest F1, or the 90 % interval.
        metrics: metric -> mean and standard deviation over folds.
        baselines: algorithm -> mean selection metric over the same folds.
    """

    parts: tuple[str, ...]
    first_share: float
    rule: dict[str, float]
    metrics: dict[str, dict[str, float]]
    baselines: dict[str, float]


def prove(task: Task, folds: list[Fold], found: Found, *, seed: int) -> Proof:
    """Choose the blend on folds that the search has not seen, and measure it there. Runs as parallel Ray tasks.

    Raises:
        ForewarnError: the search found no parameters at all.
    """
    if not found.best:
        raise ForewarnError("the search found nothing to fit")
    margins = _held_out_margins(folds, found.best, seed)
    labels = [fold.test_labels for fold in folds]
    first, second = ([name for name in task.algorithms if name in margins] * 2)[:2]
    mixes = {share: _mix(margins[first], margins[second], share) for share in (SHARES if first != second else (1.0,))}
    share = max(mixes, key=lambda share: _rank(task, labels, mixes[share]))
    scores = [task.scores(mix) for mix in mixes[share]]
    rule = performance.learn_rule(task, np.concatenate(labels), np.concatenate(scores))
    measured = [performance.measure(task, y, given, rule) for y, given in zip(labels, scores, strict=True)]
    return Proof(
        parts={1.0: (first,), 0.0: (second,)}.get(share, (first, second)),
        first_share=share or 1.0,
        rule=rule,
        metrics=performance.over_folds(measured),
        baselines={algorithm: _mean_selection(task, labels, own) for algorithm, own in margins.items()},
    )


def fit(found: Examples, best: dict[str, dict[str, float]], proof: Proof, *, seed: int) -> tuple[Features, Estimator]:
    """Features and estimator on every row."""
    features = Features.fit(found.case, found.rows)
    matrix = features.matrix(found.rows)
    fitted = [FITTERS[name](matrix, found.labels, features.levels, seed=seed, **best[name]) for name in proof.parts]
    if len(fitted) == 1:
        return features, fitted[0]
    return features, Blend(first=fitted[0], second=fitted[1], first_share=proof.first_share)


def smoke_rows(case: UseCase) -> list[dict[str, Any]]:
    """Made-up rows that a package must score alike wherever it is loaded: no person's row leaves here.

    Raises:
        MissingField, RowRejected: the use case's own generator makes rows that its schema refuses.
    """
    return [case.anonymous(row) for row in scoring.validate(case, case.sample(SMOKE_ROWS, seed=1)).values]


def pack(
    found: Examples, features: Features, estimator: Estimator, proof: Proof, record: dict[str, Any]
) -> ModelPackage:
    """Everything that must travel with the model."""
    case = found.case
    scores = case.task.scores(estimator.margins(features.matrix(found.rows)))
    return ModelPackage(
        case=case,
        features=features,
        estimator=estimator,
        rule=proof.rule,
        metadata={**record, **_account(proof), "fields": list(features.fields), **provenance()},
        contract=contract(case, found.rows),
        reference=drift.profile(case, found.rows, scores),
        smoke=tuple(smoke_rows(case)),
    )


def _account(proof: Proof) -> dict[str, Any]:
    return {
        "algorithm": "+".join(proof.parts),
        "first_share": proof.first_share,
        "metrics": proof.metrics,
        "baselines": proof.baselines,
    }


def provenance() -> dict[str, Any]:
    """When, from which commit and with which libraries."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_sha": git_sha(),
        "environment": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    }


def _held_out_margins(folds: list[Fold], best: dict[str, dict[str, float]], seed: int) -> dict[str, list[Vector]]:
    task = ray.remote(num_cpus=CPUS_PER_TRIAL)(_margins)
    shared = [ray.put(fold) for fold in folds]
    pending = {a: [task.remote(fold, a, params, seed) for fold in shared] for a, params in best.items()}
    return {algorithm: ray.get(refs) for algorithm, refs in pending.items()}


def _margins(fold: Fold, algorithm: str, params: dict[str, float], seed: int) -> Vector:
    return FITTERS[algorithm](fold.train, fold.train_labels, fold.levels, seed=seed, **params).margins(fold.test)


def _mix(first: list[Vector], second: list[Vector], share: float) -> list[Vector]:
    return [blended(one, other, share) for one, other in zip(first, second, strict=True)]


def _mean_selection(task: Task, labels: list[Vector], margins: list[Vector]) -> float:
    return float(np.mean([performance.selection(task, y, own) for y, own in zip(labels, margins, strict=True)]))


def _rank(task: Task, labels: list[Vector], margins: list[Vector]) -> float:
    """Higher is better, whatever the metric."""
    found = _mean_selection(task, labels, margins)
    return found if task.larger_is_better else -found


def git_sha() -> str:
    """The checkout's commit; a job runs from a copy without one, and says so."""
    asked = ["git", "-C", str(PROJECT), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return "unknown"
    return found.stdout.strip() or "unknown"

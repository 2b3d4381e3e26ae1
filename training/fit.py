"""The final fit on every row, in process or on many workers, and everything that must travel with the model."""

import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np

from forewarn import expectations, explain, fairness, intervals, performance, reference, scoring, slices
from forewarn.estimators import Blend, Calibrated, Estimator
from forewarn.evidence import Bin, Evidence, Trial
from forewarn.features import Features, Matrix
from forewarn.package import ModelPackage, contract
from forewarn.tasks import Classification, Vector
from forewarn.trees import OBJECTIVES, Trees
from forewarn.usecase import UseCase
from training.data import Examples
from training.proof import Proof
from training.recipes import Recipe
from training.tune import Found

Backend = Literal["auto", "in-process", "ray-train", "xgboost-ray"]
SMOKE_ROWS = 5
LIBRARIES = ("xgboost", "scikit-learn", "numpy", "ray", "optuna", "pydantic")
TIMED_ROWS = 200
# Sampled explanations take 5 ms a row; the mean over 200 rows ranks fields well enough.
EXPLAINED_ROWS = 200
SHOWN_POINTS = 1000
CURVE_POINTS = 200


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Where the final fit of trees runs.

    Attributes:
        backend: `auto` is in process up to `rows_above` rows, and Ray Train beyond.
        folder: for checkpoints.
    """

    folder: Path
    backend: Backend = "auto"
    workers: int = 2
    # Starting workers costs 25 to 45 s; calculated from 100k and 1M rows, two of them save that from 1.6M rows on.
    rows_above: int = 2_000_000

    def chosen(self, rows: int) -> Backend:
        """What `auto` means for so many rows."""
        if self.backend != "auto":
            return self.backend
        return "ray-train" if rows > self.rows_above else "in-process"


def fit(found: Examples, proof: Proof, engine: Engine, *, seed: int) -> tuple[Features, Estimator]:
    """Features and estimator on every row.

    Raises:
        CannotStart: the backend is not installed, or the cluster cannot hold its workers.
    """
    features = Features.fit(found.case, found.rows)
    matrix = features.matrix(found.rows)
    parts = [_fitted(recipe, matrix, found.labels, features.levels, engine, seed) for recipe in proof.parts]
    learned = proof.learned
    whole = parts[0] if len(parts) == 1 else Blend(first=parts[0], second=parts[1], first_share=learned.share)
    if learned.calibration.method == "none":
        return features, whole
    return features, Calibrated(inner=whole, calibration=learned.calibration)


def refuse_backend(backend: Backend, workers: int) -> None:
    """Tell what a backend lacks before the search, and not after it. Within a connected Ray.

    Raises:
        CannotStart: it is not installed, or the cluster cannot hold its workers.
    """
    if backend in ("auto", "in-process"):
        return
    from training import distributed, legacy_xgboost_ray  # Ray Train and Ray Data take seconds to import

    if backend == "xgboost-ray":
        legacy_xgboost_ray.refuse_missing()
    distributed.refuse_crowd(workers, {"CPU": distributed.CPUS_PER_WORKER})


def _fitted(
    recipe: Recipe, matrix: Matrix, labels: Vector, levels: tuple[int, ...], engine: Engine, seed: int
) -> Estimator:
    backend = engine.chosen(len(matrix))
    if recipe.algorithm not in OBJECTIVES or backend == "in-process":
        return recipe.fit(matrix, labels, levels, seed=seed)
    from training import distributed, legacy_xgboost_ray  # Ray Train and Ray Data take seconds to import

    matrix, labels, params = recipe.balanced(matrix, labels, levels, seed=seed)
    objective = OBJECTIVES[recipe.algorithm]
    train = distributed.fit_booster if backend == "ray-train" else legacy_xgboost_ray.fit_booster
    booster = train(objective, matrix, labels, levels, seed=seed, workers=engine.workers, folder=engine.folder,
                    device=distributed.device(), **params)  # fmt: skip
    return Trees(booster, recipe.algorithm)


def smoke_rows(case: UseCase) -> list[dict[str, Any]]:
    """Made-up rows that a package must score alike wherever it is loaded: no person's row leaves here.

    Raises:
        MissingField, RowRejected: the use case's own generator makes rows that its schema refuses.
    """
    return [case.anonymous(row) for row in scoring.validate(case, case.sample(SMOKE_ROWS, seed=1)).values]


def pack(
    found: Examples, features: Features, estimator: Estimator, proof: Proof, account: dict[str, Any]
) -> ModelPackage:
    """Everything that must travel with the model, but for what a clock or a judge says of it."""
    case = found.case
    matrix = features.matrix(found.rows)
    return ModelPackage(
        case=case,
        features=features,
        estimator=estimator,
        rule=proof.learned.rule,
        metadata={**_made_of(proof), **account, "fields": list(features.fields), "environment": environment()},
        contract=contract(case, found.rows),
        # Scores out of fold: those of rows that it learned from are surer than any it will give.
        reference=reference.profile(
            case, found.rows, proof.scores, derived=features.derived_of(matrix), labels=found.labels
        ),
        smoke=tuple(smoke_rows(case)),
    )


def evidence(
    found: Examples, package: ModelPackage, proof: Proof, best: Found, known: dict[str, Any], *, seed: int
) -> Evidence:
    """Everything that is known of it. Groups and curves are of the first repeat's out-of-fold scores."""
    case, task, rule = package.case, package.case.task, proof.learned.rule
    rows = [found.rows[place] for place in proof.places]
    given = (case, rows, proof.labels, proof.scores, rule)
    return Evidence(
        metrics=proof.metrics,
        known_subjects=known,
        intervals=intervals.bootstrap(task, proof.labels, proof.scores, rule, seed=seed),
        baselines=proof.baselines,
        comparisons=proof.comparisons,
        fairness=fairness.report(*given, seed=seed),
        slices=slices.slices(*given, seed=seed),
        directions=expectations.directions(case, rows, lambda moved: package.predict(package.prepare(moved))),
        importance=_importance(package, rows, seed),
        trials=[
            Trial(name=trial.name, algorithm=trial.algorithm, score=trial.score, whole=trial.whole)
            for trial in best.trials
        ],
        balances=best.balances(task),
        reliability=_reliability(proof),
        calibration=proof.learned.calibration.method,
        calibration_loss=proof.learned.losses,
        **(_curves(proof) if isinstance(task, Classification) else {"forecasts": _pairs(proof, seed)}),
    )


def row_ms(package: ModelPackage, *, seed: int) -> float:
    """How long one row takes from raw to score in process, milliseconds.

    The median: the 95th percentile tells what else ran on the machine (0.9 ms idle, 9.7 ms beside another training).
    """
    rows = package.case.sample(TIMED_ROWS, seed=seed)
    taken = []
    for row in rows:
        began = perf_counter()
        scoring.score(package, scoring.validate(package.case, [row]).values)
        taken.append(perf_counter() - began)
    return float(np.median(taken)) * 1000


def environment() -> dict[str, str]:
    """Library -> its version."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def now() -> str:
    """In UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _made_of(proof: Proof) -> dict[str, Any]:
    return {
        "algorithm": "+".join(part.algorithm for part in proof.parts),
        "parts": [part.to_json() for part in proof.parts],
        "first_share": proof.learned.share,
        "calibration": proof.learned.calibration.method,
        "metrics": proof.metrics,
        "baselines": proof.baselines,
    }


def _importance(package: ModelPackage, rows: list[dict[str, Any]], seed: int) -> dict[str, float]:
    """Raw field -> mean absolute contribution, the largest first."""
    random = np.random.default_rng(seed)
    some = [rows[place] for place in random.permutation(len(rows))[:EXPLAINED_ROWS]]
    why = explain.contributions(package, some, package.prepare(some))
    mean = np.abs(why.values).mean(axis=0)
    return {package.case.spec[why.fields[place]].wire: float(mean[place]) for place in np.argsort(-mean, kind="stable")}


def _reliability(proof: Proof) -> dict[str, list[Bin]]:
    chosen = performance.bins(proof.labels, proof.scores)
    if proof.learned.calibration.method == "none":
        return {"chosen": chosen}
    return {"raw": performance.bins(proof.labels, proof.raw), "chosen": chosen}


def _curves(proof: Proof) -> dict[str, Any]:
    return performance.curves(proof.labels, proof.scores, proof.learned.rule["threshold"], points=CURVE_POINTS)


def _pairs(proof: Proof, seed: int) -> list[tuple[float, float]]:
    shown = np.random.default_rng(seed).permutation(len(proof.labels))[:SHOWN_POINTS]
    return list(zip(proof.scores[shown].tolist(), proof.labels[shown].tolist(), strict=True))


def describe(found: Examples) -> dict[str, Any]:
    """The table, for the record."""
    return {"rows": len(found.rows), "rejected": len(found.rejects), "quality": asdict(found.quality)}

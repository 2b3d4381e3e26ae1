"""The final fit on several workers, on the session's real cluster, which this process is connected to."""

import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.metrics import roc_auc_score

from forewarn import scoring, usecases
from forewarn.errors import CannotStart
from forewarn.features import Features, Matrix
from forewarn.tasks import Vector
from forewarn.trees import Trees
from tests.conftest import until
from training import distributed, fit, legacy_xgboost_ray

PARAMS = {"max_depth": 4, "learning_rate": 0.2, "subsample": 1.0, "colsample_bytree": 1.0}
ASKED: dict[str, Any] = {"objective": "binary:logistic", "seed": 1, "workers": 2}
# Fewer steps than XGBoost has bins, so that every worker knows every cut, and the trees must be the same.
STEPS = 100


@pytest.fixture(scope="module")
def examples() -> tuple[Matrix, Vector, tuple[int, ...]]:
    """Sorted by the label, with a contract that the first shard alone has."""
    case = usecases.get("churn")
    raw = case.sample(3000, seed=1)
    rows = scoring.validate(case, raw).values
    labels = case.task.labels(case.target, [row[case.target] for row in raw])
    features = Features.fit(case, rows)
    matrix = stepped(features.matrix(rows), features.levels)
    order = np.argsort(labels)
    matrix, labels = matrix[order], labels[order]
    contract = features.levels.index(max(features.levels))
    rare = matrix[:, contract] == max(features.levels) - 1
    matrix[rare, contract] = 0
    matrix[np.random.default_rng(1).permutation(len(matrix))[:50], contract] = max(features.levels) - 1
    return matrix, labels, features.levels


def stepped(matrix: Matrix, levels: tuple[int, ...]) -> Matrix:
    out = matrix.copy()
    for column in [place for place, count in enumerate(levels) if not count]:
        known = ~np.isnan(out[:, column])
        steps = np.quantile(out[known, column], np.linspace(0, 1, STEPS))
        out[known, column] = steps[np.searchsorted(steps, out[known, column]).clip(max=STEPS - 1)]
    return out


def probability(booster: xgboost.Booster, matrix: Matrix) -> Vector:
    return 1 / (1 + np.exp(-Trees(booster).margins(matrix)))


@pytest.mark.cluster
@pytest.mark.parametrize("backend", [distributed, legacy_xgboost_ray], ids=["ray-train", "xgboost-ray"])
@pytest.mark.usefixtures("service")
def test_two_workers_learn_what_one_process_learns(
    backend: Any, examples: tuple[Matrix, Vector, tuple[int, ...]], tmp_path: Path
) -> None:
    matrix, labels, levels = examples
    alone = Trees.fit(matrix, labels, levels, seed=1, n_estimators=15, **PARAMS).booster
    shared = backend.fit_booster(
        matrix=matrix, labels=labels, levels=levels, folder=tmp_path, n_estimators=15, **ASKED, **PARAMS
    )
    assert (shared.num_boosted_rounds(), shared.feature_types) == (15, alone.feature_types)
    one, two = probability(alone, matrix), probability(shared, matrix)
    assert abs(roc_auc_score(labels, one) - roc_auc_score(labels, two)) < 0.005
    assert np.abs(one - two).mean() < 0.001


@pytest.mark.cluster
@pytest.mark.usefixtures("service")
def test_a_fit_whose_worker_is_killed_goes_on_from_its_checkpoint(
    examples: tuple[Matrix, Vector, tuple[int, ...]], tmp_path: Path
) -> None:
    matrix, labels, levels = examples
    many = np.tile(matrix, (20, 1)), np.tile(labels, 20)
    with ThreadPoolExecutor(1) as pool:
        fit = pool.submit(
            distributed.fit_booster, matrix=many[0], labels=many[1], levels=levels, folder=tmp_path, n_estimators=100,
            **ASKED, **PARAMS,
        )  # fmt: skip
        until(
            lambda: fit.done() or list(tmp_path.glob("*/checkpoint_manager_snapshot.json")),
            seconds=90,
            what="a checkpoint that is known",
        )
        os.kill(next(start["pid"] for start in starts(tmp_path) if start["rank"] == 1), signal.SIGKILL)
        booster = fit.result(timeout=120)
    assert booster.num_boosted_rounds() == 100
    behind = [start["rounds_done"] for start in starts(tmp_path)]
    assert behind[:2] == [0, 0]
    assert len(behind) == 4
    assert behind[2] == behind[3] >= 20


def starts(folder: Path) -> list[dict[str, int]]:
    note = next(folder.glob(f"*/{distributed.STARTS}"))
    return [json.loads(line) for line in note.read_text().splitlines()]


@pytest.mark.cluster
@pytest.mark.parametrize("backend", [distributed, legacy_xgboost_ray], ids=["ray-train", "xgboost-ray"])
@pytest.mark.usefixtures("service")
def test_more_workers_than_the_cluster_can_ever_hold_are_refused_at_once(
    backend: Any, examples: tuple[Matrix, Vector, tuple[int, ...]], tmp_path: Path
) -> None:
    matrix, labels, levels = examples
    asked = {**ASKED, **PARAMS, "workers": 10_000, "n_estimators": 15}
    with pytest.raises(CannotStart, match=r"10000 workers of 0.5 CPU each .* has room for \d+; ask for fewer"):
        backend.fit_booster(matrix=matrix, labels=labels, levels=levels, folder=tmp_path, **asked)


@pytest.mark.cluster
@pytest.mark.usefixtures("service")
def test_a_cluster_without_gpus_trains_on_its_cpus() -> None:
    assert distributed.device() == "cpu"


def test_xgboost_ray_that_is_not_there_is_told_in_one_sentence(
    examples: tuple[Matrix, Vector, tuple[int, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xgboost_ray", None)
    matrix, labels, levels = examples
    told = r"pip install 'forewarn\[xgboost-ray\]', or use --backend ray-train"
    with pytest.raises(CannotStart, match=told):
        fit.refuse_backend("xgboost-ray", workers=2)  # before a search
    with pytest.raises(CannotStart, match=told):
        legacy_xgboost_ray.fit_booster(
            matrix=matrix, labels=labels, levels=levels, folder=tmp_path, n_estimators=15, **ASKED, **PARAMS
        )

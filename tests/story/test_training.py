"""Whole trainings on the session's cluster: what they leave behind, what they refuse, and that they repeat."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from forewarn import approval, package, usecases
from forewarn.errors import CannotStart
from forewarn.evidence import Evidence
from forewarn.registry import Registry
from forewarn.releases import Releases
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from jobs import train, up, versions
from tests.conftest import Service
from training import data, exports, presets, tune
from training.order import Trained

pytestmark = pytest.mark.cluster
ATTRITION = usecases.get("attrition")
CHURN = usecases.get("churn")
QUICK = train.Wishes(trials=6, budget_s=120, by="trainer")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """One registry for all: making MLflow's tables takes 5 s."""
    return Settings(home=tmp_path_factory.mktemp("home"))


def trained(case: UseCase, raw: list[dict[str, Any]], settings: Settings, wishes: train.Wishes = QUICK) -> Trained:
    return train.run(case, raw, {"name": "planted"}, settings, wishes)


def contents(settings: Settings, case: UseCase, version: str) -> dict[str, bytes]:
    folder = Registry(settings).fetch(case, version)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def gathered(settings: Settings, version: str) -> Evidence:
    return Evidence.from_json(versions.open_version(CHURN, version, settings).evidence)


@pytest.mark.requirement("S2-34")
def test_the_same_rows_and_seed_give_the_same_package_bytes(service: Service, home: Settings) -> None:
    """However the trials raced each other; but for the one file that says when it was and how long it took."""
    raw = ATTRITION.sample(700, seed=3)
    one, other = (contents(home, ATTRITION, trained(ATTRITION, raw, home).version) for _ in range(2))
    assert one.keys() == other.keys()
    differing = {name for name in one if one[name] != other[name]}
    assert differing <= {"record.json", package.MANIFEST}


@pytest.mark.requirement("S1-24")
@pytest.mark.requirement("S1-29")
def test_a_planted_unfair_file_is_registered_as_rejected_with_its_reason(service: Service, home: Settings) -> None:
    """What makes men leave is in the file; women leave for reasons that it does not hold."""
    raw = ATTRITION.sample(2500, seed=4)
    random = np.random.default_rng(0)
    women = [row for row in raw if row["Gender"] == "Female"]
    for row, label in zip(women, random.permutation([row["Attrition"] for row in women]), strict=True):
        row["Attrition"] = str(label)
    found = trained(ATTRITION, raw, home)
    assert found.status == "rejected"
    assert any("Gender" in reason and "recall" in reason for reason in found.reasons), found.reasons
    assert Releases(home.packages).champion(ATTRITION) is None
    standing = approval.standings(ATTRITION, home)[-1]
    assert (standing.status, standing.by) == ("rejected", "gates")
    assert "Gender" in standing.why
    with pytest.raises(CannotStart, match=r"is rejected, and no other version may serve.*Gender"):
        up.let_in(ATTRITION, found, home)


@pytest.mark.requirement("S2-37")
@pytest.mark.requirement("S2-35")
def test_the_run_holds_the_table_the_pictures_and_the_card(service: Service) -> None:
    client = MlflowClient(tracking_uri=service.settings.mlflow_uri)
    champion = versions.open_version(ATTRITION, service.trained.version, service.settings)
    run = client.get_run(champion.card["mlflow_run"])
    (table,) = run.inputs.dataset_inputs
    assert table.dataset.name.startswith("attrition.sample")
    assert "EmployeeNumber" not in table.dataset.schema
    there = {item.path for item in client.list_artifacts(run.info.run_id, "export/pictures")}
    assert {f"export/pictures/{name}.png" for name in ("confusion_matrix", "importance", "calibration")} <= there
    assert "export/card.html" in {item.path for item in client.list_artifacts(run.info.run_id, "export")}


@pytest.mark.requirement("S2-38")
def test_a_version_is_exported_beside_its_card(service: Service) -> None:
    folder = service.settings.exports / "attrition" / service.trained.version
    assert Path(service.trained.card) == folder / "card.html"
    assert {path.name for path in folder.iterdir()} >= {
        "model.pkl", "model.json", "metadata.yaml", "feature_names.txt", "model_metadata.json", "card.html", "card.md",
        exports.PICTURES,
    }  # fmt: skip


def test_the_package_carries_its_evidence_and_every_gate(service: Service) -> None:
    champion = versions.open_version(ATTRITION, service.trained.version, service.settings)
    evidence = Evidence.from_json(champion.evidence)
    assert {found.against for found in evidence.comparisons} == {"majority", "xgboost", "logistic"}
    assert {found.field for found in evidence.fairness.before} == {"Age", "Gender", "MaritalStatus"}
    assert len(evidence.trials) == service.trained.trials
    checks = {check["gate"] for check in champion.card["verdict"]["checks"]}
    assert checks >= {"better than trivial", "baseline", "fairness", "calibration", "direction", "latency", "size"}
    assert champion.card["trained_by"] == "trainer"


@pytest.mark.requirement("C15")
@pytest.mark.requirement("C25")
@pytest.mark.requirement("S2-30")
@pytest.mark.requirement("S2-32")
def test_ways_to_balance_compete_and_the_grid_is_held_against_their_champion(service: Service, home: Settings) -> None:
    raw = CHURN.sample(800, seed=5)
    ways = ("none", "smote", "scale_pos_weight")
    first = trained(CHURN, raw, home, replace(QUICK, trials=10, balance=ways, threshold="cost"))
    assert set(first.balances) == set(ways)
    assert first.rule["threshold"] < 0.5  # a lost customer costs five calls
    assert (first.status, first.champion) == ("approved", first.version)

    grid = trained(CHURN, raw, home, replace(QUICK, trials=4, preset="grid", backend="ray-train"))
    evidence = gathered(home, grid.version)
    assert [(trial.algorithm, trial.whole) for trial in evidence.trials] == [("xgboost", True)] * 4
    assert first.version in {found.against for found in evidence.comparisons}
    assert grid.baselines.keys() >= {"majority", "xgboost", "logistic"}
    assert versions.open_version(CHURN, grid.version, home).card["backend"] == "ray-train"


def test_subjects_that_repeat_are_measured_unseen_and_known(service: Service, home: Settings) -> None:
    case = usecases.get("absenteeism")
    raw = case.sample(400, seed=8)
    for place, row in enumerate(raw):
        row["ID"] = f"W{place % 40}"
    assert data.repeats_subjects(data.examples(case, raw))
    found = trained(case, raw, home)
    assert found.known_subjects.keys() == found.metrics.keys()


def test_a_search_keeps_a_worker_for_each_slot(service: Service, tmp_path: Path) -> None:
    """Ray Tune by itself is left with one after a while (docs/decisions/0012)."""
    task = replace(CHURN.task, algorithms=("xgboost",))
    folds = list(data.folds(data.examples(CHURN, CHURN.sample(2000, seed=2)), repeats=2, seed=0))
    tune.search(
        folds,
        task=task,
        preset=presets.preset("default", task, seed=0),
        budget=tune.Budget(trials=16, seconds=300),
        seed=0,
        folder=tmp_path,
        heard=lambda _: None,
    )
    results = [json.loads(path.read_text().splitlines()[-1]) for path in (tmp_path / "tune").glob("*/result.json")]
    workers = {result["config"]["number"]: result["pid"] for result in results}
    assert len(workers) == 16
    assert len(set(workers.values())) == len({workers[number] for number in range(8, 16)}) == tune.at_a_time()

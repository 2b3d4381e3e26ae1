"""The main story on a real Ray: train, register, deploy, predict over HTTP, retrain, follow the new version."""

import json
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from forewarn import approval, scoring, usecases
from forewarn.errors import ForewarnError
from forewarn.package import ModelPackage
from forewarn.registry import Registry
from forewarn.releases import Releases
from forewarn.settings import PROJECT
from jobs import evaluate, submit, versions
from jobs.cli import app as cli
from tests.conftest import Service, until

pytestmark = pytest.mark.cluster
ATTRITION = usecases.get("attrition")


def probabilities(service: Service, rows: list[dict[str, object]]) -> list[float]:
    answer = service.client.post("/v1/attrition/predict", json=rows)
    assert answer.status_code == 200, answer.text
    return [prediction["probability"] for prediction in answer.json()["predictions"]]


def champion(service: Service) -> ModelPackage:
    releases = Releases(service.settings.packages)
    version = releases.champion(ATTRITION)
    assert version
    return releases.load(ATTRITION, version)


def test_training_leaves_a_champion_a_parent_run_and_a_nested_run_per_trial(service: Service) -> None:
    trained = service.trained
    assert 0.75 <= trained.metrics["roc_auc"]["mean"] <= 0.90
    assert set(trained.baselines) == {"majority", "xgboost", "logistic"}
    assert trained.status == "pending_approval"  # and then let in by whoever started the application
    assert Registry(service.settings).aliased(ATTRITION, "champion") == trained.version
    client = MlflowClient(tracking_uri=service.settings.mlflow_uri)
    parent = champion(service).card["mlflow_run"]
    experiment = client.get_run(parent).info.experiment_id
    nested = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert len(nested) == trained.trials
    assert {run.data.params["algorithm"] for run in nested} == {"xgboost", "logistic"}
    assert all(run.data.metrics["folds"] == 10 for run in nested if run.data.params["algorithm"] == "logistic")
    assert not service.settings.searches.exists() or not list(service.settings.searches.iterdir())


def test_the_package_says_where_it_is_from(service: Service) -> None:
    metadata = champion(service).card
    assert metadata["data"]["rows"] == service.trained.rows
    assert metadata["environment"].keys() >= {"python", "xgboost", "ray"}
    assert re.fullmatch("[0-9a-f]{40}", metadata["git_sha"]) or not (PROJECT / ".git").exists()


@pytest.mark.requirement("S0-01")
def test_service_evaluation_and_training_give_the_same_bits(service: Service) -> None:
    labelled = ATTRITION.sample(300, seed=42)
    raw = [{name: value for name, value in row.items() if name != ATTRITION.target} for row in labelled]
    package = champion(service)
    rows = scoring.validate(ATTRITION, raw).values
    ours = scoring.score(package, rows).values
    assert probabilities(service, raw) == ours.tolist()
    assert [probabilities(service, [row])[0] for row in raw[:20]] == ours[:20].tolist()
    measured = evaluate.measure(ATTRITION, labelled, versions.open_version(ATTRITION, None, service.settings))
    assert measured["brier"] == pytest.approx(
        np.mean((ours - ATTRITION.task.labels("Attrition", [r["Attrition"] for r in labelled])) ** 2)
    )
    fetched = Registry(service.settings).fetch(ATTRITION, package.version)
    registered = ModelPackage.load(ATTRITION, fetched, version=package.version)
    np.testing.assert_array_equal(scoring.score(registered, rows).values, ours)


def test_requests_that_travel_together_get_each_their_own_answer(service: Service) -> None:
    raw = [{k: v for k, v in row.items() if k != ATTRITION.target} for row in ATTRITION.sample(200, seed=7)]
    expected = scoring.score(champion(service), scoring.validate(ATTRITION, raw).values).values.tolist()
    with ThreadPoolExecutor(16) as clients:
        answered = list(clients.map(lambda row: service.client.post("/predict", json=row).json()["probability"], raw))
    assert answered == expected


@pytest.mark.requirement("C6")
def test_errors_come_through_the_proxy_in_our_own_words(service: Service) -> None:
    for answer, status in (
        (service.client.get("/nothing"), 404),
        (service.client.post("/predict", json={"OverTime": 1}), 400),
        (service.client.post("/predict", json={"OverTime": 1, "MonthlyIncome": -1}), 422),
        (service.client.post("/predict", json={}, headers={"X-API-Key": "fw_wrong"}), 403),
    ):
        assert answer.status_code == status
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert service.client.post("/predict", json={}, headers={"X-Request-ID": "mine"}).json()["request_id"] == "mine"


def test_evaluate_prints_every_key_that_was_promised(
    service: Service, public_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREWARN_HOME", str(service.settings.home))
    file = str(public_data / "ibm_hr_attrition.csv")
    result = CliRunner().invoke(cli, ["evaluate", "attrition", "--data", file, "--version", "1", "--json"])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed.keys() >= {
        "use_case", "version", "rows", "roc_auc", "pr_auc", "f1", "recall", "precision", "accuracy", "brier",
        "majority_accuracy",
    }  # fmt: skip
    assert (printed["use_case"], printed["version"], printed["rows"]) == ("attrition", "v1", 1102)
    assert printed["majority_accuracy"] == pytest.approx(0.838, abs=0.001)


def test_a_search_whose_driver_is_killed_goes_on_where_it_stopped(service: Service) -> None:
    seeded = [sys.executable, "-m", "jobs.train", "attrition", "--seed", "5", "--trials"]

    def lines() -> int:
        return sum(len(path.read_text().splitlines()) for path in service.settings.searches.glob("*/finished.jsonl"))

    with subprocess.Popen([*seeded, "40"], env=service.environment(), cwd=PROJECT, stderr=subprocess.DEVNULL) as driver:
        until(lambda: lines() >= 4, seconds=120, what="four trials ended")
        driver.kill()
    before = lines()
    again = subprocess.run([*seeded, str(before + 3)], env=service.environment(), cwd=PROJECT, capture_output=True,
                           text=True, check=True)  # fmt: skip
    report = json.loads(again.stdout)
    assert report["trials"] == before + 3
    assert again.stderr.count("trial ended") == 3
    client = MlflowClient(tracking_uri=service.settings.mlflow_uri)
    parent = versions.open_version(ATTRITION, report["version"], service.settings).card["mlflow_run"]
    nested = client.search_runs([client.get_run(parent).info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert len(nested) == report["trials"]


def test_a_new_version_takes_over_without_a_failed_request(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """Retrained as a Ray job, while requests keep coming."""
    before = until_served(service, Releases(service.settings.packages).champion(ATTRITION))
    stop = threading.Event()
    statuses: list[int] = []

    def keep_asking() -> None:
        while not stop.is_set():
            statuses.append(service.client.post("/predict", json=dict(ATTRITION.examples[0].row)).status_code)

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        with service.noted():
            submit.follow(service.settings, "jobs.train", ["attrition", "--trials", "6", "--seed", "9"])
        registry = Registry(service.settings)
        after, tags = list(registry.versions(ATTRITION).items())[-1]
        assert tags["status"] == "pending_approval"
        assert service.client.get("/health").json()["models"]["attrition"]["model_version"] == before
        approval.approve(ATTRITION, after, service.settings, by="somebody", why="looked at the card")
        assert approval.bring(ATTRITION, after, service.settings, "promote", by="somebody", why="at once")
        until_served(service, after)
    finally:
        stop.set()
        asking.join()
    assert set(statuses) == {200}
    assert '"use_case":"attrition"' in capsys.readouterr().out
    assert service.client.get("/health").json()["models"]["attrition"]["model_version"] == after
    # The job ran from a copy without a checkout, and knows its commit all the same.
    assert champion(service).card["git_sha"] == service.settings.git_sha


def test_a_job_that_fails_says_so(service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = str(tmp_path / "nothing.csv")
    with service.noted(), pytest.raises(ForewarnError, match="did not succeed"):
        submit.follow(service.settings, "jobs.train", ["attrition", "--data", nothing])
    assert "no such file" in capsys.readouterr().out


def until_served(service: Service, version: str | None) -> str:
    def answered() -> bool:
        body = service.client.post("/predict", json=dict(ATTRITION.examples[0].row)).json()
        return bool(body["model_version"] == version)

    until(answered, seconds=15, what=f"{version} answers")
    assert version
    return version


def test_the_public_file_is_learned_as_it_is_and_well(service: Service, public_data: Path) -> None:
    """BOM, CRLF, constant columns, id column; the bar of the default budget."""
    file = str(public_data / "ibm_hr_attrition.csv")
    done = subprocess.run([sys.executable, "-m", "jobs.train", "attrition", "--data", file], env=service.environment(),
                          cwd=PROJECT, capture_output=True, text=True, check=True)  # fmt: skip
    report = json.loads(done.stdout)
    assert report["rows"] == 1102
    assert report["metrics"]["roc_auc"]["mean"] >= 0.83
    assert report["duration_s"] <= 180

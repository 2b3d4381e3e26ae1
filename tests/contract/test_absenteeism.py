"""S3: what the absenteeism document promises its callers, to the letter."""

import re

import pytest
from fastapi.testclient import TestClient

from deployments.house import House
from forewarn import usecases
from forewarn.package import ModelPackage
from forewarn.performance import COVERAGE
from forewarn.releases import ReleaseState
from tests.deployments.conftest import problem

CASE = usecases.get("absenteeism")
ABSENCE = {
    "Age": 35, "Distance from Residence to Work": 15, "Service time": 10, "Body mass index": 25.5,
    "Work load Average/day": 250, "Hit target": 95, "Transportation expense": 200, "Disciplinary failure": 0,
    "Education": 1, "Son": 1, "Social drinker": 1, "Social smoker": 0, "Pet": 1, "Weight": 75, "Height": 175,
    "Reason for absence": 0, "Month of absence": 7, "Day of the week": 3, "Seasons": 1,
}  # fmt: skip
WITHOUT_ZONE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


@pytest.fixture
def default() -> str:
    return "absenteeism"


@pytest.fixture
def mae(packages: dict[str, ModelPackage]) -> float:
    return float(packages["absenteeism"].card["metrics"]["mae"]["mean"])


@pytest.mark.requirement("S3-04")
def test_the_nineteen_names_are_the_document_s() -> None:
    assert len(ABSENCE) == 19
    assert {spec.wire for spec in CASE.fields} == ABSENCE.keys() | {"ID"}
    assert {spec.wire for spec in CASE.fields if spec.required} == ABSENCE.keys()


@pytest.mark.requirement("S3-06")
@pytest.mark.requirement("C34")
@pytest.mark.parametrize("path", ["/predict", "/absenteeism/predict", "/v1/absenteeism/predict"])
def test_an_absence_is_answered_in_hours(client: TestClient, path: str, mae: float) -> None:
    answer = client.post(path, json=ABSENCE)
    assert answer.status_code == 200
    body = answer.json()
    CASE.api.response.model_validate(body)
    assert isinstance(body["prediction"], float)
    assert body["prediction"] >= 0
    assert body["unit"] == "hours"
    assert "SVR_RBF" in body["model"]
    assert body["confidence"] == f"MAE ± {mae:.2f}"
    assert WITHOUT_ZONE.fullmatch(body["timestamp"])
    assert 0 <= body["interval"]["low"] <= body["prediction"] <= body["interval"]["high"]
    assert body["interval"]["coverage"] == COVERAGE


@pytest.mark.requirement("S3-07")
@pytest.mark.parametrize("path", ["/batch_predict", "/absenteeism/batch_predict", "/v1/absenteeism/predict/batch"])
def test_a_batch_is_a_list_of_bare_numbers(client: TestClient, path: str, mae: float) -> None:
    rows = [ABSENCE, {**ABSENCE, "Age": "old"}, {**ABSENCE, "Reason for absence": 23}]
    body = client.post(path, json={"instances": rows}).json()
    assert [type(value) for value in body["predictions"]] == [float, type(None), float]
    assert body["count"] == 3
    assert "SVR_RBF" in body["model"]
    assert WITHOUT_ZONE.fullmatch(body["timestamp"])
    assert body["confidence"] == f"MAE ± {mae:.2f}"
    assert [entry["index"] for entry in body["errors"]] == [1]
    assert body["results"][0]["prediction"] == body["predictions"][0]


@pytest.mark.requirement("S3-08")
def test_model_info_says_how_good_the_model_was_and_what_it_learned_from(client: TestClient, mae: float) -> None:
    body = client.get("/model_info").json()
    assert body["status"] == "loaded"
    assert WITHOUT_ZONE.fullmatch(body["timestamp"])
    facts = body["metadata"]
    assert facts["test_mae"] == mae
    assert {"model_type", "test_rmse", "test_r2", "train_date"} <= facts.keys()
    assert facts["features_count"] == 19
    assert facts["training_samples"] == facts["test_samples"] == 400
    assert facts["test_median_mae"] > 0  # an MAE never stands alone


@pytest.mark.requirement("S3-05")
@pytest.mark.parametrize("path", ["/health", "/absenteeism/health"])
def test_health_has_the_document_s_facts(client: TestClient, path: str, mae: float) -> None:
    body = client.get(path).json()
    assert body["status"] == "healthy"
    assert body["model_loaded"] is True
    assert WITHOUT_ZONE.fullmatch(body["timestamp"])
    assert "SVR" in body["model_type"]
    assert body["test_mae"] == mae
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", body["training_date"])


@pytest.mark.requirement("S3-09")
def test_errors_are_the_document_s(client: TestClient, house: House) -> None:
    missing = client.post("/predict", json={k: v for k, v in ABSENCE.items() if k != "Age"})
    assert missing.status_code == 400
    assert "Age is required" in problem(missing)["error"]
    torn = client.post("/predict", content=b"{not json")
    assert (torn.status_code, problem(torn)["type"]) == (400, "BadInput")
    assert client.post("/nowhere").status_code == 404
    house.endpoints["absenteeism"].adopt(ReleaseState())
    assert (client.post("/predict", json=ABSENCE).status_code, client.get("/health").status_code) == (503, 200)


@pytest.mark.requirement("S3-10")
@pytest.mark.requirement("C4")
@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "fw_wrong"}])
def test_any_trouble_with_the_key_is_401_unauthorized(client: TestClient, headers: dict[str, str]) -> None:
    del client.headers["X-API-Key"]
    refused = client.post("/predict", json=ABSENCE, headers=headers)
    assert (refused.status_code, problem(refused)["error"]) == (401, "Unauthorized")


@pytest.mark.requirement("C41")
def test_without_the_reason_the_forecast_answers_and_says_so(client: TestClient) -> None:
    row = {k: v for k, v in ABSENCE.items() if k != "Reason for absence"}
    body = client.post("/predict", json=row).json()
    assert body["served_by"] == "absenteeism_forecast"
    assert "Body mass index" in body["fields_ignored"]
    own = client.post("/v1/absenteeism_forecast/predict", json=row).json()
    assert own["prediction"] == body["prediction"]
    both = client.post("/predict", json=[ABSENCE, row]).json()
    assert [answer["served_by"] for answer in both["results"]] == ["absenteeism", "absenteeism_forecast"]


@pytest.mark.requirement("C41")
def test_health_and_habits_never_come_back_in_words(client: TestClient) -> None:
    refused = client.post("/predict", json={**ABSENCE, "Body mass index": 777.5})
    assert "Body mass index" in refused.json()["error"]
    assert "777.5" not in refused.text  # a request id in hex may hold 777

"""S0 and S1: what the attrition documents promise their callers."""

import pytest
from fastapi.testclient import TestClient

from forewarn import usecases
from tests.deployments.conftest import problem

CASE = usecases.get("attrition")
S0_SAMPLE = {"MonthlyIncome": 5500, "JobLevel": 2, "OverTime": 1, "Age": 34}
S1_SAMPLE = {"Age": 35, "JobRole": "Sales Executive", "MonthlyIncome": 5500, "YearsAtCompany": 5, "OverTime": "Yes"}


@pytest.mark.requirement("S0-13")
@pytest.mark.requirement("S0-15")
@pytest.mark.requirement("S0-16")
@pytest.mark.requirement("S1-19")
@pytest.mark.parametrize("path", ["/v1/attrition/predict", "/attrition/predict", "/predict"])
@pytest.mark.parametrize("sample", [S0_SAMPLE, S1_SAMPLE], ids=["S0", "S1"])
def test_the_documents_samples_are_answered_as_the_documents_say(
    client: TestClient, path: str, sample: dict[str, object]
) -> None:
    answer = client.post(path, json=sample)
    assert answer.status_code == 200
    body = answer.json()
    CASE.api.response.model_validate(body)
    assert body["prediction"] in ("Attrition", "No Attrition")
    assert body["confidence_score"] == (body["probability"] if body["event"] else 1 - body["probability"])
    assert body["model_version"] == "v1"
    assert body["timestamp"].endswith("Z")


@pytest.mark.requirement("S0-15")
def test_the_document_s_further_fields_are_let_through(client: TestClient) -> None:
    body = client.post("/predict", json={**S0_SAMPLE, "...": "..."}).json()
    assert body["fields_ignored"] == ["..."]
    assert "JobRole" in body["features_imputed"]


@pytest.mark.requirement("C7")
@pytest.mark.parametrize("spelling", [1, True, "Yes", "yes", "1"])
def test_overtime_in_either_document_s_spelling(client: TestClient, spelling: object) -> None:
    wanted = client.post("/predict", json={**S0_SAMPLE, "OverTime": "Yes"}).json()["probability"]
    assert client.post("/predict", json={**S0_SAMPLE, "OverTime": spelling}).json()["probability"] == wanted


@pytest.mark.requirement("C44")
@pytest.mark.requirement("S1-37")
def test_people_decide(client: TestClient) -> None:
    assert client.post("/predict", json=S0_SAMPLE).json()["decision_support"] is True


@pytest.mark.requirement("S0-14")
def test_without_a_key_there_is_no_answer(client: TestClient) -> None:
    del client.headers["X-API-Key"]
    assert problem(client.post("/predict", json=S0_SAMPLE))["type"] == "NotAuthenticated"

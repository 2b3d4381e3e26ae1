"""S2 and S4: what the churn documents promise their callers."""

import pytest
from fastapi.testclient import TestClient

from forewarn import usecases
from tests.deployments.conftest import problem

CASE = usecases.get("churn")
CUSTOMER = {
    "customer_id": "CUST12345", "age": 42, "tenure_months": 24, "monthly_charges": 89.99, "total_charges": 2159.76,
    "support_calls": 2, "internet_service": "Fiber", "contract": "Month-to-month", "payment_method": "Credit card",
}  # fmt: skip


@pytest.fixture
def default() -> str:
    return "churn"


@pytest.mark.requirement("S2-42")
@pytest.mark.requirement("S2-46")
@pytest.mark.requirement("S2-47")
@pytest.mark.requirement("S4-03")
@pytest.mark.parametrize("path", ["/predict", "/predict/single", "/churn/predict", "/v1/churn/predict"])
def test_a_customer_is_answered_as_the_document_says(client: TestClient, path: str) -> None:
    answer = client.post(path, json=CUSTOMER)
    assert answer.status_code == 200
    body = answer.json()
    CASE.api.response.model_validate(body)
    assert body["customer_id"] == "CUST12345"
    assert 0 <= body["churn_probability"] <= 1
    assert body["will_churn"] is body["event"]
    assert body["risk_level"] in ("low", "medium", "high")
    assert body["recommendation"]
    assert body["latency_ms"] > 0
    assert "T" in body["timestamp"]


@pytest.mark.requirement("C20")
def test_what_was_not_sent_is_listed_as_imputed(client: TestClient) -> None:
    imputed = client.post("/predict", json=CUSTOMER).json()["features_imputed"]
    assert {"late_payment_count", "billing_issues_count"} <= set(imputed)
    assert not set(CUSTOMER) & set(imputed)


@pytest.mark.requirement("S2-43")
@pytest.mark.requirement("S4-01")
@pytest.mark.parametrize("path", ["/predict/batch", "/batch", "/predict", "/churn/batch_predict"])
def test_a_batch_is_counted_as_the_document_says(client: TestClient, path: str) -> None:
    rows = [{k: v for k, v in row.items() if k != "Churn"} for row in CASE.sample(40, seed=3)]
    body = client.post(path, json=[*rows, {**CUSTOMER, "age": 7}]).json()
    assert body["total_processed"] == 40
    answers = [answer for answer in body["predictions"] if "index" not in answer]
    assert body["high_risk_count"] == sum(answer["risk_level"] == "high" for answer in answers)
    assert body["processing_time_ms"] > 0
    assert [entry["index"] for entry in body["errors"]] == [40]
    assert "7" not in " ".join(body["errors"][0]["details"])  # a protected value is not repeated


@pytest.mark.requirement("S2-43")
def test_a_thousand_customers_are_a_batch_and_one_more_is_too_many(client: TestClient) -> None:
    assert client.post("/predict/batch", json=[CUSTOMER] * 1000).json()["total_processed"] == 1000
    refused = client.post("/predict/batch", json=[CUSTOMER] * 1001)
    assert (refused.status_code, problem(refused)["type"]) == (413, "TooLarge")


@pytest.mark.requirement("S2-46")
@pytest.mark.requirement("S2-75")
@pytest.mark.parametrize(
    ("field", "value"),
    [("age", 17), ("age", 101), ("tenure_months", -1), ("monthly_charges", 0), ("total_charges", -1),
     ("support_calls", -1), ("internet_service", "'; DROP TABLE customers"), ("contract", "Weekly")],
)  # fmt: skip
def test_a_field_outside_its_range_is_refused_by_name(client: TestClient, field: str, value: object) -> None:
    refused = client.post("/predict", json={**CUSTOMER, field: value})
    assert (refused.status_code, problem(refused)["type"]) == (422, "RowRejected")
    assert field in refused.json()["error"]


def test_telco_s_own_columns_are_understood(client: TestClient) -> None:
    body = client.post("/predict", json=dict(CASE.examples[1].row)).json()
    assert body["customer_id"] == "T-0001"
    assert body["fields_ignored"] == []


@pytest.mark.requirement("S2-68")
@pytest.mark.requirement("C4")
def test_a_wrong_key_is_403(client: TestClient) -> None:
    refused = client.post("/predict", json=CUSTOMER, headers={"X-API-Key": "fw_wrong"})
    assert refused.status_code == 403
    assert "invalid API key" in problem(refused)["error"]


@pytest.mark.requirement("S2-40")
@pytest.mark.requirement("S2-41")
@pytest.mark.requirement("S2-45")
@pytest.mark.requirement("S4-01")
def test_the_service_s_own_doors_are_open(client: TestClient) -> None:
    del client.headers["X-API-Key"]
    assert "Welcome" in client.get("/").json()["message"]
    health = client.get("/health").json()
    assert health["status"] == "healthy"
    assert health["model_loaded"] is True
    assert health["uptime_seconds"] >= 0
    assert health["version"]
    assert client.get("/ready").status_code == 200
    assert client.get("/docs").status_code == 200


@pytest.mark.requirement("S2-44")
def test_metrics_count_predictions_latency_errors_and_distribution(client: TestClient) -> None:
    client.post("/predict", json=CUSTOMER)
    client.post("/predict/batch", json=[CUSTOMER, CUSTOMER, {**CUSTOMER, "age": 7}])
    client.post("/predict", content=b"{")
    page = client.get("/metrics", headers={"X-API-Key": ""}).text
    level = client.post("/predict", json=CUSTOMER).json()["risk_level"]
    assert f'forewarn_predictions_total{{model_version="v1",risk_level="{level}",use_case="churn"}} 3.0' in page
    assert 'forewarn_prediction_latency_seconds_count{use_case="churn"} 2.0' in page
    assert 'forewarn_errors_total{type="RowRejected",use_case="churn"} 1.0' in page
    assert 'forewarn_errors_total{type="BadInput",use_case=""} 1.0' in page
    assert 'forewarn_probability_count{use_case="churn"} 3.0' in page
    assert "CUST12345" not in page

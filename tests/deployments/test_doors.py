"""Every door, on the real FastAPI application with the real features and model behind it; only Ray is left out."""

import json
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
from fastapi.testclient import TestClient

from deployments.auth import Doorkeeper
from deployments.coalesce import Coalescer
from deployments.endpoint import Endpoint
from deployments.house import House
from deployments.routes import create_app
from forewarn import scoring
from forewarn.keys import installation_key
from forewarn.package import ModelPackage
from forewarn.releases import Releases
from forewarn.scoring import Scores
from forewarn.settings import Settings

GOOD = {"MonthlyIncome": 5500, "OverTime": "Yes"}


@pytest.fixture
def house(package: ModelPackage, settings: Settings) -> House:
    async def send(version: str, rows: list[dict[str, Any]]) -> Scores:
        return scoring.score(package, rows)

    coalescer = Coalescer(send, max_group=1000, groups_in_flight=2, max_waiting=2000)
    endpoint = Endpoint(package.case, coalescer, Releases(settings.packages))
    endpoint.version = "v1"
    installation_key(settings.keys, settings.local_key)
    return House(
        endpoints={package.case.name: endpoint},
        default=package.case.name,
        doorkeeper=Doorkeeper(settings.keys),
        max_rows=1000,
        max_body_bytes=2**20,
        since=monotonic(),
    )


@pytest.fixture
def client(house: House, settings: Settings) -> Iterator[TestClient]:
    key = settings.local_key.read_text()
    with TestClient(create_app(house), headers={"X-API-Key": key}, raise_server_exceptions=False) as client:
        yield client


def problem(response: Any) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert set(body) == {"error", "type", "details", "request_id"}
    assert body["request_id"]
    return body


@pytest.mark.requirement("S0-13")
@pytest.mark.requirement("S0-16")
@pytest.mark.requirement("S1-19")
@pytest.mark.parametrize("path", ["/v1/attrition/predict", "/attrition/predict", "/predict"])
def test_the_documents_samples_are_answered_as_the_document_says(
    client: TestClient, package: ModelPackage, path: str
) -> None:
    for example in package.case.examples:
        answer = client.post(path, json=dict(example.row))
        assert answer.status_code == 200
        body = answer.json()
        assert set(body) == set(package.case.response.model_fields)
        package.case.response.model_validate(body)
        assert body["prediction"] in ("Attrition", "No Attrition")
        sure = body["probability"] if body["prediction"] == "Attrition" else 1 - body["probability"]
        assert body["confidence_score"] == sure
        assert body["timestamp"].endswith("Z")


@pytest.mark.requirement("S0-15")
def test_the_documents_sample_is_taken_to_the_letter(client: TestClient) -> None:
    sent = {"MonthlyIncome": 5500, "JobLevel": 2, "OverTime": 1, "Age": 34, "...": "..."}
    body = client.post("/predict", json=sent).json()
    assert body["fields_ignored"] == ["..."]
    assert "JobRole" in body["features_imputed"]


@pytest.mark.requirement("S0-14")
@pytest.mark.requirement("C3")
@pytest.mark.parametrize("header", ["X-API-KEY", "X-API-Key", "x-api-key"])
def test_the_key_header_in_any_spelling(client: TestClient, settings: Settings, header: str) -> None:
    key = settings.local_key.read_text()
    del client.headers["X-API-Key"]
    assert client.post("/predict", json=GOOD, headers={header: key}).status_code == 200


@pytest.mark.requirement("C4")
def test_no_key_is_401_and_a_wrong_one_403(client: TestClient) -> None:
    wrong = client.post("/predict", json=GOOD, headers={"X-API-Key": "fw_wrong"})
    assert (wrong.status_code, problem(wrong)["type"]) == (403, "NotAllowed")
    del client.headers["X-API-Key"]
    none = client.post("/predict", json=GOOD)
    assert (none.status_code, problem(none)["type"]) == (401, "NotAuthenticated")


def test_a_key_that_is_taken_away_no_longer_opens(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.post("/predict", json=GOOD).status_code == 200
    monkeypatch.setattr("deployments.auth.REREAD_SECONDS", 0.0)
    settings.keys.write_text("{}")
    assert client.post("/predict", json=GOOD).status_code == 403


@pytest.mark.requirement("C1")
@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: {"instances": rows}], ids=["list", "instances"])
def test_a_list_is_answered_row_by_row_in_its_order(client: TestClient, package: ModelPackage, wrap: Any) -> None:
    raw = [{k: v for k, v in row.items() if k != package.case.target} for row in package.case.sample(50, seed=4)]
    body = client.post("/predict", json=wrap(raw)).json()
    assert body["count"] == 50
    expected = scoring.score(package, scoring.validate(package.case, raw).values).probabilities
    assert [answer["probability"] for answer in body["predictions"]] == expected.tolist()
    assert len({answer["prediction_id"] for answer in body["predictions"]}) == 50


@pytest.mark.requirement("C5")
@pytest.mark.parametrize(
    ("body", "status", "kind", "said"),
    [
        (b"{", 400, "BadInput", "not JSON"),
        (b"", 400, "BadInput", "not JSON"),
        (b'{"MonthlyIncome": NaN, "OverTime": 1}', 400, "BadInput", "not JSON"),
        (b"\xff\xfe", 400, "BadInput", "not JSON"),
        (b"3", 400, "BadInput", "expected a JSON object"),
        (b"[]", 400, "BadInput", "no rows"),
        (b'{"instances": 3}', 400, "BadInput", "instances must be a list"),
        (b'{"OverTime": 1}', 400, "MissingField", "MonthlyIncome is required"),
        (b'{"MonthlyIncome": "x", "OverTime": 1}', 422, "RowRejected", "MonthlyIncome"),
        (b'{"MonthlyIncome": 1, "OverTime": 1, "JobLevel": 9}', 422, "RowRejected", "JobLevel"),
        (b'[{"MonthlyIncome": 1, "OverTime": 1}, {"MonthlyIncome": -1, "OverTime": 1}]', 422, "RowRejected", "row 1"),
        (json.dumps([GOOD] * 1001).encode(), 413, "TooLarge", "at most 1000"),
    ],
)
def test_bad_input_is_told_what_where_and_what_to_do(
    client: TestClient, body: bytes, status: int, kind: str, said: str
) -> None:
    answer = client.post("/predict", content=body)
    assert answer.status_code == status
    assert problem(answer)["type"] == kind
    assert said in answer.json()["error"]


def test_a_body_beyond_the_limit_is_refused_before_it_is_read_whole(client: TestClient, house: House) -> None:
    sent: list[int] = []

    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            sent.append(2**16)
            yield b" " * 2**16

    answer = client.post("/predict", content=endless())
    assert (answer.status_code, problem(answer)["type"]) == (413, "TooLarge")


def test_a_thousand_rows_are_not_too_many(client: TestClient) -> None:
    assert client.post("/predict", json=[GOOD] * 1000).json()["count"] == 1000


@pytest.mark.requirement("C6")
@pytest.mark.parametrize("path", ["/nothing", "/v1/weather/predict", "/v1/attrition"])
def test_an_unknown_route_is_json_too(client: TestClient, path: str) -> None:
    answer = client.post(path, json=GOOD)
    assert (answer.status_code, problem(answer)["type"]) == (404, "NotFound")


def test_a_wrong_method_is_json_too(client: TestClient) -> None:
    answer = client.get("/predict")
    assert (answer.status_code, problem(answer)["type"]) == (405, "MethodNotAllowed")


@pytest.mark.requirement("S2-40")
@pytest.mark.requirement("S2-41")
@pytest.mark.requirement("C36")
def test_health_is_200_while_alive_and_ready_only_with_a_model(client: TestClient, house: House) -> None:
    del client.headers["X-API-Key"]
    assert client.get("/").json()["predict"] == [f"/v1/{name}/predict" for name in house.endpoints]
    health = client.get("/health").json()
    assert (health["status"], health["model_loaded"]) == ("healthy", True)
    assert health["uptime_seconds"] >= 0
    assert client.get("/ready").status_code == 200
    next(iter(house.endpoints.values())).version = None
    assert (client.get("/health").status_code, client.get("/health").json()["status"]) == (200, "degraded")
    assert client.get("/ready").status_code == 503
    assert client.get("/ready").headers["retry-after"]


def test_without_a_model_the_answer_is_503_with_a_time(client: TestClient, house: House) -> None:
    next(iter(house.endpoints.values())).version = None
    answer = client.post("/predict", json=GOOD)
    assert (answer.status_code, problem(answer)["type"]) == (503, "NotReady")
    assert answer.headers["retry-after"]


def test_a_failure_of_ours_shows_nothing_of_our_insides(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scoring, "decide", lambda *_: 1 / 0)
    answer = client.post("/predict", json=GOOD)
    assert answer.status_code == 500
    assert "ZeroDivision" not in answer.text
    assert problem(answer)["request_id"] in caplog.text


def test_a_clients_request_id_is_kept_unless_it_could_forge_a_log_line(client: TestClient) -> None:
    assert client.post("/predict", json=GOOD, headers={"X-Request-ID": "order-7"}).json()["request_id"] == "order-7"
    forged = client.post("/predict", json=GOOD, headers={"X-Request-ID": "a b\tc"}).json()["request_id"]
    assert forged != "a b\tc"


@pytest.mark.requirement("S2-45")
@pytest.mark.requirement("S0-10")
def test_the_api_describes_itself_with_the_documents_examples(client: TestClient, package: ModelPackage) -> None:
    assert client.get("/docs").status_code == 200
    described = client.get("/openapi.json").json()
    post = described["paths"]["/v1/attrition/predict"]["post"]
    content = post["requestBody"]["content"]["application/json"]
    assert [example["value"] for example in content["examples"].values()] == [
        dict(e.row) for e in package.case.examples
    ]
    assert set(post["responses"]) >= {"200", "400", "401", "403", "413", "422", "503"}
    row = content["schema"]["anyOf"][0]
    assert set(row["properties"]) == set(package.case.row.model_fields)

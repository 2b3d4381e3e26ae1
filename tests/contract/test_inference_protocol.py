"""Open Inference Protocol v2: what clients of KServe, Seldon and Triton send and expect."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from deployments.house import House
from forewarn import scoring
from forewarn.package import ModelPackage
from forewarn.releases import ReleaseState
from forewarn.usecase import UseCase
from tests.deployments.conftest import problem


def tensors(case: UseCase, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = [spec.wire for spec in case.fields if spec.wire in rows[0]]
    kinds = {str: "BYTES", int: "INT64", float: "FP64"}
    return [
        {"name": name, "shape": [len(rows), 1], "datatype": kinds[type(rows[0][name])],
         "data": [row[name] for row in rows]} for name in names
    ]  # fmt: skip


def test_server_and_models_are_live_ready_and_described(client: TestClient, case: UseCase, house: House) -> None:
    del client.headers["X-API-Key"]
    assert client.get("/v2").json()["name"] == "forewarn"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json()["ready"] is True
    for path in (f"/v2/models/{case.name}", f"/v2/models/{case.name}/versions/v1"):
        described = client.get(path).json()
        assert described["versions"] == ["v1"]
        assert {tensor["name"] for tensor in described["inputs"]} == {spec.wire for spec in case.fields}
        assert client.get(f"{path}/ready").json() == {"name": case.name, "ready": True}
    house.endpoints[case.name].adopt(ReleaseState())
    assert client.get(f"/v2/models/{case.name}/ready").status_code == 503
    assert client.get("/v2/health/ready").status_code == 503


@pytest.mark.parametrize("version", ["", "/versions/v1"])
def test_tensors_in_and_tensors_out(
    client: TestClient, case: UseCase, packages: dict[str, ModelPackage], version: str
) -> None:
    rows = [{k: v for k, v in row.items() if k != case.target} for row in case.sample(6, seed=2)]
    sent = {"id": "order-7", "inputs": tensors(case, rows)}
    answer = client.post(f"/v2/models/{case.name}{version}/infer", json=sent)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["model_name"], body["model_version"], body["id"]) == (case.name, "v1", "order-7")
    expected = scoring.score(packages[case.name], scoring.validate(case, rows).values).values.tolist()
    assert body["outputs"][0]["data"] == expected
    assert body["outputs"][0]["shape"] == [6]
    assert client.get(f"/v2/models/{case.name}").json()["outputs"] == [
        {"name": output["name"], "datatype": output["datatype"], "shape": [-1]} for output in body["outputs"]
    ]


def test_only_the_outputs_asked_for_come_back(client: TestClient) -> None:
    inputs = [{"name": "MonthlyIncome", "shape": [1], "datatype": "FP64", "data": [5500]},
              {"name": "OverTime", "shape": [1], "datatype": "BYTES", "data": ["Yes"]}]  # fmt: skip
    body = client.post("/v2/models/attrition/infer", json={"inputs": inputs, "outputs": [{"name": "event"}]}).json()
    assert [output["name"] for output in body["outputs"]] == ["event"]
    refused = client.post("/v2/models/attrition/infer", json={"inputs": inputs, "outputs": [{"name": "mood"}]})
    assert (refused.status_code, problem(refused)["type"]) == (400, "BadInput")


INCOME = {"name": "MonthlyIncome", "shape": [1], "datatype": "FP64", "data": [5500]}


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        ({}, 400, "no inference request"),
        ([], 400, "no inference request"),
        ({"inputs": []}, 400, "no inference request"),
        ({"inputs": [INCOME, INCOME]}, 400, "the same name"),
        ({"inputs": [{**INCOME, "shape": [2]}]}, 400, "shape [2] with 1 values"),
        ({"inputs": [INCOME, {**INCOME, "name": "OverTime", "shape": [2], "data": [1, 1]}]}, 400, "hold [1, 2] rows"),
        ({"inputs": [{**INCOME, "shape": [0], "data": []}]}, 400, "at least one"),
        ({"inputs": [INCOME]}, 400, "row 0: OverTime is required"),
        (
            {"inputs": [{**INCOME, "data": [-5]}, {**INCOME, "name": "OverTime", "data": [1]}]},
            422,
            "row 0: MonthlyIncome",
        ),
        ({"inputs": [{**INCOME, "shape": [1001], "data": [1] * 1001}]}, 413, "at most 1000"),
    ],
)
def test_what_is_no_inference_request_is_told_why(client: TestClient, sent: Any, status: int, said: str) -> None:
    refused = client.post("/v2/models/attrition/infer", json=sent)
    assert refused.status_code == status
    assert said in problem(refused)["error"]


def test_a_version_that_does_not_answer_is_not_found(client: TestClient) -> None:
    for method, path in (("GET", ""), ("GET", "/ready"), ("POST", "/infer")):
        refused = client.request(method, f"/v2/models/attrition/versions/v9{path}", json={})
        assert (refused.status_code, problem(refused)["type"]) == (404, "NotFound")
    del client.headers["X-API-Key"]
    assert client.post("/v2/models/attrition/infer", json={}).status_code == 401

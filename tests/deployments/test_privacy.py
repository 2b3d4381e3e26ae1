"""Opting out and being forgotten, over HTTP."""

import orjson
import pytest
from fastapi.testclient import TestClient

from deployments.house import House
from forewarn.ledger.shipper import Shipper
from forewarn.settings import Settings
from tests.deployments.conftest import problem
from tests.deployments.test_truth import key

ID = "planted-7"
ROW = {"MonthlyIncome": 5500, "OverTime": "Yes", "EmployeeNumber": ID, "Gender": "planted-gender"}


def shipped(house: House, settings: Settings) -> int:
    house.spool.turn()
    return Shipper(house.ledger, settings.spools).ship()


@pytest.mark.requirement("S1-36")
def test_who_opted_out_is_neither_scored_nor_logged_and_told_so(
    client: TestClient, house: House, settings: Settings
) -> None:
    operator = key(house, settings, "operate")
    assert client.post("/v1/opt-outs", json={"subject": ID}, headers=operator).json()["use_cases"] >= 3
    refused = client.post("/predict", json=ROW)
    assert (refused.status_code, problem(refused)["type"]) == (403, "OptedOut")
    others = [{**ROW, "EmployeeNumber": "8"}, ROW, {"bad": 1}, {**ROW, "EmployeeNumber": None}]
    told = client.post("/predict", json=others).json()
    assert [one.get("type") for one in told["predictions"]] == [None, "OptedOut", "MissingField", None]
    assert shipped(house, settings) == 2
    assert 'forewarn_errors_total{type="OptedOut",use_case="attrition"} 1.0' in client.get("/metrics").text
    assert client.request("DELETE", f"/v1/opt-outs/{ID}", headers=operator).json()["use_cases"] >= 3
    assert client.post("/predict", json=ROW).status_code == 200


@pytest.mark.requirement("S2-72")
@pytest.mark.parametrize("in_body", [True, False])
def test_what_is_known_is_shown_and_forgotten_on_request(
    client: TestClient, house: House, settings: Settings, in_body: bool
) -> None:
    client.post("/predict", json=ROW).raise_for_status()
    shipped(house, settings)

    def ask(what: str) -> dict[str, object]:
        if in_body:
            answer = client.post(f"/v1/subjects/{what}", json={"subject": ID})
        else:
            answer = client.request("GET" if what == "export" else "DELETE", f"/v1/subjects/{ID}")
        assert answer.status_code == 200, answer.text
        found: dict[str, object] = answer.json()
        return found

    (prediction,) = ask("export")["predictions"]  # type: ignore[misc]
    assert prediction["row"]["Gender"] == "planted-gender"
    receipt = ask("erase")
    assert receipt["erased"]["predictions"] == 1  # type: ignore[index]
    assert house.privacy.verified(receipt)
    assert ask("export")["predictions"] == []
    assert ID not in orjson.dumps(receipt).decode()


def test_what_is_no_id_or_use_case_is_told(client: TestClient) -> None:
    assert client.post("/v1/subjects/erase", json={}).status_code == 400
    assert client.post("/v1/opt-outs", json={"subject": "  "}).status_code == 400
    assert client.post("/v1/opt-outs", json={"subject": "7", "use_case": "none"}).status_code == 404


def test_only_an_admin_may_see_and_forget(client: TestClient, house: House, settings: Settings) -> None:
    headers = key(house, settings, "operate", "read", "decide", "predict", "feedback", "approve")
    for method in ("GET", "DELETE"):
        assert client.request(method, f"/v1/subjects/{ID}", headers=headers).status_code == 403

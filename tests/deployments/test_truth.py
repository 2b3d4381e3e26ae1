"""Outcomes, decisions and the audit log over HTTP."""

from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from deployments.house import House
from forewarn.ledger.audit import By
from forewarn.ledger.doors import Doors
from forewarn.ledger.shipper import Shipper
from forewarn.settings import Settings
from tests.deployments.conftest import problem

ROW = {"MonthlyIncome": 5500, "OverTime": "Yes", "EmployeeNumber": "planted-7", "Age": 34}
DECISION = {
    "action": "talked to them",
    "overrides": True,
    "reason": "They asked for a transfer.",
    "person": "A. Manager",
}


@pytest.fixture
def prediction(client: TestClient, house: House, settings: Settings) -> str:
    """One that is in the ledger."""
    made = client.post("/predict", json=ROW).json()["prediction_id"]
    house.spool.turn()
    Shipper(house.ledger, settings.spools).ship()
    return str(made)


def key(house: House, settings: Settings, *scopes: str) -> dict[str, str]:
    made, _ = Doors.of(settings).create("some", scopes, By(actor="operator"), at=datetime.now(UTC))
    house.board.look()
    return {"X-API-Key": made}


def test_outcomes_come_one_or_many_and_each_is_told(client: TestClient, prediction: str) -> None:
    one = client.post("/v1/attrition/feedback", json={"prediction_id": prediction, "outcome": "Yes"})
    assert (one.status_code, one.json()["accepted"]) == (200, 1)
    sent: list[Any] = [
        {"prediction_id": prediction, "outcome": "No"},
        {"prediction_id": "nobody", "outcome": 1},
        {"EmployeeNumber": "planted-7", "date": "2026-11-01", "outcome": 1},
        "x",
    ]
    many = client.post("/feedback", json=sent).json()
    assert many["accepted"] == 2
    assert [one.get("type") for one in many["results"]] == [None, "NotFound", None, "BadInput"]
    history = client.get("/feedback", params={"prediction_id": prediction}).json()["outcomes"]
    assert [one["label"] for one in history] == [0.0, 1.0]


def test_a_single_outcome_that_cannot_be_taken_is_the_request_s_error(client: TestClient, prediction: str) -> None:
    for body, status in (({"prediction_id": "nobody", "outcome": 1}, 404), ({"prediction_id": prediction}, 400)):
        answer = client.post("/feedback", json=body)
        assert (answer.status_code, bool(problem(answer)["error"])) == (status, True)


@pytest.mark.requirement("S1-39")
@pytest.mark.parametrize("reason", [None, "", "   ", "because"])
def test_a_decision_without_a_reason_is_refused(client: TestClient, prediction: str, reason: str | None) -> None:
    sent = {**DECISION, "prediction_id": prediction, "reason": reason}
    answer = client.post("/decisions", json={name: value for name, value in sent.items() if value is not None})
    assert answer.status_code == 400
    assert problem(answer)["error"].startswith("reason: ")


@pytest.mark.requirement("S1-37")
def test_an_auditor_reads_when_which_version_and_why(
    client: TestClient, house: House, settings: Settings, prediction: str
) -> None:
    client.post("/decisions", json={**DECISION, "prediction_id": prediction}).raise_for_status()
    reader = key(house, settings, "read")
    page = client.get("/decisions", headers=reader).json()
    assert (page["rates"]["override_rate"], page["next"]) == (1.0, None)
    story = client.get(f"/v1/attrition/predictions/{prediction}", headers=reader).json()["prediction"]
    assert (story["version"], story["route"], story["level"]) == ("v1", "champion", story["level"])
    assert story["decisions"][0]["reason"] == DECISION["reason"]
    assert story["fields"]["MonthlyIncome"] == 5500
    assert "Age" not in story["fields"], "the model never gets it, and readers neither"
    assert "planted" not in str(story)


@pytest.mark.requirement("S1-34")
def test_each_door_wants_its_scope(client: TestClient, house: House, settings: Settings, prediction: str) -> None:
    doors = {
        "feedback": lambda headers: client.post(
            "/feedback", json={"prediction_id": prediction, "outcome": 1}, headers=headers
        ),
        "decide": lambda headers: client.post(
            "/decisions", json={**DECISION, "prediction_id": prediction}, headers=headers
        ),
        "read": lambda headers: client.get("/decisions", headers=headers),
        "admin": lambda headers: client.get("/v1/audit/verify", headers=headers),
    }
    for scope, ask in doors.items():
        assert ask(key(house, settings, scope)).status_code == 200, scope
        others = [one for one in doors if one not in (scope, "admin")]
        assert ask(key(house, settings, *others)).status_code == 403, scope


def test_the_audit_log_shows_readers_no_person_and_its_chain_holds(
    client: TestClient, house: House, settings: Settings
) -> None:
    reader = key(house, settings, "read")
    acts = client.get("/v1/audit", params={"act": "keys.create"}, headers=reader).json()["acts"]
    assert [act["act"] for act in acts] == ["keys.create"]
    assert acts[0]["personal"] is None
    found = client.get("/v1/audit/verify").json()
    assert (found["broken"], found["lines"] >= 2) == (None, True)
    assert client.get("/v1/audit", params={"limit": "0"}, headers=reader).status_code == 400

"""What people do with alerts at a shell."""

import json
import logging
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner, Result

from forewarn.alerts import Alert
from forewarn.errors import BadInput, ForewarnError, NotFound
from forewarn.ledger import audit
from forewarn.ledger.alerts import Alerts
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings
from jobs.alerts import app
from tests.listeners import Listener, listening

NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)
DRIFT = Alert(use_case="attrition", name="drift:[MonthlyIncome]", severity="warning", text="It has moved.")
PLAN = """
runbook: https://wiki
channels:
  - {kind: slack, name: chat, url_env: CHAT}
  - {kind: pagerduty, name: pager, least: critical, routing_key_env: KEY, endpoint: "%s/pager"}
"""


@pytest.fixture
def listener(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """Of a home with one open alert, told to nobody, and two channels."""
    monkeypatch.setenv("FOREWARN_HOME", str(settings.make_home()))
    monkeypatch.setenv("FOREWARN_USER", "grace")
    with closing(Ledger.open(settings)) as ledger:
        Alerts(ledger, []).raise_(DRIFT, at=NOW)
    with listening() as heard:
        monkeypatch.setenv("CHAT", f"{heard.url}/chat")
        monkeypatch.setenv("KEY", "R0")
        (settings.home / "alerts.yaml").write_text(PLAN % heard.url)
        yield heard


def done(*words: str) -> Result:
    found = CliRunner().invoke(app, words)
    if found.exception and not isinstance(found.exception, SystemExit | ForewarnError):
        raise found.exception
    return found


def test_what_is_open_and_what_was(listener: Listener) -> None:
    (row,) = json.loads(done("list", "--json").stdout)
    assert (row["name"], row["opened_at"], row["times"]) == (DRIFT.name, "2026-11-27T09:00:00.000000Z", 1)
    said = done("list").stdout
    assert f"warning  attrition  {DRIFT.name}\n  It has moved.\n  since 2026-11-27 09:00, seen 1 times" in said
    assert "not told to all who hear of it" in said
    assert json.loads(done("list", "--use-case", "churn", "--json").stdout) == []
    done("resolve", "attrition", DRIFT.name, "--why", "It is back.")
    assert done("list").stdout == "nothing is open\n"
    assert len(json.loads(done("list", "--all", "--json").stdout)) == 1
    assert "resolved  attrition" in done("list", "--all").stdout


@pytest.mark.requirement("S2-57")
def test_a_made_up_alert_goes_over_every_channel(listener: Listener, settings: Settings) -> None:
    found = done("test")
    assert (found.exit_code, json.loads(found.stdout)["sent"]) == (0, {"chat": 1, "pager": 1})
    assert json.loads(done("test", "--over", "--severity", "info").stdout)["failed"] == {}
    assert "CRITICAL test" in listener.bodies("/chat")[0]["text"]
    assert [event["event_action"] for event in listener.bodies("/pager")] == ["trigger", "resolve"]
    with closing(Ledger.open(settings)) as ledger:
        assert len(Alerts(ledger, []).every()) == 1, "it leaves nothing in the ledger"


def test_a_channel_that_does_not_work_is_named(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    listener.status["/pager"] = 500
    found = done("test")
    told = json.loads(found.stdout)
    assert (found.exit_code, told["sent"], told["failed"]) == (1, {"chat": 1}, {"pager": 1})
    assert str(found.exception) == "1 of 2 channels did not take it"
    assert "pager: it answered 500" in found.stderr
    monkeypatch.delenv("CHAT")
    assert json.loads(done("test").stdout)["reasons"]["chat"] == "what its url_env names is not set, or empty"
    assert listener.url not in caplog.text


def test_without_channels_nothing_can_be_tried(listener: Listener, settings: Settings) -> None:
    (settings.home / "alerts.yaml").unlink()
    found = done("test")
    assert isinstance(found.exception, BadInput)
    assert "alerts.yaml" in str(found.exception)


def test_somebody_says_that_it_is_over(listener: Listener, settings: Settings) -> None:
    told = json.loads(done("resolve", "attrition", DRIFT.name, "--why", "Looked at it.").stdout)
    assert (told["name"], told["sent"]) == (DRIFT.name, {"chat": 1})
    assert "Over: Looked at it." in listener.bodies("/chat")[0]["text"]
    with closing(Ledger.open(settings)) as ledger:
        assert [(line["act"], line["actor"]) for line in audit.entries(ledger)] == [("alerts.resolve", "grace")]
    assert isinstance(done("resolve", "attrition", DRIFT.name, "--why", "Again.").exception, NotFound)
    assert isinstance(done("resolve", "attrition", DRIFT.name, "--why", " ").exception, BadInput)
    assert "no open alert" in str(done("resolve", "", "job:drift", "--why", "x").exception)


def test_a_channel_that_fails_does_not_keep_an_alert_open(listener: Listener) -> None:
    listener.status["/chat"] = 500
    found = done("resolve", "attrition", DRIFT.name, "--why", "Looked at it.")
    assert (found.exit_code, json.loads(found.stdout)["failed"]) == (0, {"chat": 1})
    assert json.loads(done("list", "--json").stdout) == []

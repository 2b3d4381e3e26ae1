"""When somebody is told of an alert, and when not: the same on both databases."""

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from forewarn.alerts import Alert, Told
from forewarn.alerts.channels import SILENT, PagerDuty, Webhook
from forewarn.databases import written
from forewarn.ledger import audit
from forewarn.ledger.alerts import NOT_OPEN, RESTING, TRIED, Alerts
from forewarn.ledger.audit import Chain
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings
from tests.ledger.conftest import BY, NOW
from tests.listeners import Listener, listening

pytest_plugins = ["tests.servers"]

CASE, DRIFT = "attrition", "drift:MonthlyIncome"


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    with listening() as heard:
        monkeypatch.setenv("CHAT", f"{heard.url}/chat")
        monkeypatch.setenv("KEY", "R0")
        yield heard


@pytest.fixture
def alerts(ledger: Ledger, listener: Listener) -> Alerts:
    return another(ledger, listener)


def another(ledger: Ledger, listener: Listener) -> Alerts:
    """As the next process has them: a chat hears of what is warning or worse, a pager of what is critical."""
    chat = Webhook(kind="webhook", name="chat", url_env="CHAT", timeout_seconds=1)
    pager = PagerDuty(
        kind="pagerduty", name="pager", least="critical", routing_key_env="KEY", endpoint=f"{listener.url}/pager",
        timeout_seconds=1,
    )  # fmt: skip
    return Alerts(ledger, [chat, pager], runbook="https://wiki", installation="here")


def drift(severity: Any = "warning", *, name: str = DRIFT, psi: float = 0.31) -> Alert:
    return Alert(use_case=CASE, name=name, severity=severity, text="It has moved.", figures={"psi": psi})


def after(hours: float) -> datetime:
    return NOW + timedelta(hours=hours)


def events(listener: Listener) -> list[tuple[str, str]]:
    """What the chat was told."""
    return [(told["event"], told["severity"]) for told in listener.bodies("/chat")]


@pytest.mark.requirement("S2-57")
def test_the_same_alert_is_told_once_and_again_when_the_cool_down_is_over(alerts: Alerts, listener: Listener) -> None:
    assert alerts.raise_(drift(), at=NOW) == Told(sent={"chat": 1})
    for hours in (1, 23.9):
        told = alerts.raise_(drift(psi=0.4), at=after(hours))
        assert told == Told(suppressed="told at 2026-11-27T09:00Z, and not again within 24 hours")
    assert alerts.raise_(drift(psi=0.5), at=after(24)).sent == {"chat": 1}
    assert [(told["times"], told["text"]) for told in listener.bodies("/chat")] == [
        (1, "It has moved (psi 0.31)."), (4, "It has moved (psi 0.5)."),
    ]  # fmt: skip
    (row,) = alerts.open(CASE)
    assert row == {
        "use_case": CASE, "name": DRIFT, "severity": "warning", "text": "It has moved (psi 0.5).", "times": 4,
        "opened_at": written(NOW), "seen_at": written(after(24)), "told_at": written(after(24)), "resolved_at": None,
    }  # fmt: skip
    assert listener.bodies("/chat")[0]["runbook"] == "https://wiki#drift"


def test_what_got_worse_is_told_at_once_and_its_end_to_whoever_was_woken(alerts: Alerts, listener: Listener) -> None:
    alerts.raise_(drift(), at=NOW)
    assert alerts.raise_(drift("critical"), at=after(1)).sent == {"chat": 1, "pager": 1}
    assert alerts.raise_(drift(), at=after(2)).suppressed
    assert alerts.raise_(drift("critical"), at=after(3)).suppressed, "it was as bad before"
    assert alerts.resolve(CASE, DRIFT, at=after(4), why="It is back.").sent == {"chat": 1, "pager": 1}
    assert events(listener) == [("raised", "warning"), ("raised", "critical"), ("resolved", "critical")]
    trigger, resolve = listener.bodies("/pager")
    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"] == f"here/{CASE}/{DRIFT}"


def test_an_end_is_told_once_and_only_of_what_is_open(alerts: Alerts, listener: Listener) -> None:
    assert alerts.resolve(CASE, DRIFT, at=NOW).suppressed == NOT_OPEN
    alerts.raise_(drift(), at=NOW)
    assert alerts.resolve(CASE, DRIFT, at=after(1)).sent == {"chat": 1}
    assert alerts.resolve(CASE, DRIFT, at=after(2)).suppressed == NOT_OPEN
    assert alerts.open() == []
    assert [row["resolved_at"] for row in alerts.every()] == [written(after(1))]
    assert alerts.raise_(drift(), at=after(3)).sent == {"chat": 1}, "it is a new one"
    assert alerts.open()[0] | {"times": 1, "opened_at": written(after(3))} == alerts.open()[0]
    assert [event for event, _ in events(listener)] == ["raised", "resolved", "raised"]


def test_a_run_resolves_what_it_finds_no_more(alerts: Alerts, listener: Listener) -> None:
    for name in ("drift:Age", "drift:JobLevel", "Drift:Other", "degraded"):
        alerts.raise_(drift(name=name), at=NOW)
    other = Alert(use_case="churn", name="drift:Age", severity="warning", text="It has moved.")
    alerts.raise_(other, at=NOW)
    assert alerts.keep_only(CASE, "drift:", {"drift:Age"}, at=after(1), why="It is back.").sent == {"chat": 1}
    assert sorted(row["name"] for row in alerts.open(CASE)) == ["Drift:Other", "degraded", "drift:Age"]
    assert len(alerts.open()) == 4
    assert listener.bodies("/chat")[-1]["why"] == "It is back."
    assert alerts.keep_only(CASE, "drift:", {"drift:Age"}, at=after(2)).suppressed == "none is over"
    assert alerts.keep_only(CASE, "drift:", (), at=after(3)).sent == {"chat": 1}


def test_the_worst_stands_first_and_what_is_over_last(alerts: Alerts) -> None:
    for number, (name, severity) in enumerate((("a", "info"), ("b", "critical"), ("c", "warning"), ("d", "critical"))):
        alerts.raise_(drift(severity, name=name), at=after(number))
    alerts.resolve(CASE, "b", at=after(5))
    assert [row["name"] for row in alerts.every(CASE)] == ["d", "c", "a", "b"]
    assert alerts.every("churn") == []


def test_what_nobody_wants_to_hear_is_kept_and_not_told(alerts: Alerts, ledger: Ledger, listener: Listener) -> None:
    assert alerts.raise_(drift("info"), at=NOW) == Told(suppressed="no channel hears of what is info")
    assert alerts.open()[0]["told_at"] is None
    assert alerts.raise_(drift(), at=after(1)).sent == {"chat": 1}
    nobody = Alerts(ledger, [])
    assert nobody.raise_(drift(name="degraded"), at=NOW).suppressed
    assert nobody.resolve(CASE, "degraded", at=after(1)).suppressed != NOT_OPEN
    assert alerts.resolve(CASE, "degraded", at=after(2)).suppressed == NOT_OPEN, "what is long over is no news"


@pytest.mark.requirement("S2-57")
def test_a_channel_that_failed_is_tried_again_and_the_others_are_not(alerts: Alerts, listener: Listener) -> None:
    listener.status["/pager"] = 500
    for minutes in (0, 1):
        told = alerts.raise_(drift("critical"), at=after(minutes / 60))
        assert (told.failed, told.reasons) == ({"pager": 1}, {"pager": "it answered 500"})
        assert alerts.open()[0]["told_at"] is None
    del listener.status["/pager"]
    assert alerts.raise_(drift("critical"), at=after(1)) == Told(sent={"pager": 1})
    assert alerts.raise_(drift("critical"), at=after(2)).suppressed
    assert (len(events(listener)), len(listener.bodies("/pager"))) == (1, 3)
    assert alerts.raise_(drift("critical"), at=after(25)).sent == {"chat": 1, "pager": 1}


def test_another_process_tells_all_of_them_rather_than_none(alerts: Alerts, ledger: Ledger, listener: Listener) -> None:
    listener.status["/pager"] = 500
    alerts.raise_(drift("critical"), at=NOW)
    del listener.status["/pager"]
    assert another(ledger, listener).raise_(drift("critical"), at=after(1)).sent == {"chat": 1, "pager": 1}


def test_an_end_that_was_not_taken_is_tried_again_for_some_days(
    alerts: Alerts, ledger: Ledger, listener: Listener
) -> None:
    for name in (DRIFT, "drift:Age"):
        alerts.raise_(drift("critical", name=name), at=NOW)
    listener.status["/pager"] = 500
    told = alerts.keep_only(CASE, "drift:", (), at=after(1))
    assert (told.sent, told.failed) == ({"chat": 2}, {"pager": 2})
    assert alerts.open() == []
    del listener.status["/pager"]
    assert alerts.resolve(CASE, DRIFT, at=after(2)).sent == {"pager": 1}
    late = after(1) + TRIED + timedelta(hours=1)
    assert another(ledger, listener).keep_only(CASE, "drift:", (), at=late).suppressed == NOT_OPEN


def test_a_channel_that_lets_us_wait_is_waited_for_once(ledger: Ledger, listener: Listener) -> None:
    listener.silent.add("/pager")
    endpoint = f"{listener.url}/pager"
    pager = PagerDuty(kind="pagerduty", name="p", routing_key_env="KEY", endpoint=endpoint, timeout_seconds=0.1)
    alerts = Alerts(ledger, [pager])
    told = [alerts.raise_(drift(name=f"drift:{number}"), at=NOW) for number in range(10)]
    assert [one.reasons["p"] for one in told] == [SILENT, *[RESTING] * 9]
    assert sum(told, Told()).failed == {"p": 10}
    listener.silent.clear()
    told = [alerts.raise_(drift(name=f"drift:{number}"), at=after(0.02)) for number in range(10)]
    assert sum(told, Told()) == Told(sent={"p": 10})


def test_many_who_see_the_same_at_once_open_one(alerts: Alerts, ledger: Ledger, listener: Listener) -> None:
    ledger.prepare()
    ready = threading.Barrier(8)

    def see() -> None:
        ready.wait(10)
        alerts.raise_(drift(), at=NOW)

    alone([threading.Thread(target=see) for _ in range(8)])
    assert [row["times"] for row in alerts.open()] == [8]
    assert 1 <= len(events(listener)) <= 8


def alone(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


def test_a_person_who_says_it_is_over_stands_in_the_audit_log(
    ledger: Ledger, listener: Listener, chain: Chain, settings: Settings
) -> None:
    alerts = Alerts.of(settings, ledger)
    for at in (NOW, after(1)):
        alerts.raise_(drift(), at=at)
    alerts.resolve(CASE, DRIFT, at=after(2), why="Looked at it.", signed=(chain, BY))
    alerts.resolve(CASE, DRIFT, at=after(3), why="Again.", signed=(chain, BY))
    (line,) = audit.entries(ledger)
    assert (line["act"], line["actor"]) == ("alerts.resolve", "auditor")
    assert line["about"] == {"use_case": CASE, "name": DRIFT, "why": "Looked at it."}
    assert chain.verify(ledger).broken is None

"""The quarterly report: every figure from the ledger, on both databases."""

import re
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from forewarn import usecases
from forewarn.databases import written
from forewarn.errors import BadInput
from forewarn.ledger import decisions, report, shipper
from forewarn.ledger.audit import Chain
from forewarn.ledger.decisions import NewDecision
from forewarn.ledger.doors import Doors
from forewarn.ledger.privacy import Privacy
from forewarn.ledger.records import Circumstances, Recorder
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings
from jobs import compliance
from tests.conftest import installed
from tests.ledger.conftest import BY, NOW

pytest_plugins = ["tests.servers"]

CASE = usecases.get("attrition")


@pytest.mark.parametrize(
    ("name", "now", "begins", "ends"),
    [
        ("2026Q4", NOW, (2026, 10), (2027, 1)),
        ("2026q1", NOW, (2026, 1), (2026, 4)),
        ("", datetime(2026, 11, 27, tzinfo=UTC), (2026, 7), (2026, 10)),
        ("", datetime(2026, 2, 1, tzinfo=UTC), (2025, 10), (2026, 1)),
    ],
)
def test_a_quarter_begins_and_ends(name: str, now: datetime, begins: tuple[int, int], ends: tuple[int, int]) -> None:
    _, first, after = report.quarter(name, now=now)
    assert ((first.year, first.month), (after.year, after.month)) == (begins, ends)


@pytest.mark.parametrize("name", ["2026", "2026Q5", "Q1", "soon"])
def test_what_is_no_quarter_is_told(name: str) -> None:
    with pytest.raises(BadInput, match="write it as 2026Q3"):
        report.quarter(name, now=NOW)


@pytest.mark.requirement("S1-41")
def test_a_report_says_who_had_access_what_was_decided_and_forgotten(
    ledger: Ledger, settings: Settings, chain: Chain
) -> None:
    installed(settings, [CASE])
    _, key_id = Doors(ledger, chain).create("HR <portal>", ["predict"], BY, at=NOW)
    old, _ = Doors(ledger, chain).create("old", ["predict"], BY, at=NOW - timedelta(days=400), days=10), None
    row = {spec.name: None for spec in CASE.fields} | {"MonthlyIncome": 5500.0, CASE.key: "planted-7"}
    answer = {"prediction_id": "p1", "probability": 0.8, "event": True, "risk_level": "high", "model_version": "v1",
              "served_from": "champion"}  # fmt: skip
    about = Circumstances(key_id=key_id, at=written(NOW))
    shipper.record(ledger, [orjson.dumps(Recorder.of(CASE, settings).line(row, answer, about, latency_ms=1.0))])
    made = NewDecision(prediction_id="p1", action="talked", overrides=True, reason="a <reason> in words", person="A")
    decisions.record(ledger, CASE, made, key_id=key_id, at=NOW)
    privacy = Privacy(settings, ledger)
    privacy.opt_out(privacy.person("planted-8"), BY, at=NOW)
    privacy.erase(privacy.person("planted-9"), BY, at=NOW)

    told = report.compliance(settings, ledger, "2026Q4", now=NOW)
    assert [(key["id"], key["predictions"]) for key in told["access"]] == [(key_id, 1)], f"{old} had expired before"
    assert (told["rights"]["opt_outs"], told["rights"]["erasures"], told["audit"]["broken"]) == (1, 1, None)
    attrition = told["use_cases"]["attrition"]
    assert attrition["answered"] == [{"version": "v1", "level": "high", "n": 1}]
    assert attrition["overrides"]["override_rate"] == 1.0
    assert attrition["champion"]["version"] == "v1"
    assert report.compliance(settings, ledger, "2026Q1", now=NOW)["use_cases"]["attrition"]["answered"] == []
    page = compliance.page(told)
    assert "a &lt;reason&gt; in words" in page
    assert "HR &lt;portal&gt;" in page
    assert "data:image/png" in page
    assert "planted" not in page + orjson.dumps(told).decode()
    assert not re.findall(r'(?:src|href)="(?!data:)', page), "it loads nothing from elsewhere"


@pytest.mark.requirement("S1-39")
def test_every_decision_is_in_the_report_and_one_on_a_profile_s_answer_counts_once(
    ledger: Ledger, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "READ_AT_ONCE", 2)
    monkeypatch.setattr(compliance, "MOST_SHOWN", 3)
    case = usecases.get("absenteeism")
    profile = case.profiles[-1]
    row = {spec.name: None for spec in profile.fields} | {profile.key: "planted-7"}
    answer = {"prediction_id": "p1", "prediction": 4.0, "model_version": "v1", "served_from": "champion"}
    line = Recorder.of(profile, settings).line(row, answer, Circumstances(key_id="k", at=written(NOW)), latency_ms=1.0)
    shipper.record(ledger, [orjson.dumps(line)])
    for number in range(5):
        made = NewDecision(
            prediction_id="p1", action="a", overrides=False, reason=f"reason number {number}", person="A"
        )
        decisions.record(ledger, case, made, key_id="k", at=NOW + timedelta(seconds=number))
    told = report.compliance(settings, ledger, "2026Q4", now=NOW)
    assert told["decisions"] == 5
    assert [one["reason"][-1] for one in told["use_cases"]["absenteeism"]["decisions"]] == list("01234")
    page = compliance.page(told)
    assert "The newest 3 of 5" in page
    assert "reason number 1" not in page

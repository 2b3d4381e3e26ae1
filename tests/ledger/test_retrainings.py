"""Rows to learn from again, and the record of having done so, on both databases."""

from datetime import timedelta
from typing import Any

import numpy as np
import orjson

from forewarn import scoring, usecases
from forewarn.databases import written
from forewarn.ledger import decisions, outcomes, retrainings, shipper, windows
from forewarn.ledger.decisions import NewDecision
from forewarn.ledger.privacy import Privacy
from forewarn.ledger.records import Circumstances, Recorder
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings
from tests.ledger.conftest import BY, NOW

pytest_plugins = ["tests.servers"]

CASE = usecases.get("attrition")


def answer(ledger: Ledger, settings: Settings, people: int, *, days: float, version: str = "v1") -> list[str]:
    recorder = Recorder.of(CASE, settings)
    rows = scoring.validate(CASE, CASE.sample(people, seed=int(days))).values
    about = Circumstances(key_id="k", at=written(NOW - timedelta(days=days)))
    known = [f"{int(days):04}{place:028}" for place in range(people)]
    lines = [recorder.line(row, {"prediction_id": one, "probability": 0.4, "event": True, "risk_level": "high",
                                 "model_version": version, "served_from": "champion"}, about, latency_ms=1.0)
             for row, one in zip(rows, known, strict=True)]  # fmt: skip
    shipper.record(ledger, [orjson.dumps(line) for line in lines])
    return known


def came(ledger: Ledger, settings: Settings, known: list[str], outcome: str) -> None:
    key = Recorder.of(CASE, settings).id_key
    read = [outcomes.read(CASE, key, {"prediction_id": one, "outcome": outcome}, at=NOW) for one in known]
    outcomes.record(ledger, CASE, read, key_id="k", at=NOW)


def fresh(ledger: Ledger, settings: Settings) -> list[Any]:
    return retrainings.fresh(ledger, Recorder.of(CASE, settings), CASE, at=NOW)


def test_what_came_true_within_half_a_year_is_there_to_be_learned_from(ledger: Ledger, settings: Settings) -> None:
    old, new = (answer(ledger, settings, 3, days=days) for days in (200, 20))
    came(ledger, settings, old, "Yes")
    came(ledger, settings, new[:2], "Yes")
    found = fresh(ledger, settings)
    assert [one.label for one in found] == [1.0, 1.0], "one is too old, of one nothing is known"
    assert {one.acted for one in found} == {False}
    assert all(one.subject and len(one.subject) == 64 for one in found)
    assert found[0].row["MonthlyIncome"] is not None
    assert found[0].row["Gender"] is not None, "sealed fields are read again"


def test_what_people_acted_on_is_flagged_and_an_override_is_no_act(ledger: Ledger, settings: Settings) -> None:
    known = answer(ledger, settings, 3, days=20)
    came(ledger, settings, known, "No")
    for one, overrides in ((known[0], False), (known[1], True)):
        made = NewDecision(prediction_id=one, action="talked", overrides=overrides, reason="as was said to me",
                           person="A")  # fmt: skip
        decisions.record(ledger, CASE, made, key_id="k", at=NOW)
    assert sorted(one.acted for one in fresh(ledger, settings)) == [False, False, True]


def test_who_was_erased_is_learned_from_no_more(ledger: Ledger, settings: Settings) -> None:
    known = answer(ledger, settings, 2, days=20)
    came(ledger, settings, known, "Yes")
    privacy = Privacy(settings, ledger)
    privacy.erase(privacy.person("E20-0"), BY, at=NOW)
    assert len(fresh(ledger, settings)) == 1


def test_a_retraining_is_written_down_with_its_cause_and_what_came_of_it(ledger: Ledger) -> None:
    one = retrainings.begin(ledger, CASE, "drift", "OverTime has moved", {"ledger": 300, "base": 1000}, at=NOW)
    assert retrainings.listed(ledger, CASE)[0]["status"] == "running"
    retrainings.end(ledger, one, version="v7", status="approved", at=NOW + timedelta(minutes=3))
    later = NOW + timedelta(hours=1)
    retrainings.begin(ledger, CASE, "hand", "because", {}, at=later)
    newest, first = retrainings.listed(ledger, CASE)
    assert (first["version"], first["cause"], first["rows"]) == ("v7", "drift", {"ledger": 300, "base": 1000})
    assert newest["ended_at"] is None
    assert retrainings.began(ledger, CASE) == [later, NOW]
    assert retrainings.began(ledger, usecases.get("churn")) == []


def test_each_version_s_rows_are_its_own(ledger: Ledger, settings: Settings) -> None:
    for days, version in ((30, "v1"), (20, "v2")):
        came(ledger, settings, answer(ledger, settings, 4, days=days, version=version), "Yes")
    since, recorder = NOW - timedelta(days=90), Recorder.of(CASE, settings)
    assert windows.versions(ledger, CASE, since=since, until=NOW) == ["v1", "v2"]
    told = windows.by_version(windows.known(ledger, recorder, CASE, since=since, until=NOW, at=NOW))
    assert {version: len(of.rows) for version, of in told.items()} == {"v1": 4, "v2": 4}
    rows, scores, count = windows.answered(ledger, recorder, CASE, since=since, until=NOW, version="v2")
    assert (len(rows), len(scores), count) == (4, 4, 4)


def test_of_very_many_rows_a_share_is_looked_at_whatever_their_age(ledger: Ledger, settings: Settings) -> None:
    recorder, rows = Recorder.of(CASE, settings), scoring.validate(CASE, CASE.sample(400, seed=1)).values
    random = np.random.default_rng(0)
    known = [random.bytes(16).hex() for _ in rows]
    lines = []
    for place, (row, one) in enumerate(zip(rows, known, strict=True)):
        about = Circumstances(key_id="k", at=written(NOW - timedelta(days=1 + place % 40)))
        told = {"prediction_id": one, "probability": 0.4, "event": True, "risk_level": "high", "model_version": "v1",
                "served_from": "champion"}  # fmt: skip
        lines.append(recorder.line(row, told, about, latency_ms=1.0))
    shipper.record(ledger, [orjson.dumps(line) for line in lines])
    came(ledger, settings, known, "Yes")
    since = NOW - timedelta(days=90)
    some = list(windows.known(ledger, recorder, CASE, since=since, until=NOW, at=NOW, most=100))
    assert 60 <= len(some) <= 140
    assert len({one.at[:10] for one in some}) > 20, "of all days"
    assert len(list(windows.known(ledger, recorder, CASE, since=since, until=NOW, at=NOW))) == 400

"""People's rights, in every place that knows them, on both databases."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
import sqlalchemy as sa
from pyarrow import csv, parquet

from forewarn import usecases
from forewarn.databases import written
from forewarn.entities import EntityRow
from forewarn.errors import BadInput
from forewarn.feature_store import FeatureStore
from forewarn.ledger import audit, decisions, files, notices, outcomes, retention, schema, shipper
from forewarn.ledger.audit import Chain
from forewarn.ledger.decisions import NewDecision
from forewarn.ledger.privacy import Privacy
from forewarn.ledger.records import Circumstances, Recorder
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings
from tests.ledger.conftest import BY, NOW

pytest_plugins = ["tests.servers"]

CASE = usecases.get("attrition")
CHURN = usecases.get("churn")
ID, OTHER = "planted-4711", "somebody-else"
Predict = Callable[..., str]


@pytest.fixture
def privacy(settings: Settings, ledger: Ledger) -> Privacy:
    return Privacy(settings, ledger)


@pytest.fixture
def predict(ledger: Ledger, settings: Settings) -> Predict:
    count = 0

    def made(subject: str, *, at: Any = NOW, case: Any = CASE) -> str:
        nonlocal count
        count += 1
        row = {spec.name: None for spec in case.fields} | {case.key: subject}
        row |= {"MonthlyIncome": 5500.0, "Gender": "planted-gender"} if case is CASE else {}
        answer = {"prediction_id": f"{count:032}", "probability": 0.8, "event": True, "risk_level": "high",
                  "model_version": "v1", "served_from": "champion"}  # fmt: skip
        about = Circumstances(key_id="k1", at=written(at))
        line = Recorder.of(case, settings).line(row, answer, about, latency_ms=1.0)
        shipper.record(ledger, [orjson.dumps(line)])
        return str(line["id"])

    return made


def everywhere(
    ledger: Ledger, settings: Settings, privacy: Privacy, predict: Predict, tmp_path: Path
) -> tuple[str, Path]:
    """Somebody whom every place knows, beside somebody else; their prediction, and a file."""
    mine, _ = predict(ID), predict(OTHER)
    reason = NewDecision(
        prediction_id=mine, action="talked", overrides=False, reason="planted reason in words", person="A"
    )
    decisions.record(ledger, CASE, reason, key_id="k", at=NOW)
    sent = {"subject": ID, "date": written(NOW), "outcome": 1}
    read = [outcomes.read(CASE, privacy._id_key, one, at=NOW) for one in (sent, {"prediction_id": mine, "outcome": 0})]
    outcomes.record(ledger, CASE, read, key_id="k", at=NOW)
    rows = [EntityRow(subject=one, fields={"MonthlyIncome": 1.0}) for one in (ID, OTHER)]
    FeatureStore.open(settings).put(CASE, rows, valid_from=NOW, loaded_at=NOW)
    file = tmp_path / "scores.parquet"
    parquet.write_table(pa.table({"EmployeeNumber": [ID, OTHER, None], "probability": [0.1, 0.2, 0.3]}), file)
    files.register(settings, "attrition", "v1", file, {"scored": 2}, at=NOW)
    return mine, file


@pytest.mark.requirement("S0-29")
def test_an_export_holds_all_that_is_known_readable(
    ledger: Ledger, settings: Settings, privacy: Privacy, predict: Predict, tmp_path: Path
) -> None:
    mine, file = everywhere(ledger, settings, privacy, predict, tmp_path)
    told = privacy.export(privacy.person(ID), BY, at=NOW)
    (prediction,) = told["predictions"]
    assert (prediction["id"], prediction["row"]["Gender"]) == (mine, "planted-gender")
    assert [len(told[name]) for name in ("outcomes", "decisions", "features")] == [2, 1, 1]
    assert told["batches"] == [{"path": str(file), "rows": [{"EmployeeNumber": ID, "probability": 0.1}]}]
    orjson.dumps(told)
    again = privacy.export(privacy.person(ID), BY, at=NOW)
    assert again["audit"][0]["personal"] == {"subject": ID}


@pytest.mark.requirement("S2-72")
def test_erasure_goes_through_every_place_and_leaves_others_alone(
    ledger: Ledger, settings: Settings, privacy: Privacy, predict: Predict, tmp_path: Path
) -> None:
    mine, file = everywhere(ledger, settings, privacy, predict, tmp_path)
    privacy.export(privacy.person(ID), BY, at=NOW)
    receipt = privacy.erase(privacy.person(ID), BY, at=NOW)
    assert receipt["erased"] == {
        "outcomes": 2,
        "decisions": 1,
        "predictions": 1,
        "features": 1,
        "audit_keys": 1,
    }
    assert receipt["files"]["rewritten"] == [str(file)]
    assert parquet.read_table(file)["EmployeeNumber"].to_pylist() == [OTHER, None]
    gone = privacy.export(privacy.person(ID), BY, at=NOW)
    assert not any(gone[name] for name in ("predictions", "outcomes", "decisions", "features", "batches"))
    kept = privacy.export(privacy.person(OTHER), BY, at=NOW)
    assert [len(kept[name]) for name in ("predictions", "features", "batches")] == [1, 1, 1]
    line = decisions.prediction(ledger, CASE, mine)
    assert (line["erased_at"], line["score"], line["version"]) == (written(NOW), None, "v1")
    assert line["decisions"][0]["reason"] is None
    assert Chain.of(settings).verify(ledger).broken is None
    assert privacy.erase(privacy.person(ID), BY, at=NOW)["erased"]["predictions"] == 0
    found = notices.read(ledger)
    assert found


def test_a_receipt_proves_itself_and_names_nobody(privacy: Privacy, predict: Predict) -> None:
    predict(ID)
    receipt = privacy.erase(privacy.person(ID), BY, at=NOW)
    assert ID not in orjson.dumps(receipt).decode()
    assert privacy.verified(receipt)
    assert privacy.verified(orjson.loads(orjson.dumps(receipt)))
    assert not privacy.verified({**receipt, "erased": {}})
    assert not privacy.verified({})


def test_a_csv_is_rewritten_too_its_ids_stay_text_and_one_that_is_gone_is_told(
    ledger: Ledger, settings: Settings, privacy: Privacy, tmp_path: Path
) -> None:
    file = tmp_path / "scores.csv"
    csv.write_csv(pa.table({"EmployeeNumber": ["007", "7"], "probability": [0.1, 0.2]}), file)
    for path in (file, tmp_path / "gone.csv"):
        files.register(settings, "attrition", "v1", path, {}, at=NOW)
    told = privacy.erase(privacy.person("7"), BY, at=NOW)["files"]
    assert (told["rewritten"], told["not_found"]) == ([str(file)], [str(tmp_path / "gone.csv")])
    assert "007" in file.read_text()
    assert '"7"' not in file.read_text()


def test_a_batch_that_could_not_be_registered_is_registered_by_the_next(
    ledger: Ledger, settings: Settings, tmp_path: Path
) -> None:
    away = settings.model_copy(update={"ledger_uri": "postgresql://me@127.0.0.1:1/none"})
    files.register(away, "attrition", "v1", tmp_path / "one.csv", {"scored": 5}, at=NOW)
    files.register(settings, "attrition", "v1", tmp_path / "two.csv", {"scored": 6}, at=NOW)
    with ledger.begin() as connection:
        found = files.registered(connection, {"attrition": []})
    assert [one["scored"] for one in found] == [5, 6]
    assert not (settings.home / files.PENDING).exists()


@pytest.mark.requirement("S1-36")
def test_opting_out_and_in_again(ledger: Ledger, privacy: Privacy) -> None:
    person = privacy.person(ID)
    assert privacy.opt_out(person, BY, at=NOW) == len(person.known_as)
    assert privacy.opt_out(person, BY, at=NOW) == 0
    found = notices.read(ledger)
    assert found
    assert found.opted_out == set(person.pseudonyms)
    assert privacy.opt_in(privacy.person(ID, "churn"), BY, at=NOW) == 1
    assert privacy.opt_in(person, BY, at=NOW) == len(person.known_as) - 1
    acts = [(line["act"], line["personal"]) for line in audit.entries(ledger)]
    assert acts[-1] == ("subject.opt-out", {"subject": ID})
    assert {act for act, _ in acts} == {"subject.opt-out", "subject.opt-in"}


@pytest.mark.parametrize("nobody", ["", "  ", None, 1.5])
def test_what_is_no_id_is_told(privacy: Privacy, nobody: Any) -> None:
    with pytest.raises(BadInput, match="an id is"):
        privacy.person(nobody)


@pytest.mark.requirement("S1-35")
@pytest.mark.requirement("S2-71")
@pytest.mark.requirement("C10")
def test_contents_are_purged_and_lines_archived_when_their_time_has_come(
    ledger: Ledger, settings: Settings, chain: Chain, privacy: Privacy, predict: Predict
) -> None:
    for case, days in ((CASE, 181), (CASE, 179), (CHURN, 120), (CHURN, 91), (CHURN, 89)):
        predict(ID, at=NOW - timedelta(days=days), case=case)
    assert retention.due(ledger, CASE, now=NOW) == {"purged": 1, "archived": 0}
    assert retention.due(ledger, CHURN, now=NOW) == {"purged": 0, "archived": 2}
    for case, done in ((CASE, {"purged": 1, "archived": 0}), (CHURN, {"purged": 0, "archived": 2})):
        assert retention.run(ledger, chain, settings, case, BY, now=NOW) == done
        assert retention.run(ledger, chain, settings, case, BY, now=NOW) == {"purged": 0, "archived": 0}
    with ledger.begin() as connection:
        lines = connection.execute(sa.select(schema.PREDICTIONS).order_by(schema.PREDICTIONS.c.at)).all()
    assert [(line.use_case, line.fields is None, line.score) for line in lines] == [
        ("attrition", True, 0.8),
        ("attrition", False, 0.8),
        ("churn", False, 0.8),
    ]
    archived = sorted(retention.archive_of(settings).rglob("*.parquet"))
    assert sum(len(parquet.read_table(file)) for file in archived) == 2
    assert not [file for file in archived if ID.encode() in file.read_bytes()]
    assert len(audit.entries(ledger, act="retention.run")) == 2
    told = privacy.erase(privacy.person(ID), BY, at=NOW)["files"]["archives"]
    assert told == [str(file) for file in archived]
    assert sum(len(parquet.read_table(file)) for file in archived) == 0


def test_an_archive_that_was_cut_short_is_made_again_and_nothing_is_doubled(
    ledger: Ledger, settings: Settings, chain: Chain, predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [predict(ID, at=NOW - timedelta(days=91, hours=-hour), case=CHURN) for hour in range(5)]
    monkeypatch.setattr(retention, "ARCHIVED_AT_ONCE", 2)

    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retention.run(ledger, chain, settings, CHURN, BY, now=NOW, tell=stop)
    assert retention.run(ledger, chain, settings, CHURN, BY, now=NOW)["archived"] == 3
    tables = [parquet.read_table(file) for file in retention.archive_of(settings).rglob("*.parquet")]
    assert sorted(one for table in tables for one in table["id"].to_pylist()) == made

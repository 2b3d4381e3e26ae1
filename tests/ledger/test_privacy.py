"""People's rights, in every place that knows them, on both databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
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
from forewarn.ledger import audit, decisions, files, nightly, notices, outcomes, retention, schema, shipper
from forewarn.ledger.audit import Chain
from forewarn.ledger.decisions import NewDecision
from forewarn.ledger.privacy import Privacy
from forewarn.ledger.records import Circumstances, Recorder
from forewarn.ledger.store import Ledger, alone
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
    kept = {privacy._id_key.pseudonym(CASE.name, one): 0.2 for one in (ID, OTHER)}
    nightly.keep(ledger, CASE, "v1", kept, at=NOW)
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
    assert [len(told[name]) for name in ("outcomes", "decisions", "features", "nightly")] == [2, 1, 1, 1]
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
        "set_apart": 0,
        "nightly": 1,
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
        found = files.registered(connection, ["attrition"])
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


@pytest.mark.requirement("S2-72")
def test_a_batch_that_is_not_registered_yet_is_found_by_an_erasure(
    ledger: Ledger, settings: Settings, privacy: Privacy, tmp_path: Path
) -> None:
    file = tmp_path / "scores.csv"
    csv.write_csv(pa.table({"EmployeeNumber": [ID, OTHER]}), file)
    away = settings.model_copy(update={"ledger_uri": "postgresql://me@127.0.0.1:1/none"})
    files.register(away, "attrition", "v1", file, {}, at=NOW)
    assert privacy.erase(privacy.person(ID), BY, at=NOW)["files"]["rewritten"] == [str(file)]
    assert ID not in file.read_text()


def test_a_job_that_was_killed_while_it_registered_stops_no_later_one(
    ledger: Ledger, settings: Settings, tmp_path: Path
) -> None:
    away = settings.model_copy(update={"ledger_uri": "postgresql://me@127.0.0.1:1/none"})
    files.register(away, "attrition", "v1", tmp_path / "one.csv", {}, at=NOW)
    waiting = (settings.home / files.PENDING).read_bytes()
    files.settle(settings, ledger)
    (settings.home / files.PENDING).write_bytes(waiting)  # killed between the ledger and the file
    files.register(settings, "attrition", "v1", tmp_path / "two.csv", {}, at=NOW)
    with ledger.begin() as connection:
        assert len(files.registered(connection, ["attrition"])) == 2
    assert not (settings.home / files.PENDING).exists()


@pytest.mark.requirement("S2-72")
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_whoever_is_erased_while_a_batch_runs_is_not_in_its_output(
    settings: Settings, privacy: Privacy, tmp_path: Path, suffix: str
) -> None:
    file, table = tmp_path / f"scores{suffix}", pa.table({"EmployeeNumber": [ID, OTHER, None]})
    privacy.erase(privacy.person(ID), BY, at=NOW + timedelta(seconds=5))
    csv.write_csv(table, file) if suffix == ".csv" else parquet.write_table(table, file)
    files.register(settings, "attrition", "v1", file, {}, at=NOW)
    assert ID.encode() not in file.read_bytes()
    assert OTHER.encode() in file.read_bytes()


def test_an_output_that_nobody_can_read_stops_no_erasure_and_stands_in_the_receipt(
    ledger: Ledger, settings: Settings, privacy: Privacy, predict: Predict, tmp_path: Path
) -> None:
    predict(ID)
    for name, held in (("torn.parquet", b"PAR1"), ("other.csv", b"\xff\xfe" + ID.encode() + b"\n\xff" + ID.encode())):
        (tmp_path / name).write_bytes(held)
        files.register(settings, "attrition", "v1", tmp_path / name, {}, at=NOW)
    assert len(privacy.export(privacy.person(ID), BY, at=NOW)["batches"]) == 2
    receipt = privacy.erase(privacy.person(ID), BY, at=NOW)
    assert receipt["erased"]["predictions"] == 1
    assert receipt["files"]["unreadable"] == [str(tmp_path / name) for name in ("torn.parquet", "other.csv")]


def test_what_is_left_of_a_file_is_as_it_was(settings: Settings, privacy: Privacy, tmp_path: Path) -> None:
    file = tmp_path / "scores.csv"
    table = pa.table({"EmployeeNumber": [OTHER, ID, "8"], "said": ['a "b"\n' + ID, "x", None], "p": [0.1, 0.2, None]})
    csv.write_csv(table, file)
    file.chmod(0o640)
    before = file.read_text()
    files.register(settings, "attrition", "v1", file, {}, at=NOW)
    privacy.erase(privacy.person(ID), BY, at=NOW)
    assert file.read_text() == before.replace(f'"{ID}","x",0.2\n', "")
    assert file.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["scores.csv"]


def test_a_line_that_the_database_refused_is_forgotten_too(
    ledger: Ledger, settings: Settings, privacy: Privacy
) -> None:
    settings.spools.mkdir(parents=True)
    theirs, others = ({"id": "1", "subject": privacy.person(one).known_as[CASE.name][0]} for one in (ID, OTHER))
    apart = settings.spools / shipper.DAMAGED
    apart.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in (theirs, others)))
    assert privacy.erase(privacy.person(ID), BY, at=NOW)["erased"]["set_apart"] == 1
    assert orjson.loads(apart.read_bytes()) == others


@pytest.mark.requirement("C10")
def test_an_opt_out_entered_again_outlives_the_secret_it_was_first_made_under(
    ledger: Ledger, settings: Settings, privacy: Privacy
) -> None:
    for one in (ID, OTHER):
        privacy.opt_out(privacy.person(one), BY, at=NOW)
    assert privacy.rotate(BY, at=NOW) == 1
    now = Privacy(settings, ledger)
    made = len(now.person(ID).known_as)
    assert now.stranded() == 2 * made
    after = datetime.now(UTC) + timedelta(seconds=1)
    assert now.opt_out(now.person(ID), BY, at=after) == 0, "it is no news"
    assert now.stranded() == made
    assert now.retire(BY, at=after) == 1
    left = Privacy(settings, ledger)
    found = [len(left.export(left.person(one), BY, at=after)["opt_outs"]) for one in (ID, OTHER)]
    assert found == [made, 0]
    assert {"secret.rotate", "secret.retire"} <= {line["act"] for line in audit.entries(ledger)}


@pytest.mark.requirement("S0-29")
def test_an_export_reaches_archives_older_features_and_what_lies_under_older_secrets(
    ledger: Ledger, settings: Settings, chain: Chain, privacy: Privacy, predict: Predict
) -> None:
    made = [predict(ID, at=NOW - timedelta(days=days), case=CHURN) for days in (100, 1)]
    store = FeatureStore.open(settings)
    for days, value in ((9, 1.0), (3, 2.0)):
        rows = [EntityRow(subject=ID, fields={"MonthlyIncome": value})]
        store.put(CASE, rows, valid_from=NOW - timedelta(days=days), loaded_at=NOW)
    assert retention.run(ledger, chain, settings, CHURN, BY, now=NOW)["archived"] == 1
    privacy.rotate(BY, at=NOW)
    now = Privacy(settings, ledger)
    told = now.export(now.person(ID), BY, at=NOW)
    assert [line["id"] for line in told["predictions"]] == made
    assert [row["fields"]["MonthlyIncome"] for row in told["features"]] == [1.0, 2.0]
    assert now.erase(now.person(ID), BY, at=NOW)["erased"]["features"] == 2


@pytest.mark.requirement("S0-27")
@pytest.mark.requirement("S2-69")
@pytest.mark.requirement("C32")
def test_nothing_of_a_person_lies_raw_anywhere_and_after_erasure_not_even_their_words(
    ledger: Ledger, settings: Settings, privacy: Privacy, predict: Predict, tmp_path: Path
) -> None:
    everywhere(ledger, settings, privacy, predict, tmp_path)
    privacy.opt_out(privacy.person(ID), BY, at=NOW)
    privacy.export(privacy.person(ID), BY, at=NOW)
    raw = (ID.encode(), b"planted-gender")
    assert not held(ledger, settings, raw)
    assert held(ledger, settings, (b"planted reason",)), "else this test could not find anything"
    privacy.erase(privacy.person(ID), BY, at=NOW)
    assert not held(ledger, settings, (*raw, b"planted reason"))


def held(ledger: Ledger, settings: Settings, planted: tuple[bytes, ...]) -> list[str]:
    """The files of the home, and on a server the tables, in which any of these lies."""
    places = {str(path): path.read_bytes() for path in settings.home.rglob("*") if path.is_file()}
    if ledger.dialect == "postgresql":
        with ledger.begin() as connection:
            for table in schema.METADATA.sorted_tables:
                places[table.name] = repr(connection.execute(sa.select(table)).all()).encode()
    return [place for place, found in places.items() if any(one in found for one in planted)]


@pytest.mark.requirement("S2-72")
def test_whoever_archives_lines_or_ships_them_waits_for_an_erasure(
    ledger: Ledger, settings: Settings, chain: Chain, privacy: Privacy, predict: Predict
) -> None:
    """Else lines read before it would be written after it, with all that was in them."""
    predict(ID, at=NOW - timedelta(days=100), case=CHURN)
    with ThreadPoolExecutor(1) as aside:
        with ledger.begin() as connection:
            alone(connection)
            archiving = aside.submit(retention.run, ledger, chain, settings, CHURN, BY, now=NOW)
            with pytest.raises(TimeoutError):
                archiving.result(timeout=0.3)
            mine = privacy.person(ID).pseudonyms
            connection.execute(
                sa.update(schema.PREDICTIONS)
                .where(schema.PREDICTIONS.c.subject.in_(mine))
                .values(subject=None, fields=None)
            )
        assert archiving.result(timeout=20)["archived"] == 1
    assert retention.archived(settings, privacy.person(ID).pseudonyms) == []

"""`python -m jobs.refresh_features`: what it stores, what it leaves out, and how it says so."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from forewarn import entity_table, usecases
from forewarn.errors import BadInput
from forewarn.feature_store import FeatureStore, Holding, fill
from forewarn.settings import PROJECT, Settings
from jobs import refresh_features
from tests import databases

pytest_plugins = ["tests.servers"]

CHURN = usecases.get("churn")
NOW = datetime(2025, 10, 31, 8, tzinfo=UTC)
SECRET_IDS = ("QID1", "QID2", "QID3", "QID4", "QID5")
HEAD = "customerID,tenure,MonthlyCharges,Contract,late_payment_count,gender,Churn,seen_at\n"


@pytest.fixture
def store(settings: Settings) -> Iterator[FeatureStore]:
    opened = FeatureStore.open(settings)
    yield opened
    opened.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "customers.csv"
    path.write_text(
        HEAD
        + "QID1,3,50.5,Month-to-month,1,Female,No,2025-10-01\n"
        + "QID1,4,51.5,Month-to-month,2,Female,No,2025-10-02T06:00:00+02:00\n"
        + "QID2,9,20,Two year,,Male,Yes,2025-10-03T00:00:00\n"
        + "QID3,-1,20,Two year,0,Male,No,2025-10-03\n"
        + ",9,20,Two year,0,Male,No,2025-10-03\n"
        + "QID4,9,20,Two year,0,Male,No,2025-11-01\n"
        + "QID5,9,20,Two year,0,Male,No,31.10.2025\n"
        + "QID5,9,20,Two year,0,Male,No,2025-10-31T08:00:00Z\n"
        + "QID2,9,20,Two year,5,Male,Yes,2025-10-05\n"
    )
    return path


def refresh(settings: Settings, data: object, **more: Any) -> dict[str, Any]:
    return refresh_features.run(CHURN, str(data), settings, now=NOW, **more)


def command(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FOREWARN_HOME": str(settings.home)}
    words = [sys.executable, "-m", "jobs.refresh_features", *arguments]
    return subprocess.run(words, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=100)


@pytest.mark.requirement("S1-10")
def test_what_was_stored_fills_a_request(settings: Settings, store: FeatureStore, source: Path) -> None:
    told = refresh(settings, source, time_column="seen_at")
    assert told == {
        "use_case": "churn",
        "rows": 9,
        "stored": 5,
        "rejected": 4,
        "entities": 3,
        "newest": NOW,
        "source": str(source),
    }
    (row,), (found,) = fill(CHURN, [{"customer_id": "QID1"}], store, NOW)
    held = {"tenure_months": 4, "monthly_charges": 51.5, "contract": "Month-to-month", "late_payment_count": 2}
    assert row == {"customer_id": "QID1", **held}
    assert found
    assert found.as_of == "2025-10-02T04:00:00Z"
    then = store.as_of(
        CHURN, [("QID1", datetime(2025, 10, 1, tzinfo=UTC)), ("QID2", datetime(2025, 10, 4, tzinfo=UTC))]
    )
    assert [one and one.fields.get("tenure_months") for one in then] == [3, 9]
    assert then[1]
    assert "late_payment_count" not in then[1].fields


def test_refreshing_again_changes_nothing(settings: Settings, store: FeatureStore, source: Path) -> None:
    assert refresh(settings, source, time_column="seen_at") == refresh(settings, source, time_column="seen_at")
    assert store.describe(CHURN) == Holding(entities=3, rows=5, newest=NOW)


def test_without_a_time_column_rows_hold_from_now(settings: Settings, store: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("customer_id,support_calls\nQID1,3\nQID2,4\n")
    assert refresh(settings, tmp_path / "rows.csv")["newest"] == NOW
    assert store.latest(CHURN, ["QID2"], at=NOW)["QID2"].fields == {"support_calls": 4}


def test_a_subject_that_is_there_twice_is_stored_once_and_said(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.csv").write_text("customer_id,support_calls\nQID1,3\nQID1,4\n")
    assert refresh(settings, tmp_path / "rows.csv")["stored"] == 1
    assert "1 rows repeat a subject and its time" in capsys.readouterr().err


@pytest.mark.requirement("C32")
def test_rejects_are_counted_shown_and_written_without_ids(
    settings: Settings, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rejects = tmp_path / "rejects.csv"
    refresh(settings, source, time_column="seen_at", rejects=rejects)
    said = capsys.readouterr().err
    assert "4 of 9 rows were left out (2 × bad time, 1 × invalid value, 1 × no id), such as" in said
    assert "row 3: tenure: " in said
    with rejects.open() as file:
        written = list(csv.DictReader(file))
    assert [(one["row"], one["kind"]) for one in written] == [
        ("3", "invalid value"),
        ("4", "no id"),
        ("5", "bad time"),
        ("6", "bad time"),
    ]
    assert [one["reason"] for one in written[2:]] == [
        "seen_at lies in the future",
        "seen_at is no ISO date or time, such as 2026-10-31 or 2026-10-31T08:00:00Z",
    ]
    on_disk = b"".join(file.read_bytes() for file in [*settings.home.rglob("*"), rejects] if file.is_file())
    assert not any(one.encode() in on_disk or one in said for one in SECRET_IDS)
    assert rejects.stat().st_mode & 0o777 == 0o600


def test_a_source_that_is_mostly_bad_stores_nothing(settings: Settings, tmp_path: Path) -> None:
    rows = "".join(f"QID{n},{n if n < 5 else -1}\n" for n in range(11))
    (tmp_path / "rows.csv").write_text("customer_id,tenure_months\n" + rows)
    with pytest.raises(BadInput, match=r"6 of 11 rows are bad \(6 × invalid value\), so nothing was stored"):
        refresh(settings, tmp_path / "rows.csv", rejects=tmp_path / "rejects.csv")
    assert not settings.home.exists()
    assert len((tmp_path / "rejects.csv").read_text().splitlines()) == 7


@pytest.mark.parametrize(
    ("text", "time_column", "said"),
    [
        ("tenure_months\n3\n", "", "the column customer_id is missing"),
        ("customer_id,tenure_months\nC1,3\n", "when", "no column when; it has customer_id, tenure_months"),
        ("customer_id,colour\nC1,red\n", "", "1 of 1 rows are bad"),
        ("customer_id,tenure,tenure_months\nC1,1,2\n", "", "both give tenure_months"),
    ],
)
def test_a_source_that_cannot_be_meant_is_refused(
    settings: Settings, tmp_path: Path, text: str, time_column: str, said: str
) -> None:
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(BadInput, match=said):
        refresh(settings, tmp_path / "rows.csv", time_column=time_column)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("2025-10-31", datetime(2025, 10, 31, tzinfo=UTC)),
        ("2025-10-31 07:30:00", datetime(2025, 10, 31, 7, 30, tzinfo=UTC)),
        ("2025-10-31T09:30:00+02:00", datetime(2025, 10, 31, 7, 30, tzinfo=UTC)),
        ("2025-10-31T08:00:00.000001Z", "lies in the future"),
        ("0001-01-01T00:00:00+14:00", "is no ISO"),
        ("yesterday", "is no ISO"),
        (20_000.5, "is no ISO"),
        (None, "is empty"),
    ],
)
def test_a_time_is_read_or_what_is_wrong_is_said(value: object, read: datetime | str) -> None:
    found = refresh_features.time_of(value, NOW)
    assert found == read if isinstance(read, datetime) else str(found).startswith(read)


@pytest.mark.parametrize("server", ["postgres_uri", "mysql_uri"])
def test_rows_go_from_a_database_into_a_database(
    request: pytest.FixtureRequest, settings: Settings, server: str
) -> None:
    uri = request.getfixturevalue(server)
    rows = [{"customer_id": f"QID{n}", "tenure_months": n, "seen_at": f"2025-10-{n + 1:02}"} for n in range(20)]
    databases.put_table(uri, "churn", rows)
    there = settings.model_copy(update={"features_uri": uri})
    told = refresh(there, uri, time_column="seen_at")
    assert (told["stored"], told["entities"]) == (20, 20)
    assert "password" not in json.dumps(told, default=str)
    assert uri.partition("@")[0].rpartition(":")[2] not in json.dumps(told, default=str)
    query = "SELECT customer_id, tenure_months + 1 AS tenure_months FROM churn WHERE tenure_months < 5"
    assert refresh(there, uri, query=query)["stored"] == 5
    with closing(FeatureStore.open(there)) as store:
        assert store.latest(CHURN, ["QID1"], at=NOW)["QID1"].fields == {"tenure_months": 2}
        entity_table.TABLE.drop(store._engine)


@pytest.mark.slow
def test_the_command_prints_one_line(settings: Settings, source: Path) -> None:
    done = command(settings, "churn", "--data", str(source), "--time-column", "seen_at")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert json.loads(line).keys() == {"use_case", "rows", "stored", "rejected", "entities", "newest", "source"}
    assert "Storing" in done.stderr


@pytest.mark.slow
def test_the_command_says_no_in_a_sentence(settings: Settings, tmp_path: Path) -> None:
    done = command(settings, "churn", "--data", str(tmp_path / "nothing.csv"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "no such file" in done.stderr
    assert "Traceback" not in done.stderr
    assert command(settings, "churn").returncode == 2
    assert "start it with `forewarn up`" in command(settings, "churn", "--data", "x.csv", "--submit").stderr

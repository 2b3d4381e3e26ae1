"""What people do with releases at a shell, and what a nightly run leaves; no Ray, no MLflow."""

import json
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from typer.testing import CliRunner, Result

from forewarn import usecases
from forewarn.databases import written
from forewarn.errors import BadInput
from forewarn.ids import IdKey
from forewarn.ledger import nightly as kept
from forewarn.ledger.store import Ledger
from forewarn.releases import Releases
from forewarn.settings import Settings
from jobs import nightly
from jobs.cli import app
from jobs.release import cohorts_of
from tests.conftest import admitted

CASE = usecases.get("attrition")
NOW = datetime(2026, 11, 27, 3, tzinfo=UTC)


@pytest.fixture
def shell(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Of a home with two approved versions."""
    monkeypatch.setenv("FOREWARN_HOME", str(settings.home))
    monkeypatch.setenv("FOREWARN_USER", "grace")
    admitted(settings, CASE, "v1", "v2")
    return CliRunner()


def done(shell: CliRunner, *words: str) -> Result:
    found = shell.invoke(app, ["release", *words])
    if found.exception and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found


@pytest.mark.requirement("S2-66")
def test_a_release_from_its_start_to_its_end(shell: CliRunner, settings: Settings) -> None:
    done(shell, "start", CASE.name, "2", "--share", "20", "--cohort", "Department=Sales", "--why", "a pilot")
    done(shell, "share", CASE.name, "60", "--why", "a good day")
    done(shell, "pause", CASE.name, "--why", "an incident elsewhere")
    told = json.loads(done(shell, "status", CASE.name, "--json").stdout)
    assert (told["state"]["share"], told["state"]["paused"], told["newest"]["act"]) == (60, True, "pause")
    assert "challenger v2, paused" in done(shell, "status", CASE.name).stdout
    done(shell, "promote", CASE.name, "--why", "it is good")
    moment = written(datetime.now(UTC))
    done(shell, "rollback", CASE.name, "--why", "it is not")
    lines = json.loads(done(shell, "history", CASE.name, "--json").stdout)
    assert [line["act"] for line in lines] == ["rollback", "promote", "pause", "share", "start"]
    assert {line["actor"] for line in lines} == {"grace"}
    assert "a good day" in done(shell, "history", CASE.name).stdout
    assert "champion v2, previous v1" in done(shell, "at", CASE.name, moment).stdout
    assert Releases(settings.packages).champion(CASE) == "v1"


def test_a_shadow_and_its_end(shell: CliRunner, settings: Settings) -> None:
    done(shell, "shadow", CASE.name, "v2", "--why", "few are asked here")
    assert Releases(settings.packages).state(CASE).shadow == "v2"
    assert "shadow v2" in done(shell, "status", CASE.name).stdout
    assert json.loads(done(shell, "judge", CASE.name).stdout)[CASE.name]["action"] == "extend"
    done(shell, "shadow", CASE.name, "--why", "it has seen enough")
    assert Releases(settings.packages).state(CASE).shadow is None


def test_the_report_of_a_release_that_nobody_asked_yet(shell: CliRunner, tmp_path: Path) -> None:
    done(shell, "start", CASE.name, "v2", "--why", "a tenth")
    made = json.loads(done(shell, "report", CASE.name, "--output", str(tmp_path)).stdout)["files"]
    page, told = Path(made[0]).read_text(), json.loads(Path(made[1]).read_text())
    assert (told["verdict"]["action"], told["measures"], told["outcomes"]) == ("extend", [], {"rows": 0})
    assert "Too few rows to compare yet" in page


def test_what_a_shell_writes_for_cohorts() -> None:
    assert cohorts_of(["Department=Sales,HR", "JobLevel=1"]) == {"Department": ["Sales", "HR"], "JobLevel": ["1"]}
    assert cohorts_of(None) == {}
    with pytest.raises(BadInput, match="write it as"):
        cohorts_of(["Department"])


@pytest.mark.requirement("S1-06")
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_nightly_run_leaves_the_score_of_everybody_who_is_named(
    settings: Settings, tmp_path: Path, suffix: str
) -> None:
    table = pa.table({
        "row": [0, 1, 2, 3],
        "EmployeeNumber": ["7", "8", None, "7"],
        "probability": [0.1, 0.2, 0.3, 0.4],
        "served_by": ["attrition"] * 4,
        "model_version": ["v3"] * 4,
    })  # fmt: skip
    output = tmp_path / f"scores{suffix}"
    (csv.write_csv if suffix == ".csv" else parquet.write_table)(table, output)
    assert nightly.keep(settings, CASE, output, at=NOW) == 2
    key = IdKey.open(settings.id_key)
    names = {one: key.pseudonym("attrition", one) for one in ("7", "8")}
    with closing(Ledger.open(settings)) as ledger:
        found = kept.of(ledger, CASE, list(names.values()), since=NOW)
    assert {one: found[name].score for one, name in names.items()} == {"7": 0.4, "8": 0.2}
    assert {one.version for one in found.values()} == {"v3"}

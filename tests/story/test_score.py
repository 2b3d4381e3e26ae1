"""Files scored on a real Ray: the service's answers, in order, from any kind of file."""

import csv
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import compute, parquet
from pyarrow import csv as pa_csv

from forewarn import scoring, tables, usecases
from forewarn.errors import BadInput, ForewarnError
from forewarn.ledger.audit import By
from forewarn.ledger.privacy import Privacy
from forewarn.manifest import Manifest
from forewarn.releases import Releases
from forewarn.settings import PROJECT, Settings
from forewarn.usecase import UseCase
from jobs import parts, submit
from jobs.lines import Order
from jobs.outputs import Output, rejects_of
from jobs.score import run
from jobs.stream import Source
from tests.conftest import Service, fitted, until
from tests.jobs.test_score import install

pytestmark = pytest.mark.cluster
ATTRITION = usecases.get("attrition")
ABSENTEEISM = usecases.get("absenteeism")
# More than one block of the reader, and of the actors.
MANY = 20_000


def unlabelled(case: UseCase, n: int, seed: int) -> list[dict[str, Any]]:
    return [{name: v for name, v in row.items() if name != case.target} for row in case.sample(n, seed=seed)]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text(tables.csv_of(rows), newline="")
    return path


def scored(settings: Settings, case: UseCase, data: Path, output: Path) -> tuple[dict[str, int], list[dict[str, Any]]]:
    order = Order.of(case, settings, version=None, explained=False, at=datetime.now(UTC))
    source = Source.of(str(data), case)
    with parts.held(order, source, Output(path=output)) as kept:
        done = run(kept, source, workers=2)
    return done, lines(output)


def lines(output: Path) -> list[dict[str, Any]]:
    if output.suffix == ".parquet":
        return parquet.read_table(output).to_pylist()
    with output.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.requirement("S0-01")
def test_a_files_scores_are_the_services_to_the_last_bit(service: Service, tmp_path: Path) -> None:
    rows = unlabelled(ATTRITION, 400, seed=21)
    sent = service.client.post("/v1/attrition/predict", json=rows).json()["predictions"]
    done, told = scored(service.settings, ATTRITION, written(tmp_path / "rows.csv", rows), tmp_path / "scores.csv")
    assert done == {"rows": 400, "scored": 400, "rejected": 0, "opted_out": 0}
    assert [float(line["probability"]) for line in told] == [answer["probability"] for answer in sent]
    for name in ("prediction", "risk_level", "model_version", "served_by"):
        assert [line[name] for line in told] == [answer[name] for answer in sent]
    assert [line["EmployeeNumber"] for line in told] == [row["EmployeeNumber"] for row in rows]


def test_every_kind_of_input_and_output_gives_the_same_scores_in_order(service: Service, tmp_path: Path) -> None:
    rows = unlabelled(ATTRITION, MANY, seed=22)
    one = written(tmp_path / "rows.csv", rows)
    other = written(tmp_path / "rows.parquet", rows)
    for number, start in enumerate(range(0, MANY, MANY // 4)):
        suffix = ".csv" if number % 2 else ".parquet"
        written(tmp_path / "folder" / f"part{number}{suffix}", rows[start : start + MANY // 4])
    _, from_csv = scored(service.settings, ATTRITION, one, tmp_path / "a.parquet")
    _, from_parquet = scored(service.settings, ATTRITION, other, tmp_path / "b.parquet")
    done, from_folder = scored(service.settings, ATTRITION, tmp_path / "folder", tmp_path / "c.csv")
    assert done["rows"] == MANY
    assert [line["row"] for line in from_csv] == list(range(MANY))
    assert [line["EmployeeNumber"] for line in from_csv] == [row["EmployeeNumber"] for row in rows]
    expected = [line["probability"] for line in from_csv]
    assert [line["probability"] for line in from_parquet] == expected
    assert [float(line["probability"]) for line in from_folder] == expected
    releases = Releases(service.settings.packages)
    champion = releases.load(ATTRITION, str(releases.champion(ATTRITION)))
    assert expected == scoring.score(champion, scoring.validate(ATTRITION, rows).values).values.tolist()


def test_rejects_name_row_file_and_reason_and_the_rest_is_scored(service: Service, tmp_path: Path) -> None:
    rows = unlabelled(ATTRITION, 30, seed=23)
    rows[3] |= {"MonthlyIncome": -1}
    rows[17] |= {"OverTime": None}
    written(tmp_path / "in" / "a.csv", rows[:10])
    written(tmp_path / "in" / "b.csv", rows[10:])
    done, told = scored(service.settings, ATTRITION, tmp_path / "in", tmp_path / "out" / "scores.csv")
    assert done == {"rows": 30, "scored": 28, "rejected": 2, "opted_out": 0}
    assert [int(line["row"]) for line in told] == [n for n in range(30) if n not in (3, 17)]
    rejects = lines(rejects_of(tmp_path / "out" / "scores.csv"))
    assert [(line["row"], line["file"]) for line in rejects] == [("3", "a.csv"), ("17", "b.csv")]
    assert rejects[0]["reason"].startswith("MonthlyIncome: input should be greater than 0")
    assert rejects[1]["reason"].startswith("OverTime: ")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"scores.csv", "scores.rejects.csv"}


def test_a_mixed_file_says_per_row_who_served_it(service: Service, settings: Settings, tmp_path: Path) -> None:
    packages = {case.name: fitted(case, seed=1) for case in (ABSENTEEISM, ABSENTEEISM.otherwise)}
    install(settings, *packages.values())
    rows = unlabelled(ABSENTEEISM, 60, seed=24)
    rows = [{**row, "Reason for absence": None} if n % 2 else row for n, row in enumerate(rows)]
    _, told = scored(settings, ABSENTEEISM, written(tmp_path / "rows.csv", rows), tmp_path / "scores.parquet")
    assert [line["served_by"] for line in told] == ["absenteeism", "absenteeism_forecast"] * 30
    for n, line in enumerate(told[:6]):
        package = packages[line["served_by"]]
        alone = scoring.score(package, scoring.validate(package.case, [rows[n]]).values)
        assert line["prediction"] == alone.values[0]


def test_a_file_that_breaks_off_leaves_no_output(service: Service, tmp_path: Path) -> None:
    file = written(tmp_path / "rows.csv", unlabelled(ATTRITION, 5000, seed=25))
    with file.open("a") as end:
        end.write("1,2\n")
    with pytest.raises(BadInput, match=r"rows\.csv: line 5002 has 2 cells"):
        scored(service.settings, ATTRITION, file, tmp_path / "scores.csv")
    assert [path.name for path in tmp_path.glob("*scores*")] == []


def test_where_not_one_row_is_good_there_are_only_rejects(service: Service, tmp_path: Path) -> None:
    file = written(tmp_path / "rows.csv", [{"MonthlyIncome": -1, "OverTime": "Yes"}])
    with pytest.raises(ForewarnError, match="not one of 1 rows could be scored; read why in"):
        scored(service.settings, ATTRITION, file, tmp_path / "scores.csv")
    assert [path.name for path in tmp_path.glob("*scores*")] == ["scores.rejects.csv"]


def test_a_file_is_scored_as_a_ray_job(service: Service, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = unlabelled(ATTRITION, 300, seed=26)
    file, output = written(tmp_path / "rows.csv", rows), tmp_path / "scores.parquet"
    with service.noted():
        submit.follow(service.settings, "jobs.score", ["attrition", "--input", str(file), "--output", str(output)])
    printed = next(line for line in capfd.readouterr().out.splitlines() if line.startswith("{"))
    report = json.loads(printed)
    assert report["use_case"] == "attrition"
    assert (report["rows"], report["scored"], report["rejected"]) == (300, 300, 0)
    assert (report["output"], report["rejects"]) == (str(output), str(rejects_of(output)))
    assert report["rows_per_second"] > 0
    assert len(lines(output)) == 300
    assert rejects_of(output).read_text().splitlines() == ['"row","file","reason"']


LONG = 1_000_000
OUT, GONE = "K5", "K77"


def long_file(path: Path) -> int:
    """A million rows of which each has an id of its own and every thousandth is bad; how many are."""
    drawn = pa.Table.from_pylist(unlabelled(ATTRITION, 1000, seed=27))
    table = drawn.take(pa.array(np.arange(LONG) % len(drawn)))
    ids = compute.binary_join_element_wise("K", pa.array(np.arange(LONG)).cast(pa.string()), "")
    incomes = pa.array(np.where(np.arange(LONG) % 1000 == 3, -1, table["MonthlyIncome"].to_numpy()))
    for name, column in (("EmployeeNumber", ids), ("MonthlyIncome", incomes)):
        table = table.set_column(table.column_names.index(name), name, column)
    parquet.write_table(table, path, row_group_size=300_000)
    return LONG // 1000


def job(service: Service, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jobs.score", "attrition", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=PROJECT, env=service.environment(), **pipes)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_job_that_is_killed_at_half_goes_on_and_loses_and_doubles_nothing(
    service: Service, tmp_path: Path, suffix: str
) -> None:
    file, output, whole = tmp_path / "rows.parquet", tmp_path / f"scores{suffix}", tmp_path / f"whole{suffix}"
    bad, privacy, by = long_file(file), Privacy(service.settings), By(actor="operator")
    with job(service, "--input", str(file), "--output", str(output)) as first:
        done = Manifest.of(output)
        until(lambda: done.rows() >= LONG // 2 or first.poll() is not None, seconds=120, what="half of it is done")
        first.kill()
        assert first.wait(timeout=20) == -signal.SIGKILL
    half = done.rows()
    assert LONG // 2 <= half < LONG
    assert not output.exists()
    privacy.opt_out(privacy.person(OUT, "attrition"), by, at=datetime.now(UTC))
    privacy.erase(privacy.person(GONE, "attrition"), by, at=datetime.now(UTC))
    with job(service, "--input", str(file), "--output", str(output)) as second:
        printed, said = second.communicate(timeout=200)
    privacy.opt_in(privacy.person(OUT, "attrition"), by, at=datetime.now(UTC))
    assert second.returncode == 0, said
    assert f"going on after {half:,} of {LONG:,} rows" in said
    report = json.loads(printed)
    assert (report["went_on_after"], report["rows"], report["rejected"], report["opted_out"]) == (half, LONG, bad, 1)
    assert report["scored"] == LONG - bad - 1
    found = [line["row"] for line in table_of(output).select(["row"]).to_pylist()]
    assert found == [n for n in range(LONG) if n % 1000 != 3 and n not in (5, 77)]
    assert len(lines(rejects_of(output))) == bad + 1
    scored(service.settings, ATTRITION, file, whole)
    known = table_of(whole)
    expected = known.filter(compute.invert(compute.is_in(known["row"], pa.array([5, 77]))))
    assert same(table_of(output), expected)
    assert [path.name for path in tmp_path.glob(".*")] == []


def table_of(output: Path) -> pa.Table:
    return parquet.read_table(output) if output.suffix == ".parquet" else pa_csv.read_csv(output)


def same(one: pa.Table, other: pa.Table) -> bool:
    """But for the time of the order."""
    return bool(one.drop_columns("timestamp").equals(other.drop_columns("timestamp")))


def test_a_killed_job_whose_input_has_changed_is_refused(service: Service, tmp_path: Path) -> None:
    file, output = tmp_path / "rows.parquet", tmp_path / "scores.csv"
    long_file(file)
    with job(service, "--input", str(file), "--output", str(output)) as first:
        done = Manifest.of(output)
        until(lambda: done.rows() or first.poll() is not None, seconds=120, what="a part is done")
        first.kill()
        first.wait(timeout=20)
    written(file, unlabelled(ATTRITION, 50, seed=28))
    with job(service, "--input", str(file), "--output", str(output)) as second:
        _, said = second.communicate(timeout=100)
    assert second.returncode == 1
    assert "the input (rows.parquet changed)" in said
    with job(service, "--input", str(file), "--output", str(output), "--overwrite") as third:
        printed, _ = third.communicate(timeout=100)
    assert json.loads(printed)["rows"] == 50

"""Files scored on a real Ray: the service's answers, in order, from any kind of file."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from forewarn import scoring, tables, usecases
from forewarn.errors import BadInput, ForewarnError
from forewarn.releases import Releases
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from jobs import submit
from jobs.lines import Order
from jobs.score import rejects_of, run
from jobs.stream import Source
from tests.conftest import Service, fitted
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
    done = run(order, Source.of(str(data), case), output, workers=2)
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

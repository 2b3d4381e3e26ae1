"""`forewarn drift`: windows of the ledger, and files."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import mlflow
import orjson
import pytest
from typer.testing import CliRunner, Result

from forewarn import scoring, usecases
from forewarn.databases import written
from forewarn.errors import BadInput
from forewarn.ledger import shipper
from forewarn.ledger.alerts import Alerts
from forewarn.ledger.records import Circumstances, Recorder
from forewarn.ledger.store import Ledger
from forewarn.registry import Registry
from forewarn.settings import Settings
from jobs.cli import app
from jobs.drift import ALARM_EXIT
from tests.conftest import admitted, fitted

pytestmark = pytest.mark.slow

CASE = usecases.get("attrition")
Run = Callable[..., Result]


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("FOREWARN_HOME", str(settings.home))
    admitted(settings, CASE, "v1")

    def ran(*words: str) -> Result:
        found = CliRunner().invoke(app, ["drift", CASE.name, "--output", str(tmp_path), *words])
        if found.exception and not isinstance(found.exception, SystemExit):
            raise found.exception
        return found

    return ran


def answer(settings: Settings, raw: list[dict[str, Any]], at: datetime, numbers: Any = count()) -> None:  # noqa: B008
    recorder, about = Recorder.of(CASE, settings), Circumstances(key_id="k", at=written(at))
    rows = scoring.validate(CASE, raw).values
    scores = scoring.score(fitted(CASE, seed=1), rows).values.tolist()
    lines = [
        recorder.line(row, {"prediction_id": f"{next(numbers):032}", "probability": score, "event": False,
                            "risk_level": "low", "model_version": "v1", "served_from": "champion"}, about, latency_ms=1)
        for row, score in zip(rows, scores, strict=True)
    ]  # fmt: skip
    with closing(Ledger.open(settings)) as ledger:
        shipper.record(ledger, [orjson.dumps(line) for line in lines])


def busy(rows: int, seed: int) -> list[dict[str, Any]]:
    return [{**row, "OverTime": "Yes"} for row in CASE.sample(rows, seed=seed)]


@pytest.mark.requirement("S2-53")
@pytest.mark.requirement("S2-54")
def test_a_field_that_moved_in_two_windows_is_an_alarm_by_its_name(run: Run, settings: Settings) -> None:
    now = datetime.now(UTC)
    answer(settings, CASE.sample(300, seed=1001), now - timedelta(days=8.5))
    answer(settings, busy(300, 1002), now - timedelta(days=1.5))
    answer(settings, busy(300, 1003), now - timedelta(days=0.5))
    found = run("--days", "7")
    told = json.loads(found.stdout)
    assert (found.exit_code, "OverTime" in told["alarms"]) == (ALARM_EXIT, True)
    assert [("OverTime" in window["moved"]) for window in told["windows"]] == [False, True, True]
    page = Path(told["files"][0]).read_text()
    assert "<b>Alarm</b>: OverTime" in page


def test_what_moved_once_is_watched_and_no_alarm(run: Run, settings: Settings) -> None:
    now = datetime.now(UTC)
    for days, raw in ((8.5, CASE.sample(300, seed=1001)), (1.5, CASE.sample(300, seed=1002)), (0.5, busy(300, 1003))):
        answer(settings, raw, now - timedelta(days=days))
    found = run("--days", "7")
    told = json.loads(found.stdout)
    assert (found.exit_code, told["alarms"], told["level"]) == (0, [], "drift")


@pytest.mark.requirement("S4-04")
def test_a_file_is_a_window_of_its_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(as_csv(busy(200, 1004)))
    told = json.loads(run("--data", str(tmp_path / "rows.csv")).stdout)
    assert (told["rows"], told["alarms"][0]) == (200, "OverTime")
    assert {one["field"]: one["level"] for one in told["fields"]}["OverTime"] == "drift"


def test_too_few_rows_say_so_and_are_no_failure(run: Run) -> None:
    found = run()
    assert (found.exit_code, json.loads(found.stdout)["level"]) == (0, "unknown")
    assert "fewer than 30 rows were answered in 7 days" in found.stderr


def as_csv(rows: list[dict[str, Any]]) -> str:
    names = [name for name in rows[0] if name != CASE.target]
    return "\n".join([",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)])


def test_rows_that_cannot_be_read_are_told_by_their_reasons(run: Run, tmp_path: Path) -> None:
    rows = busy(200, 1004)
    for row in rows[:20]:
        row["MonthlyIncome"] = "a lot"
    (tmp_path / "rows.csv").write_text(as_csv(rows))
    told = json.loads(run("--data", str(tmp_path / "rows.csv")).stdout)
    assert (told["rows"], sum(told["rejected"].values())) == (180, 20)
    assert "MonthlyIncome" in next(iter(told["rejected"]))


@pytest.mark.requirement("S4-04")
def test_limits_may_be_one_s_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(as_csv(busy(200, 1004)))
    told = json.loads(run("--data", str(tmp_path / "rows.csv"), "--watch", "9", "--limit", "10").stdout)
    assert (told["level"], told["alarms"]) == ("none", [])


def test_a_label_that_a_file_has_is_held_against_the_reference_s(run: Run, tmp_path: Path) -> None:
    rows = [{**row, CASE.target: "Yes"} for row in CASE.sample(200, seed=1005)]
    names = list(rows[0])
    lines = [",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    told = json.loads(run("--data", str(tmp_path / "rows.csv")).stdout)
    assert {one["field"]: one["level"] for one in told["fields"]}["label"] == "drift"


def test_what_is_derived_of_a_field_that_moved_is_no_alarm_of_its_own(run: Run, tmp_path: Path) -> None:
    rows = CASE.sample(300, seed=1006, drift={"MonthlyIncome": 1.5})
    (tmp_path / "rows.csv").write_text(as_csv(rows))
    told = json.loads(run("--data", str(tmp_path / "rows.csv")).stdout)
    derived = {function.__name__ for function in CASE.features}
    moved = {one["field"] for one in told["fields"] if one["level"] == "drift"}
    assert moved & derived, "they moved too, and are told"
    assert "MonthlyIncome" in told["alarms"]
    assert not derived.intersection(told["alarms"])


@pytest.mark.slow
def test_evidently_s_report_stands_beside_ours_and_shows_nobody_s_protected_fields(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("evidently")
    for name, rows in (("then.csv", CASE.sample(200, seed=1)), ("now.csv", busy(200, 1004))):
        (tmp_path / name).write_text(as_csv(rows))
    words = ("--data", str(tmp_path / "now.csv"), "--report", "evidently", "--reference", str(tmp_path / "then.csv"))
    told = json.loads(run(*words).stdout)
    page = Path(told["files"][-1]).read_text()
    assert "OverTime" in page
    assert "MaritalStatus" not in page
    with pytest.raises(BadInput, match="--reference"):
        run("--data", str(tmp_path / "now.csv"), "--report", "evidently")


@pytest.mark.slow
def test_an_alarm_is_told_and_ends_with_it_and_the_report_is_in_mlflow(run: Run, settings: Settings) -> None:
    Registry(settings).start_run(CASE, "search", params={}, tags={})  # there is a registry
    now = datetime.now(UTC)
    for days, raw in ((8.5, CASE.sample(300, seed=1001)), (1.5, busy(300, 1002)), (0.5, busy(300, 1003))):
        answer(settings, raw, now - timedelta(days=days))
    run("--days", "7")
    with closing(Ledger.open(settings)) as ledger:
        (alert,) = [one for one in Alerts.of(settings, ledger).open(CASE.name) if "OverTime" in one["name"]]
    assert "PSI" in alert["text"]
    experiment = mlflow.MlflowClient(settings.mlflow_uri).get_experiment_by_name(CASE.name)
    (kept, _) = mlflow.MlflowClient(settings.mlflow_uri).search_runs([experiment.experiment_id])  # the newest first
    assert (kept.data.tags["kind"], kept.data.metrics["psi/OverTime"] > 0.25) == ("drift", True)
    for seed in range(8):
        answer(settings, CASE.sample(300, seed=2000 + seed), now - timedelta(hours=1))
    run("--days", "0.5")
    with closing(Ledger.open(settings)) as ledger:
        assert not [one for one in Alerts.of(settings, ledger).open(CASE.name) if "OverTime" in one["name"]]

"""`forewarn drift`: windows of the ledger, and files."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner, Result

from forewarn import scoring, usecases
from forewarn.databases import written
from forewarn.ledger import shipper
from forewarn.ledger.records import Circumstances, Recorder
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings
from jobs.cli import app
from jobs.drift import ALARM_EXIT
from tests.conftest import admitted, fitted

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
    answer(settings, CASE.sample(300, seed=1001), now - timedelta(days=2, hours=1))
    answer(settings, busy(300, 1002), now - timedelta(hours=30))
    answer(settings, busy(300, 1003), now - timedelta(hours=1))
    found = run("--days", "1")
    told = json.loads(found.stdout)
    assert (found.exit_code, "OverTime" in told["alarms"]) == (ALARM_EXIT, True)
    assert [("OverTime" in window["moved"]) for window in told["windows"]] == [False, True, True]
    page = Path(told["files"][0]).read_text()
    assert "<b>Alarm</b>: OverTime" in page


def test_what_moved_once_is_watched_and_no_alarm(run: Run, settings: Settings) -> None:
    now = datetime.now(UTC)
    for hours, raw in ((49, CASE.sample(300, seed=1001)), (30, CASE.sample(300, seed=1002)), (1, busy(300, 1003))):
        answer(settings, raw, now - timedelta(hours=hours))
    found = run("--days", "1")
    told = json.loads(found.stdout)
    assert (found.exit_code, told["alarms"], told["level"]) == (0, [], "drift")


@pytest.mark.requirement("S4-04")
def test_a_file_is_a_window_of_its_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(as_csv(busy(200, 1004)))
    told = json.loads(run("--data", str(tmp_path / "rows.csv")).stdout)
    assert (told["rows"], told["alarms"][0]) == (200, "OverTime")
    assert {one["field"]: one["level"] for one in told["fields"]}["OverTime"] == "drift"


def test_too_few_rows_say_so(run: Run) -> None:
    with pytest.raises(Exception, match="fewer than 30 rows were answered in 7 days"):
        run()


def as_csv(rows: list[dict[str, Any]]) -> str:
    names = [name for name in rows[0] if name != CASE.target]
    return "\n".join([",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)])

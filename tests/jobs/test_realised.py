"""`forewarn evaluate --from-ledger`: what the versions that answered turned out to be worth."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner, Result

from forewarn import scoring, usecases
from forewarn.databases import written
from forewarn.ledger import outcomes, shipper
from forewarn.ledger.alerts import Alerts
from forewarn.ledger.records import Circumstances, Recorder
from forewarn.ledger.store import Ledger
from forewarn.releases import Releases, ReleaseState
from forewarn.settings import Settings
from jobs.cli import app
from jobs.evaluate import DEGRADED_EXIT
from tests.conftest import admitted, fitted

pytestmark = pytest.mark.slow

CASE, AMOUNTS = usecases.get("attrition"), usecases.get("absenteeism")
Run = Callable[..., Result]
# A use case's true labels, and those of a world in which they mean the opposite for some.
Truth = Callable[[Any, np.random.Generator], Any]


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("FOREWARN_HOME", str(settings.home))
    for case in (CASE, AMOUNTS):
        admitted(settings, case, "v1", "v2")

    def ran(case: str, *words: str) -> Result:
        words = ("--from-ledger", "--output", str(tmp_path), *words)
        found = CliRunner().invoke(app, ["evaluate", case, *words])
        if found.exception and not isinstance(found.exception, SystemExit):
            raise found.exception
        return found

    return ran


def answer(settings: Settings, case: Any, version: str, *, rows: int, flipped: float = 0.0, known: float = 1.0) -> None:
    """Rows that were answered two days ago, with their outcomes; `flipped` of these are another's."""
    at, random = datetime.now(UTC) - timedelta(days=2), np.random.default_rng(7)
    raw = case.sample(rows, seed=1)  # the rows that it was fitted on: as good as in training
    recorder, about = Recorder.of(case, settings), Circumstances(key_id="k", at=written(at))
    valid = scoring.validate(case, raw).values
    decided = scoring.score(fitted(case, seed=1), valid)
    labels = case.task.labels(case.target, [row[case.target] for row in raw])
    mixed = np.where(random.random(rows) < flipped, random.permutation(labels), labels)
    lines, sent = [], []
    for place, (row, score) in enumerate(zip(valid, decided.values.tolist(), strict=True)):
        said = case.task.says(case.task.decide(score, decided.rule, version))
        told = {"prediction_id": f"{version}{case.name[:4]}{place:026}"[:32], "model_version": version,
                "served_from": "champion", **said}  # fmt: skip
        lines.append(recorder.line(row, told, about, latency_ms=1))
        if random.random() < known:
            value = mixed[place] if case is AMOUNTS else ("Yes" if mixed[place] else "No")
            sent.append({"prediction_id": told["prediction_id"], "outcome": value})
    with closing(Ledger.open(settings)) as ledger:
        shipper.record(ledger, [orjson.dumps(line) for line in lines])
        read = [outcomes.read(case, recorder.id_key, one, at=datetime.now(UTC)) for one in sent]
        outcomes.record(ledger, case, read, key_id="k", at=datetime.now(UTC))


def opened(settings: Settings) -> list[str]:
    with closing(Ledger.open(settings)) as ledger:
        return [one["name"] for one in Alerts.of(settings, ledger).open(CASE.name)]


@pytest.mark.requirement("S2-56")
def test_a_version_that_holds_what_it_promised_is_good_and_the_estimate_says_so_too(
    run: Run, settings: Settings
) -> None:
    answer(settings, CASE, "v1", rows=400)
    found = run(CASE.name)
    told = json.loads(found.stdout)
    (version,) = told["versions"]
    assert (found.exit_code, told["level"], version["outcomes"]) == (0, "good", 400)
    main = version["standing"]["metrics"][0]
    assert (main["metric"], abs(main["fall"]) < 0.04) == ("roc_auc", True)
    assert main["estimated"]["low"] <= main["realised"]["high"]
    assert opened(settings) == []


@pytest.mark.requirement("S2-55")
def test_one_that_fell_is_an_alarm_and_the_alarm_ends_with_it(run: Run, settings: Settings) -> None:
    answer(settings, CASE, "v1", rows=400, flipped=0.9)
    found = run(CASE.name)
    told = json.loads(found.stdout)
    assert (found.exit_code, told["level"]) == (DEGRADED_EXIT, "degraded")
    assert "by outcomes, and was" in told["versions"][0]["standing"]["reasons"][0]
    assert opened(settings) == ["degraded:v1"]
    page = Path(told["files"][0]).read_text()
    assert "<b>Degraded</b>" in page
    assert "data:image/png;base64" in page
    answer(settings, CASE, "v2", rows=400)  # what another version answered does not mend this one
    assert run(CASE.name).exit_code == DEGRADED_EXIT
    Releases(settings.packages).put_up(CASE, ReleaseState(champion="v2"))
    assert run(CASE.name).exit_code == 0, "the one that fell does not serve any more"
    assert opened(settings) == []


def test_groups_are_compared_by_what_was_said_and_by_what_came_true(run: Run, settings: Settings) -> None:
    answer(settings, CASE, "v1", rows=400)
    fair = json.loads(run(CASE.name).stdout)["versions"][0]["fairness"]
    assert {one["field"] for one in fair["said"]} >= {"Gender"}
    assert {one["metric"] for one in fair["gaps"]} >= {"recall", "selection_rate"}
    assert fair["overall"]["Gender"]["equalized_odds_difference"] >= 0


def test_without_outcomes_there_is_an_estimate(run: Run, settings: Settings) -> None:
    answer(settings, CASE, "v1", rows=300, known=0.0)
    told = json.loads(run(CASE.name).stdout)
    (version,) = told["versions"]
    assert (version["outcomes"], version["standing"]["metrics"][0]["realised"]) == (0, None)
    assert version["standing"]["metrics"][0]["estimated"]["value"] > 0.5


def test_amounts_are_measured_by_their_error(run: Run, settings: Settings) -> None:
    answer(settings, AMOUNTS, "v1", rows=400)
    told = json.loads(run(AMOUNTS.name).stdout)
    assert (told["metric"], told["level"]) == ("mae", "good")


def test_where_nothing_was_answered_it_is_said_and_no_failure(run: Run) -> None:
    found = run(CASE.name)
    assert (found.exit_code, json.loads(found.stdout)["level"]) == (0, "unknown")
    assert "nothing was answered in 90 days" in found.stderr

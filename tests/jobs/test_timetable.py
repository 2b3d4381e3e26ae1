"""schedule.yaml: what is shipped, what is refused and how, what a command is on this installation."""

from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from forewarn import usecases
from forewarn.errors import BadInput, NotFound
from forewarn.settings import Settings
from jobs import cli
from jobs.due import Entry
from jobs.timetable import Plan, named
from tests.conftest import installed

CASES = list(usecases.every().values())
DRIFT = {"name": "drift", "cron": "0 5 * * *", "command": ["drift", "{use_case}"], "each_use_case": True}


def planned(settings: Settings, tmp_path: Path, text: str) -> Plan:
    path = tmp_path / "schedule.yaml"
    path.write_text(text)
    return Plan.read(settings.model_copy(update={"schedule": path}))


def entries(settings: Settings, tmp_path: Path, *runs: dict[str, Any], **environment: str) -> list[Entry]:
    return planned(settings, tmp_path, yaml.safe_dump({"runs": list(runs)})).entries(settings, environment)


def test_what_is_shipped_is_what_the_loop_needs(settings: Settings) -> None:
    plan = Plan.read(settings)
    assert {run.name for run in plan.runs} == {
        "features", "nightly-score", "retrain", "retrain-if-needed", "retention", "drift", "evaluate", "compliance",
    }  # fmt: skip
    found = plan.entries(settings, {})
    assert len(found) == 6 * len(CASES) + 2
    assert [one.name for one in found if not one.waits] == ["retention", "compliance"], "there is no champion yet"
    assert named(found, f"drift:{CASES[0].name}").good_codes == (0, 3), "an alarm is a result"


@pytest.mark.parametrize("run", Plan.read(Settings(home=Path("/nowhere"))).runs, ids=lambda run: run.name)
def test_what_is_shipped_is_a_command_that_there_is(run: Any) -> None:
    command, *words = run.command
    typer.main.get_command(cli.app).commands[command].make_context(command, words)  # type: ignore[attr-defined]


def test_a_run_for_each_use_case_waits_for_its_champion(settings: Settings, tmp_path: Path) -> None:
    installed(settings, [usecases.get("churn")])
    waiting = {one.name: one.waits for one in entries(settings, tmp_path, DRIFT)}
    assert waiting == {f"drift:{case.name}": "" if case.name == "churn" else "a champion" for case in CASES}


def test_a_place_that_only_the_installation_knows_is_waited_for(settings: Settings, tmp_path: Path) -> None:
    installed(settings, [usecases.get("churn"), usecases.get("attrition")])
    run = {**DRIFT, "name": "score", "command": ["score", "{use_case}", "--input={env:PLACE}", "{home}/{use_case}"]}
    assert named(entries(settings, tmp_path, run), "score:churn").waits == "PLACE"
    assert named(entries(settings, tmp_path, run, PLACE=""), "score:churn").waits == "PLACE"
    of_all = named(entries(settings, tmp_path, run, PLACE="/data/{use_case}.csv"), "score:churn")
    assert (of_all.waits, of_all.words) == (
        "", ("score", "churn", "--input=/data/churn.csv", f"{settings.home}/churn"),
    )  # fmt: skip
    own = entries(settings, tmp_path, run, PLACE_CHURN="/of/churn.csv")
    assert named(own, "score:churn").words[2] == "--input=/of/churn.csv"
    assert named(own, "score:attrition").waits == "PLACE"
    assert named(own, "score:absenteeism").waits == "a champion and PLACE"


def test_numbers_need_no_quotes(settings: Settings, tmp_path: Path) -> None:
    run = "{name: drift, cron: 0 5 * * *, command: [drift, a, --days, 7, --share, 0.5]}"
    (one,) = planned(settings, tmp_path, f"runs: [{run}]").entries(settings, {})
    assert one.words == ("drift", "a", "--days", "7", "--share", "0.5")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cron": "0 5 * *"}, "runs.0 (drift): cron: '0 5 * *' is no cron expression (Wrong number of fields); write"),
        ({"cron": "0 0 5 * * *"}, "Wrong number of fields"),
        ({"cron": "0 25 * * *"}, "Bad hour"),
        ({"cron": "0 5 31 2 *"}, "Bad day-of-month"),
        ({"colour": "red"}, "runs.0 (drift): colour: Extra inputs are not permitted; docs/schedule.md names"),
        ({"missed": "twice"}, "runs.0 (drift): missed: Input should be 'once' or 'skip'"),
        ({"minutes": 0}, "runs.0 (drift): minutes: Input should be greater than 0"),
        ({"name": "a/b"}, "runs.0 (a/b): name: String should match pattern"),
        ({"command": []}, "runs.0 (drift): command: "),
        ({"command": ["drift", "{subject}"]}, "command: {subject} is not known; there is {home}, {env:NAME}"),
        ({"command": ["drift", "{env:place}"]}, "command: {env:place} is not known"),
        ({"command": ["drift"]}, "it is for each use case and names none; write {use_case}"),
        ({"each_use_case": False}, "command: {use_case} is not known; there is {home}, {env:NAME}, and with each_use"),
        ({"cron": None}, "runs.0 (drift): cron: Input should be a valid string"),
    ],
)
def test_a_bad_run_is_one_sentence_that_names_it(
    settings: Settings, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadInput) as told:
        entries(settings, tmp_path, {**DRIFT, **change})
    assert str(told.value).startswith(f"{tmp_path}/schedule.yaml: ")
    assert says in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("runs: [", "is no YAML"),
        ("", "Input should be a valid dictionary"),
        ("runs: drift", "runs: Input should be a valid tuple"),
        ("runs: [drift]", "runs.0: Input should be a valid dictionary"),
        ("runs: []\ntimezone: Mars/Olympus", "timezone: there is no time zone 'Mars/Olympus'; write UTC, or one such"),
        ("runs: []\ntimezone: Europe", "there is no time zone"),
        ("runs: []\ntimezone: ../../etc", "there is no time zone"),
        ("runs: [&a {name: x, cron: 0 5 * * *, command: [y]}, *a]", "runs: two are named x; rename one of them"),
    ],
)
def test_a_bad_file_is_one_sentence(settings: Settings, tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadInput) as told:
        planned(settings, tmp_path, text)
    assert says in str(told.value)
    assert "\n" not in str(told.value)


def test_a_file_that_is_not_there_names_the_setting(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nothing\.yaml: cannot be read .* FOREWARN_SCHEDULE names another"):
        Plan.read(settings.model_copy(update={"schedule": tmp_path / "nothing.yaml"}))


def test_an_unknown_name_is_told_which_there_are(settings: Settings, tmp_path: Path) -> None:
    found = entries(settings, tmp_path, DRIFT)
    with pytest.raises(NotFound, match=r"there is no run 'rift'; there is drift:absenteeism, "):
        named(found, "rift")
    with pytest.raises(BadInput, match=r"drift is for each use case; give one of drift:absenteeism, "):
        named(found, "drift")

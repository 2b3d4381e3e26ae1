"""The `forewarn` command, where no Ray is needed: what it refuses, and how it says so."""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from forewarn import submitting, usecases
from forewarn.errors import BadInput, CannotStart
from forewarn.package import ModelPackage
from forewarn.registry import Registry
from forewarn.releases import Releases, ReleaseState
from forewarn.settings import PROJECT, Settings
from jobs import cluster, evaluate, submit, versions
from jobs.deploy import CONFIG, Application
from jobs.up import _planned
from tests.conftest import fitted

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def package() -> ModelPackage:
    """One use case will do: each command is a process of its own, which takes two seconds."""
    return fitted(usecases.get("attrition"), seed=1)


def forewarn(settings: Settings, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FOREWARN_HOME": str(settings.home), **more}
    command = [sys.executable, "-c", "from jobs.cli import main; main()", *arguments]
    return subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=100)


def refused(done: subprocess.CompletedProcess[str], said: str) -> None:
    """One sentence, exit code 1, no traceback, nothing on stdout."""
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stdout == ""


def test_status_of_a_home_that_holds_nothing(settings: Settings) -> None:
    state = json.loads(forewarn(settings, "status", "--json").stdout)
    assert state["running"] is False
    assert state["use_cases"]["attrition"] == {"champion": None, "versions": []}


def test_status_names_the_champion(settings: Settings, package: ModelPackage, tmp_path: Path) -> None:
    releases = Releases(settings.packages)
    releases.admit(package.case, "v1", package.save(tmp_path / "saved"))
    releases.put_up(package.case, ReleaseState(champion="v1"))
    state = json.loads(forewarn(settings, "status", "--json").stdout)
    assert state["use_cases"][package.case.name] == {"champion": "v1", "versions": ["v1"]}


def test_down_where_nothing_runs_says_so(settings: Settings) -> None:
    done = forewarn(settings, "down")
    assert done.returncode == 0
    assert "nothing of this home is running" in done.stderr


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_an_unreadable_file_is_one_sentence(settings: Settings, command: str, tmp_path: Path) -> None:
    refused(forewarn(settings, command, "attrition", "--data", str(tmp_path / "nothing.csv")), "no such file")


def test_an_unknown_use_case_is_one_sentence(settings: Settings) -> None:
    refused(forewarn(settings, "train", "weather"), "there is no use case 'weather'; there is absenteeism, ")


def test_a_bad_argument_is_exit_code_2(settings: Settings) -> None:
    assert forewarn(settings, "train", "attrition", "--trials", "0").returncode == 2


def test_evaluating_without_a_version_says_how_to_get_one(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("MonthlyIncome,OverTime,Attrition\n1,Yes,No\n")
    done = forewarn(settings, "evaluate", "attrition", "--data", str(tmp_path / "rows.csv"))
    refused(done, "has no version yet; train one with `forewarn train attrition`")


def test_before_there_is_a_champion_the_newest_version_is_evaluated(
    settings: Settings, package: ModelPackage, tmp_path: Path
) -> None:
    registry, raw = Registry(settings), package.case.sample(60, seed=2)
    run = registry.start_run(package.case, "search", params={}, tags={})
    for number in (1, 2):
        folder = replace(package, record={"number": number}).save(tmp_path / f"saved{number}")
        registry.register(package.case, run, folder, tags={"status": "pending_approval"})
    newest = versions.open_version(package.case, None, settings)
    assert (newest.version, newest.record) == ("v2", {"number": 2})
    assert versions.open_version(package.case, "1", settings).record == {"number": 1}
    Releases(settings.packages).admit(package.case, "v1", tmp_path / "saved1")
    Releases(settings.packages).put_up(package.case, ReleaseState(champion="v1"))
    assert versions.open_version(package.case, None, settings).version == "v1"
    assert evaluate.measure(package.case, raw, newest)["version"] == "v2"


def test_submitting_where_nothing_is_up_says_so(settings: Settings) -> None:
    refused(forewarn(settings, "train", "attrition", "--submit"), "start it with `forewarn up`")


def test_up_reads_the_file_before_anything_starts(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"\x89PNG\0")
    refused(forewarn(settings, "up", "--data", f"attrition={tmp_path / 'rows.csv'}"), "it is a binary file")
    refused(forewarn(settings, "up", "--data", "weather=rows.csv"), "absenteeism_forecast, not weather")


@pytest.mark.parametrize("name", ["FOREWARN_PORT", "FOREWARN_DASHBOARD_PORT"])
def test_up_on_a_taken_port_names_the_holder_and_the_remedy(settings: Settings, name: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        free = {"FOREWARN_PORT": "28000", "FOREWARN_DASHBOARD_PORT": "28265"}
        refused(forewarn(settings, "up", **free | {name: str(port)}), f"choose another: {name}={port + 1}")


def test_data_without_a_name_is_for_the_default_use_case(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("MonthlyIncome,OverTime,Attrition\n1,Yes,No\n")
    training, *made_up = _planned(Application.read(CONFIG, settings), [str(tmp_path / "rows.csv")], settings)
    assert all("sample" in other.origin["name"] for other in made_up)
    assert (training.case.name, training.origin["name"]) == ("attrition", "rows.csv")
    assert len(training.origin["sha256"]) == 64


def test_the_environments_port_goes_before_the_files(settings: Settings) -> None:
    assert Application.read(CONFIG, settings).url == "http://127.0.0.1:8000"
    moved = settings.model_copy(update={"port": 9001})
    assert Application.read(CONFIG, moved).url == "http://127.0.0.1:9001"


def test_a_setting_that_is_no_setting_is_one_sentence(settings: Settings) -> None:
    refused(forewarn(settings, "status", FOREWARN_PORT="abc"), "FOREWARN_PORT: Input should be a valid integer")


def test_a_name_in_brackets_is_repeated_whole(settings: Settings, tmp_path: Path) -> None:
    refused(forewarn(settings, "train", "attrition", "--data", str(tmp_path / "data[old].csv")), "data[old].csv")


def test_a_damaged_champion_is_told_before_anything_starts(
    settings: Settings, package: ModelPackage, tmp_path: Path
) -> None:
    releases = Releases(settings.packages)
    folder = releases.admit(package.case, "v1", package.save(tmp_path / "saved"))
    releases.put_up(package.case, ReleaseState(champion="v1"))
    (folder / "contract.json").write_text("{}")
    refused(forewarn(settings, "up", FOREWARN_PORT="28000"), "contract.json has changed")


def test_the_key_command_prints_the_same_key_each_time(settings: Settings) -> None:
    assert forewarn(settings, "key").stdout == forewarn(settings, "key").stdout
    assert forewarn(settings, "key").stdout.startswith("fw_")


@pytest.mark.parametrize("text", ["", "a: [", "applications: []\nhttp_options: {port: 1}", "- 1"])
def test_a_file_that_is_no_serve_config_is_one_sentence(settings: Settings, tmp_path: Path, text: str) -> None:
    (tmp_path / "serve.yaml").write_text(text)
    with pytest.raises(BadInput, match="not a serve config"):
        Application.read(tmp_path / "serve.yaml", settings)


def test_the_printed_command_is_safe_to_paste(settings: Settings) -> None:
    command = Application.read(CONFIG, settings).curl(usecases.get("attrition"), "fw_it's")
    words = subprocess.run(["sh", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True).stdout
    assert "X-API-Key: fw_it's" in words.splitlines()
    assert json.loads(words.splitlines()[-1]) == dict(usecases.get("attrition").examples[0].row)


def test_a_submitted_job_carries_no_password_and_runs_with_the_same_places(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"mark": "m", "elsewhere": cluster.elsewhere(settings, "m")}
    submit._refuse_elsewhere(settings, found)
    submitting.refuse_secrets(["churn", "--data", "postgresql://reader@host/crm#customers", "s3://bucket/key.csv"])
    with pytest.raises(CannotStart, match="no password"):
        submitting.refuse_secrets(["churn", "--data", "postgresql://reader:secret@host/crm#customers"])
    monkeypatch.setenv("FOREWARN_SOURCE_PASSWORD", "another")
    with pytest.raises(CannotStart, match="FOREWARN_SOURCE_PASSWORD"):
        submit._refuse_elsewhere(settings, found)


def test_what_was_ordered_over_http_goes_after_a_month(settings: Settings) -> None:
    old, new = settings.orders / "old", settings.orders / "new"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "scores.csv").write_text("row\n")
    a_month_ago = time.time() - 31 * 24 * 3600
    os.utime(old, (a_month_ago, a_month_ago))
    assert json.loads(forewarn(settings, "retention", "--dry-run").stdout.splitlines()[-1])["jobs"] == 1
    assert old.exists()
    forewarn(settings, "retention")
    assert (old.exists(), new.exists()) == (False, True)

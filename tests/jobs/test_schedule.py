"""The scheduler: what it begins, how often, how it ends, and who takes over; by a clock that is moved."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import psutil
import pytest
import yaml
from typer.testing import CliRunner

from forewarn.errors import BadInput, LedgerUnavailable, NotAllowed
from forewarn.ledger.audit import By
from forewarn.ledger.runs import AGAIN, BEGUN, HAND, LEAD, LOST, MISSED, PAUSED, PRESENT, SCHEDULE, SKIPPED, Run, Runs
from forewarn.ledger.store import Ledger
from forewarn.settings import PROJECT, Settings
from jobs import schedule, scheduler
from jobs.errand import END
from jobs.scheduler import Scheduler
from jobs.timetable import Plan, named
from tests.conftest import until

pytestmark = pytest.mark.slow

NOW = datetime(2026, 11, 27, 5, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
# A run's command is a line for a shell.
SHELL = ("/bin/sh", "-c")
RAN = "echo ran >> {home}/ran"
FOR_EVER = "echo $$ >> {home}/ran; exec sleep 600"
MADE: list[Scheduler] = []


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    for errand in [errand for one in MADE for errand in one._errands]:
        errand.kill()
        errand.process.wait()
    MADE.clear()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", schedule=tmp_path / "schedule.yaml", user="anna")


@pytest.fixture
def runs(settings: Settings) -> Iterator[Runs]:
    with another(settings) as found:
        yield found


@contextmanager
def another(settings: Settings) -> Iterator[Runs]:
    with closing(Ledger.open(settings)) as ledger:
        yield Runs.of(settings, ledger)


def plan(settings: Settings, *planned: dict[str, Any], **more: Any) -> None:
    """Hourly, unless a run says otherwise."""
    assert settings.schedule
    told = [{"name": "job", "cron": "0 * * * *", **one, "command": [one["command"]]} for one in planned]
    settings.schedule.write_text(yaml.safe_dump({"runs": told, **more}))


def of(settings: Settings, runs: Runs, **more: Any) -> Scheduler:
    made = Scheduler(settings, runs, program=SHELL, **more)
    MADE.append(made)
    return made


def begun(one: Scheduler, at: datetime) -> Scheduler:
    """It knows its runs since half an hour, so that at the full hour they are due."""
    assert one.turn(at=at - HOUR / 2)
    return one


def ended(one: Scheduler, at: datetime) -> None:
    """What it has begun ends within the same moment."""

    def over() -> bool:
        one.turn(at=at)
        return not one.running

    until(over, seconds=20, what="every run has ended")


def ran(settings: Settings) -> list[str]:
    file = settings.home / "ran"
    return file.read_text().split() if file.exists() else []


def lines(runs: Runs, name: str = "job") -> list[tuple[str, int | None]]:
    return [(run.cause, run.code) for run in reversed(runs.history(name))]


def one_line(runs: Runs, name: str = "job") -> Run:
    return runs.history(name, most=1)[0]


def test_what_is_due_runs_and_how_it_ended_is_noted(settings: Settings, runs: Runs) -> None:
    plan(settings, {"command": r"echo begun; printf '\173\042rows\042: 7\175\n'; echo 'a warning' >&2"})
    one = begun(of(settings, runs), NOW)
    assert one.turn(at=NOW)
    assert one.running == ["job"]
    ended(one, NOW + 7 * SECOND)
    line = one_line(runs)
    assert (line.due, line.cause, line.code, line.said, line.seconds) == (NOW, SCHEDULE, 0, '{"rows": 7}', 7.0)
    log = settings.home / "logs" / "schedule" / "job-20261127T050000Z.log"
    assert log.read_text().splitlines() == ["begun", '{"rows": 7}', "a warning"]
    assert log.stat().st_mode & 0o777 == 0o600
    assert one.turn(at=NOW + MINUTE)
    assert lines(runs) == [(BEGUN, None), (SCHEDULE, 0)]


@pytest.mark.parametrize(("missed", "said", "times"), [("once", MISSED, 1), ("skip", SKIPPED, 0)])
def test_what_nobody_led_for_is_made_up_for_once_or_not_at_all(
    settings: Settings, runs: Runs, missed: str, said: str, times: int
) -> None:
    plan(settings, {"command": RAN, "missed": missed})
    begun(of(settings, runs), NOW).stop()
    again = of(settings, runs)
    assert again.turn(at=NOW + 5 * HOUR + 30 * MINUTE)
    ended(again, NOW + 5 * HOUR + 31 * MINUTE)
    assert ran(settings) == ["ran"] * times
    assert [run.cause for run in runs.history()] == [said, BEGUN]
    assert one_line(runs).due == NOW + 5 * HOUR


@pytest.mark.parametrize("believe", [False, True], ids=["one leads", "both believe that they lead"])
def test_two_on_one_ledger_run_each_once(settings: Settings, believe: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    plan(settings, *({"name": name, "command": RAN, "cron": "* * * * *"} for name in ("one", "two")))
    if believe:
        monkeypatch.setattr(Runs, "renew", lambda self, holder, *, at: self.present(holder, at=at) is None)

    together = Barrier(2, timeout=30)

    def walk(_: int) -> None:
        with another(settings) as runs:
            one = of(settings, runs)
            for seconds in range(0, 200, 10):
                together.wait()
                one.turn(at=NOW + seconds * SECOND)
                until(lambda: all(errand.over for errand in one._errands), seconds=20, what="they have ended")

    with another(settings) as runs, ThreadPoolExecutor(2) as pool:
        before = of(settings, runs)
        before.turn(at=NOW - SECOND)
        runs.leave(before.holder)
        list(pool.map(walk, range(2)))
        for name in ("one", "two"):
            found = [run for run in runs.history(name) if run.cause != BEGUN]
            assert sorted(run.due for run in found) == [NOW + minutes * MINUTE for minutes in range(4)]
            assert {(run.cause, run.code) for run in found} == {(SCHEDULE, 0)}
        assert len(ran(settings)) == 8


def test_where_the_leader_dies_another_takes_over_and_runs_again_what_it_left(settings: Settings, runs: Runs) -> None:
    plan(settings, {"command": FOR_EVER})
    first = begun(of(settings, runs), NOW)
    first.turn(at=NOW)
    until(lambda: len(ran(settings)) == 1, seconds=10, what="it runs")
    left = first._errands[0].process  # the scheduler is silent from here on, what it began lives
    failures: list[tuple[str, str]] = []
    second = of(settings, runs, ended=lambda *told: failures.append(told))
    assert not second.turn(at=NOW + LEAD)
    assert second.turn(at=NOW + LEAD + SECOND)
    assert (second.running, left.poll()) == ([], None)
    later = NOW + PRESENT + SECOND
    second.turn(at=later)
    assert failures == [("job", LOST)]
    assert left.wait(timeout=10) is not None, "no two of a name at once on this machine"
    assert second.running == ["job"]
    until(lambda: len(ran(settings)) == 2, seconds=10, what="it runs again")
    assert [(run.cause, run.due, run.said) for run in runs.history()][:2] == [(AGAIN, later, ""), (SCHEDULE, NOW, LOST)]
    assert not first.turn(at=later + SECOND), "it does not lead any more"
    assert first.running == []
    second.stop()
    assert one_line(runs).said == scheduler.STOPPED


def test_what_is_stopped_with_the_scheduler_is_run_again_by_the_next_once(settings: Settings, runs: Runs) -> None:
    plan(settings, {"command": FOR_EVER})
    one = begun(of(settings, runs), NOW)
    for minutes in range(3):
        assert one.turn(at=NOW + minutes * MINUTE)
        until(lambda: len(ran(settings)) == min(2, minutes + 1), seconds=10, what="it runs")  # noqa: B023
        one.stop()
        assert not any(psutil.pid_exists(int(pid)) for pid in ran(settings))
        one = of(settings, runs)
    assert lines(runs) == [(BEGUN, None), (SCHEDULE, None), (AGAIN, None)]
    assert one_line(runs).said == scheduler.STOPPED


def test_a_run_that_takes_too_long_is_ended_and_is_a_failure(settings: Settings, runs: Runs) -> None:
    plan(settings, {"command": FOR_EVER, "minutes": 10})
    failures: list[tuple[str, str]] = []
    one = begun(of(settings, runs, ended=lambda *told: failures.append(told)), NOW)
    one.turn(at=NOW)
    for minutes in range(1, 11):
        one.turn(at=NOW + minutes * MINUTE)
    assert one.running == ["job"]
    ended(one, NOW + 10 * MINUTE + SECOND)
    said = "ended after 10 minutes, the most it may take"
    assert (one_line(runs).code, one_line(runs).said) == (-signal.SIGINT, said)
    assert failures == [("job", f"it ended with {-signal.SIGINT}")]
    one.turn(at=NOW + 11 * MINUTE)
    assert lines(runs)[2:] == [], "it is not run again before its next time"


def test_a_scheduler_that_was_started_with_ctrl_c_ignored_can_end_what_it_began(settings: Settings, runs: Runs) -> None:
    """As `forewarn up &` in a shell's script does."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        plan(settings, {"command": FOR_EVER, "minutes": 1})
        one = begun(of(settings, runs), NOW)
        one.turn(at=NOW)
        until(lambda: len(ran(settings)) == 1, seconds=10, what="it runs")
        ended(one, NOW + 2 * MINUTE)
        assert one_line(runs).code == -signal.SIGINT
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_does_not_want_to_end_is_killed_with_all_it_began(settings: Settings, runs: Runs) -> None:
    plan(settings, {"command": "trap '' INT; sleep 600 & echo $! >> {home}/ran; wait; wait", "minutes": 1})
    one = begun(of(settings, runs), NOW)
    one.turn(at=NOW)
    until(lambda: len(ran(settings)) == 1, seconds=10, what="it runs")
    one.turn(at=NOW + 61 * SECOND)
    assert one.running == ["job"]
    ended(one, NOW + 62 * SECOND + END)
    assert one_line(runs).code == -signal.SIGKILL
    child = psutil.Process(int(ran(settings)[0])) if psutil.pid_exists(int(ran(settings)[0])) else None
    until(lambda: not child or child.status() == psutil.STATUS_ZOMBIE or not child.is_running(), seconds=10,
          what="its child is gone")  # fmt: skip


def test_a_code_may_be_a_result_and_another_is_a_failure(settings: Settings, runs: Runs) -> None:
    alarm = r"printf '\173\042alarms\042: 1\175\n'; exit 3"
    plan(
        settings, {"name": "drift", "command": alarm, "good_codes": [0, 3]},
        {"name": "score", "command": "echo 'no such file' >&2; exit 1"},
    )  # fmt: skip
    failures: list[tuple[str, str]] = []
    one = begun(of(settings, runs, ended=lambda *told: failures.append(told)), NOW)
    one.turn(at=NOW)
    ended(one, NOW + SECOND)
    assert (one_line(runs, "drift").code, one_line(runs, "drift").said) == (3, '{"alarms": 1}')
    assert sorted(failures) == [("drift", ""), ("score", "it ended with 1")], "what it said stands in the ledger alone"
    assert one_line(runs, "score").said == "no such file"


def test_what_was_said_is_short_and_text(settings: Settings, runs: Runs) -> None:
    plan(settings, {"command": r"printf '\377\000'; head -c 300000 /dev/zero | tr '\0' x; exit 1"})
    one = begun(of(settings, runs), NOW)
    one.turn(at=NOW)
    ended(one, NOW + SECOND)
    assert one_line(runs).said == "x" * 2000


def test_so_many_at_once_and_what_waits_for_a_place_is_not_late(settings: Settings, runs: Runs) -> None:
    names = ["a", "b", "c"]
    wait = "until test -e {home}/go; do sleep 0.05; done"
    plan(settings, *({"name": name, "command": f"{RAN}; {wait}", "missed": "skip"} for name in names))
    one = begun(of(settings, runs), NOW)
    for minutes in range(0, 11):
        one.turn(at=NOW + minutes * MINUTE)
        assert one.running == ["a", "b"]
    (settings.home / "go").touch()
    later = NOW + 11 * MINUTE

    def third() -> bool:
        one.turn(at=later)
        return lines(runs, "c")[1:] == [(SCHEDULE, 0)]

    until(third, seconds=20, what="the third has run")
    assert len(ran(settings)) == 3


def test_a_run_that_lasts_into_its_next_time_is_not_begun_twice(settings: Settings, runs: Runs) -> None:
    plan(settings, {"command": f"{RAN}; until test -e {{home}}/go; do sleep 0.05; done", "minutes": 600})
    one = begun(of(settings, runs), NOW)
    for minutes in range(0, 126):
        one.turn(at=NOW + minutes * MINUTE)
    until(lambda: ran(settings) == ["ran"], seconds=10, what="it runs")
    (settings.home / "go").touch()
    until(lambda: one._errands[0].over, seconds=10, what="it has ended")
    one.turn(at=NOW + 126 * MINUTE)
    ended(one, NOW + 127 * MINUTE)
    assert lines(runs)[1:] == [(SCHEDULE, 0), (MISSED, 0)]


def test_what_waits_for_a_place_that_is_not_set_is_not_run(
    settings: Settings, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(settings, {"command": "cp {env:FOREWARN_NIGHTLY_INPUT} {home}/ran"})
    one = of(settings, runs)
    for hours in range(3):
        assert one.turn(at=NOW + hours * HOUR)
    assert runs.history() == []
    (settings.home / "source").write_text("rows")
    monkeypatch.setenv("FOREWARN_NIGHTLY_INPUT", "{home}/source")
    begun(one, NOW + 3 * HOUR).turn(at=NOW + 3 * HOUR)
    ended(one, NOW + 3 * HOUR)
    assert ran(settings) == ["rows"]


def test_a_pause_holds_until_it_is_ended_and_nothing_is_made_up_for(settings: Settings, runs: Runs) -> None:
    plan(settings, {"command": RAN})
    one = begun(of(settings, runs), NOW)
    runs.pause("job", By(actor="anna"), "The disk is full.", at=NOW)
    for hours in range(2):
        one.turn(at=NOW + hours * HOUR)
    runs.resume("job", By(actor="anna"), at=NOW + 2 * HOUR - MINUTE)
    one.turn(at=NOW + 2 * HOUR - SECOND)
    assert ran(settings) == []
    one.turn(at=NOW + 2 * HOUR)
    ended(one, NOW + 2 * HOUR)
    assert lines(runs)[1:] == [(PAUSED, None), (PAUSED, None), (SCHEDULE, 0)]


def test_a_file_that_breaks_leaves_the_schedule_as_it_was_and_is_told_once(
    settings: Settings, runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    plan(settings, {"command": RAN})
    one = begun(of(settings, runs), NOW)
    assert settings.schedule
    settings.schedule.write_text("runs: [")
    for minutes in range(3):
        one.turn(at=NOW + minutes * MINUTE)
    ended(one, NOW + 3 * MINUTE)
    assert ran(settings) == ["ran"]
    assert [record.message.count("is no YAML") for record in caplog.records] == [1]
    plan(settings, {"command": RAN, "cron": "30 * * * *"})
    one.turn(at=NOW + HOUR / 2)
    ended(one, NOW + HOUR / 2)
    assert len(ran(settings)) == 2, "mended, it counts at once"


def test_out_of_sight_of_the_ledger_nothing_begins_and_in_the_end_nothing_runs(
    settings: Settings, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(settings, {"command": FOR_EVER}, {"name": "soon", "command": RAN, "cron": "1 * * * *"})
    one = begun(of(settings, runs), NOW)
    one.turn(at=NOW)
    until(lambda: len(ran(settings)) == 1, seconds=10, what="it runs")

    def gone(*_: object, **__: object) -> bool:
        raise LedgerUnavailable("it is gone")

    with monkeypatch.context() as away:
        away.setattr(runs, "renew", gone)
        for seconds in (60, 120):
            with pytest.raises(LedgerUnavailable):
                one.turn(at=NOW + seconds * SECOND)
        assert not one._errands[0].over, "a database that is begun anew costs no work"
        one.tend(at=NOW + PRESENT + SECOND)
        until(lambda: one._errands[0].over, seconds=10, what="it has ended: by now another may run it")
    one.turn(at=NOW + PRESENT + 2 * SECOND)
    assert lines(runs)[1:] == [(SCHEDULE, None), (AGAIN, None)]
    assert runs.history("job")[1].said == scheduler.OUT_OF_SIGHT


def test_what_cannot_be_started_is_a_failure(settings: Settings, runs: Runs) -> None:
    plan(settings, {"command": "x"})
    failures: list[tuple[str, str]] = []
    one = Scheduler(settings, runs, program=["/no/such"], ended=lambda *told: failures.append(told))
    begun(one, NOW).turn(at=NOW)
    assert one_line(runs).code == 127
    assert failures == [("job", "it cannot be started")]
    assert "No such file" in one_line(runs).said


def test_so_many_logs_are_kept(settings: Settings, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "KEEP_LOGS", 2)
    plan(settings, {"command": RAN})
    one = begun(of(settings, runs), NOW)
    for hours in range(4):
        one.turn(at=NOW + hours * HOUR)
        ended(one, NOW + hours * HOUR + SECOND)
    kept = sorted(log.name for log in (settings.home / "logs" / "schedule").iterdir())
    assert kept == ["job-20261127T070000Z.log", "job-20261127T080000Z.log"]


# --- by hand


def by_hand(settings: Settings, runs: Runs) -> int:
    return schedule.by_hand(named(Plan.read(settings).entries(settings, {}), "job"), runs, settings, program=SHELL)


def test_by_hand_it_runs_at_once_shows_what_it_prints_and_ends_with_its_code(
    settings: Settings, runs: Runs, capfd: pytest.CaptureFixture[str]
) -> None:
    plan(settings, {"command": "echo seen; exit 4"})
    assert by_hand(settings, runs) == 4
    assert capfd.readouterr().out == "seen\n"
    line = one_line(runs)
    assert (line.cause, line.code, line.said) == (HAND, 4, "run by anna")


def test_by_hand_nothing_runs_beside_itself_and_the_schedule_waits_for_it(settings: Settings, runs: Runs) -> None:
    plan(settings, {"command": RAN, "missed": "skip"})
    one = begun(of(settings, runs), NOW)
    assert runs.claim("job", NOW - MINUTE, HAND, one.holder, at=NOW - MINUTE)
    with pytest.raises(NotAllowed, match="job runs already"):
        by_hand(settings, runs)
    for minutes in range(8):
        one.turn(at=NOW + minutes * MINUTE)
    assert ran(settings) == []
    runs.end("job", NOW - MINUTE, code=0, said="", at=NOW + 8 * MINUTE)
    one.turn(at=NOW + 8 * MINUTE)
    ended(one, NOW + 9 * MINUTE)
    assert sorted(lines(runs)[1:]) == [(HAND, 0), (SCHEDULE, 0)]


def test_by_hand_what_waits_for_something_is_refused(settings: Settings, runs: Runs) -> None:
    plan(settings, {"command": "{env:FOREWARN_NIGHTLY_INPUT}"})
    with pytest.raises(BadInput, match="job waits for FOREWARN_NIGHTLY_INPUT"):
        by_hand(settings, runs)


# --- the commands


@pytest.fixture
def forewarn(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    for name, value in (("HOME", settings.home), ("SCHEDULE", settings.schedule), ("USER", "anna")):
        monkeypatch.setenv(f"FOREWARN_{name}", str(value))
    return lambda *words: CliRunner().invoke(schedule.app, words)


def test_what_is_listed(settings: Settings, runs: Runs, forewarn: Callable[..., Any]) -> None:
    plan(
        settings, {"name": "weekly", "command": "exit 1", "cron": "0 6 * * MON"},
        {"name": "waiting", "command": "{env:FOREWARN_PLACE}"}, {"name": "off", "command": "x", "paused": True},
        timezone="Europe/Berlin",
    )  # fmt: skip
    assert "nobody leads" in forewarn("list").stdout
    one = of(settings, runs)
    now = datetime.now(UTC)
    one.turn(at=now)
    assert runs.claim("weekly", now + SECOND, SCHEDULE, one.holder, at=now)
    runs.end("weekly", now + SECOND, code=1, said="no", at=now + 2 * SECOND)
    assert forewarn("pause", "weekly", "--why", "It is [wrong].").exit_code == 0
    told = json.loads(forewarn("list", "--json").stdout)
    assert (told["timezone"], told["leader"]["holder"]) == ("Europe/Berlin", one.holder)
    weekly, waiting, off = told["runs"]
    due = datetime.fromisoformat(weekly["next"])
    assert (due.weekday(), due.hour, due.utcoffset() in (HOUR, 2 * HOUR)) == (0, 6, True)
    assert (weekly["last"]["code"], weekly["last"]["seconds"], weekly["last"]["good"]) == (1, 2.0, False)
    assert (weekly["paused"]["actor"], weekly["paused"]["why"]) == ("anna", "It is [wrong].")
    assert (waiting["waits"], off["paused"]["actor"]) == ("FOREWARN_PLACE", "schedule.yaml")
    shown = " ".join(forewarn("list").stdout.split())
    for words in ("paused by anna: It is [wrong].", "waits for FOREWARN_PLACE", f"{one.holder} leads"):
        assert words in shown
    assert forewarn("resume", "weekly").exit_code == 0
    assert "failed" in forewarn("list").stdout


def test_what_ran_is_listed_newest_first(settings: Settings, runs: Runs, forewarn: Callable[..., Any]) -> None:
    plan(settings, {"command": "echo hello [world]"})
    one = begun(of(settings, runs), NOW)
    one.turn(at=NOW)
    ended(one, NOW + SECOND)
    assert [line["cause"] for line in json.loads(forewarn("history", "--json").stdout)] == [SCHEDULE, BEGUN]
    (line,) = json.loads(forewarn("history", "job", "--most", "1", "--json").stdout)
    assert (line["code"], line["seconds"]) == (0, 1.0)
    shown = forewarn("history").stdout.splitlines()
    assert shown[:2] == ["2026-11-27 05:00:00  job  schedule  1 s, exit code 0", "  hello [world]"]
    assert shown[2:] == ["2026-11-27 04:30:00  job  begun", "  on the schedule from here on"]


def test_what_is_not_there_or_not_paused_is_refused(settings: Settings, forewarn: Callable[..., Any]) -> None:
    plan(settings, {"command": RAN}, {"name": "off", "command": "x", "paused": True})
    assert "there is no run 'jib'; there is job, off" in str(forewarn("pause", "jib", "--why", "x").exception)
    assert "why is empty" in str(forewarn("pause", "job", "--why", "").exception)
    assert "job is not paused" in str(forewarn("resume", "job").exception)
    assert "take `paused: true` out there" in str(forewarn("resume", "off").exception)


# --- the process


@pytest.mark.slow
def test_the_process_runs_what_is_due_and_takes_what_it_began_with_it(settings: Settings, runs: Runs) -> None:
    plan(settings, {"command": FOR_EVER}, {"name": "short", "command": "exit 0"})
    past = datetime.now(UTC) - 2 * HOUR
    for name in ("job", "short"):
        runs.claim(name, past, BEGUN, "before", at=past)
    watching = "from jobs.scheduler import watch; from forewarn.settings import Settings; watch(Settings(), program={})"
    environment = {**os.environ, "FOREWARN_HOME": str(settings.home), "FOREWARN_SCHEDULE": str(settings.schedule)}
    command = [sys.executable, "-c", watching.format(repr(SHELL))]
    with subprocess.Popen(command, env=environment, cwd=PROJECT) as process:
        try:
            until(lambda: lines(runs, "short")[1:] and lines(runs, "short")[1][1] == 0, seconds=60, what="one has run")
            until(lambda: len(ran(settings)) == 1, seconds=10, what="the other runs")
        finally:
            process.terminate()
        process.terminate()  # whoever keeps it up says so more than once
        assert process.wait(timeout=30) == 0
    assert not psutil.pid_exists(int(ran(settings)[0]))
    assert one_line(runs).said == scheduler.STOPPED
    assert runs.leader(at=datetime.now(UTC)) is None


@pytest.mark.slow
def test_a_run_is_the_forewarn_command_of_this_home(settings: Settings, runs: Runs) -> None:
    plan(settings, {"command": "status"})
    one = begun(Scheduler(settings, runs), NOW)
    one.turn(at=NOW)
    until(lambda: one._errands[0].over, seconds=60, what="it has ended")
    ended(one, NOW + SECOND)
    assert one_line(runs).code == 0
    (log,) = (settings.home / "logs" / "schedule").iterdir()
    assert f"{settings.home}: not running" in log.read_text()

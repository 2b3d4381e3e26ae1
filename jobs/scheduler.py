"""Begins what is due, notes how it ended, and leads alone: one for the cluster, however many machines run this.

Whoever leads says so every five seconds, for twenty. One that dies, or loses sight of the ledger, is followed by
another; what it ran is noted as lost once it has been silent for two minutes, and by then it has ended that itself, if
it still lives. All that must be remembered is in the ledger, so that a scheduler may die and begin anew.
"""

import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import psutil

from forewarn.errors import ForewarnError, LedgerUnavailable
from forewarn.ledger.runs import BEGUN, LOST, PAUSED, PLANNED, PRESENT, RAN, SCHEDULE, SKIPPED, Run, Runs
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings
from jobs import machine, watching
from jobs.due import Due, Entry, due
from jobs.errand import END, Errand
from jobs.timetable import Plan

log = logging.getLogger(__name__)
FOREWARN = (sys.executable, "-c", "from jobs.cli import main; main()")
# In the environment of all that a scheduler has begun.
MARK = "FOREWARN_SCHEDULER"
LOOK_SECONDS, BEAT_SECONDS = 0.5, 5.0
AT_ONCE = 2
KEEP_LOGS = 300
KEEP = timedelta(days=400)
SAID = {
    BEGUN: "on the schedule from here on",
    SKIPPED: "its time had gone by, and it is not made up for",
    PAUSED: "paused",
}
STOPPED = "ended with the scheduler"
OUT_OF_SIGHT = f"ended, for the ledger was out of sight for {PRESENT.total_seconds():g} s"


class Scheduler:
    """One of those that could lead."""

    def __init__(
        self, settings: Settings, runs: Runs, *, program: Sequence[str] = FOREWARN, at_once: int = AT_ONCE,
        ended: Callable[[str, str], None] | None = None,
    ):  # fmt: skip
        """Begin nothing yet.

        Args:
            program: what a run's words are given to.
            ended: told the name of a run that came to its end, and what went wrong with it; empty where nothing did.
        """
        self.holder = holder_here()
        self._settings, self._runs, self._program, self._at_once = settings, runs, program, at_once
        self._ended = ended
        self._logs = settings.make_home() / "logs" / "schedule"
        self._logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._errands: list[Errand] = []
        self._waiting: dict[str, Due] = {}
        self._entries: list[Entry] = []
        self._complaint = ""
        self._heard: datetime | None = None

    @property
    def running(self) -> list[str]:
        """Names of what is under way here."""
        return [errand.entry.name for errand in self._errands]

    def turn(self, *, at: datetime) -> bool:
        """What is to be done every five seconds; whether this one leads.

        Raises:
            LedgerUnavailable: nothing is begun then.
        """
        self.tend(at=at)
        leads = self._runs.renew(self.holder, at=at)
        self._heard = at
        for errand in [one for one in self._errands if one.ended]:
            self._settle(errand, at)
        if not leads:
            self._waiting = {}
            return False
        for lost in self._runs.lose(at=at):
            self._bury(lost)
        entries = {entry.name: entry for entry in self._read()}
        self._await(due(entries.values(), self._runs.newest(PLANNED), at, self._runs.pauses()), at)
        for one in list(self._waiting.values()):
            if len(self._errands) < self._at_once:
                self._begin(entries[one.name], one, at)
        return True

    def tend(self, *, at: datetime) -> None:
        """What is to be done more often: look after what is under way."""
        out_of_sight = self._heard is not None and at - self._heard > PRESENT
        for errand in self._errands:
            if out_of_sight:
                errand.stop(OUT_OF_SIGHT, at=at, cut=True)
            errand.tend(at=at)

    def stop(self) -> None:
        """End what is under way, note that, and let another lead.

        Raises:
            LedgerUnavailable: it will be noted as lost.
        """
        for errand in self._errands:
            errand.stop(STOPPED, at=datetime.now(UTC), cut=True)
        deadline = time.monotonic() + END.total_seconds()
        while time.monotonic() < deadline and not all(errand.over for errand in self._errands):
            time.sleep(0.1)
        for errand in self._errands:
            errand.kill()
            errand.process.wait()
        for errand in list(self._errands):
            errand.tend(at=datetime.now(UTC))
            self._settle(errand, datetime.now(UTC))
        self._runs.leave(self.holder)

    def _read(self) -> list[Entry]:
        """The file as it is now; as it was before while it cannot be read, which is said once."""
        try:
            self._entries = Plan.read(self._settings).entries(self._settings, os.environ)
            self._complaint = ""
        except ForewarnError as error:
            if str(error) != self._complaint:
                log.error("%s; until then the schedule stays as it was", error)
            self._complaint = str(error)
        return self._entries

    def _await(self, found: list[Due], at: datetime) -> None:
        """Note what is left out, and keep the rest for a free place. Whatever was due while somebody led is not missed,
        however long it has to wait.
        """
        kept = {name for name, one in self._waiting.items() if one.cause == SCHEDULE}
        on_time = [replace(one, cause=SCHEDULE) if one.name in kept and one.cause != PAUSED else one for one in found]
        self._waiting = {one.name: one for one in on_time if one.cause in RAN}
        for one in on_time:
            if one.cause not in RAN:
                self._runs.claim(one.name, one.due, one.cause, self.holder, at=at, said=SAID[one.cause])

    def _begin(self, entry: Entry, one: Due, at: datetime) -> None:
        if not self._runs.claim(one.name, one.due, one.cause, self.holder, at=at):
            return  # another has it, or somebody runs it by hand: then it waits on
        del self._waiting[one.name]
        try:
            environment = {**os.environ, "FOREWARN_HOME": str(self._settings.home), MARK: self.holder}
            self._errands.append(Errand.begin(entry, one, self._program, environment, self._logs, at))
        except OSError as error:
            self._runs.end(one.name, one.due, code=127, said=f"it cannot be started ({error})", at=at)
            self._tell(one.name, "it cannot be started")

    def _settle(self, errand: Errand, at: datetime) -> None:
        """Note how it ended; first in the ledger, so that it is done again where that does not answer."""
        one, said = errand.due, errand.said()
        self._runs.end(one.name, one.due, code=errand.code, said=said, at=errand.ended or at)
        self._errands.remove(errand)
        if not errand.cut:
            self._tell(one.name, "" if errand.good else f"it ended with {errand.code}")
        self._prune(at)

    def _bury(self, lost: Run) -> None:
        """Of a scheduler that died alone, what it began may still run on this machine."""
        machine.end([process for process in psutil.process_iter() if _begun_by(process) == lost.holder])
        self._tell(lost.name, LOST)

    def _tell(self, name: str, trouble: str) -> None:
        """Not what it said last, which may be about somebody: that stands in the ledger."""
        if trouble:
            log.error("%s failed: %s", name, trouble)
        if self._ended:
            self._ended(name, trouble)

    def _prune(self, at: datetime) -> None:
        self._runs.forget(before=at - KEEP)
        with suppress(FileNotFoundError):  # another clears away, too
            logs = sorted(self._logs.glob("*.log"), key=lambda one: one.stat().st_mtime)
            for old in logs[:-KEEP_LOGS]:
                old.unlink()


def holder_here() -> str:
    """A name that no other process has."""
    return f"{socket.gethostname()[:64]}/{os.getpid()}/{secrets.token_hex(4)}"


def _begun_by(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None


def watch(
    settings: Settings, *, program: Sequence[str] = FOREWARN, ended: Callable[[str, str], None] | None = None
) -> None:
    """For as long as whoever started this lives, and does not want it to end; the rest as `Scheduler`. A run that went
    wrong is an alert until the next one of its name that did not, unless somebody else is to be told.
    """
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda which, _: asked.append(which))
    parent, beat = os.getppid(), 0.0
    with closing(Ledger.open(settings)) as ledger:
        alert = partial(watching.job_ended, settings, ledger)
        tell = ended or (lambda name, trouble: alert(name, trouble, at=datetime.now(UTC)))
        scheduler = Scheduler(settings, Runs.of(settings, ledger), program=program, ended=tell)
        while os.getppid() == parent and not asked:
            scheduler.tend(at=datetime.now(UTC))
            if time.monotonic() >= beat:
                beat = time.monotonic() + BEAT_SECONDS
                _turn(scheduler)
            time.sleep(LOOK_SECONDS)
        try:
            scheduler.stop()
        except LedgerUnavailable as error:
            log.warning("what was under way will be noted as lost: %s", error)


def _turn(scheduler: Scheduler) -> None:
    try:
        scheduler.turn(at=datetime.now(UTC))
    except LedgerUnavailable as error:
        log.warning("nothing is begun: %s", error)
    except Exception:  # what goes wrong once must not end the schedule
        log.exception("the schedule was not looked at")

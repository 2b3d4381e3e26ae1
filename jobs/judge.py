"""The judge of releases: looks at every challenger and shadow, and acts on what it sees. One for each installation.

Every five seconds at errors, so that a broken version is gone within half a minute; every minute at everything that is
known at once; every hour at outcomes of versions that were promoted. What it decides, and why, is in the history.
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta

from forewarn import usecases
from forewarn.databases import written
from forewarn.errors import ForewarnError, LedgerUnavailable, NotAllowed, NotFound, PackageDamaged
from forewarn.ledger.audit import By
from forewarn.ledger.observed import observed
from forewarn.ledger.releases import History, Step
from forewarn.ledger.steps import JUDGE
from forewarn.ledger.store import Ledger
from forewarn.locks import Lock
from forewarn.releases import Releases, ReleaseState, judge
from forewarn.releases.arms import Observed
from forewarn.releases.judge import Verdict
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from jobs import watching

log = logging.getLogger(__name__)
LOOK_SECONDS, DEEP_SECONDS, TRUTH_SECONDS, TELL_HOURS = 5.0, 60.0, 3600.0, 1.0
RECENT = timedelta(minutes=10)
BY = By(actor=JUDGE)
# Outcomes may come so long after they were due.
LATE_DAYS = 30


class Judge:
    """For one installation's use cases."""

    def __init__(self, settings: Settings, ledger: Ledger):
        self._settings, self._ledger = settings, ledger
        self._history, self._releases = History.of(settings, ledger), Releases(settings.packages)

    def glance(self, case: UseCase, *, at: datetime) -> Verdict | None:
        """At errors of the last minutes alone: a challenger or shadow that cannot answer loses what it has at once,
        even after a good day (S2-74).
        """
        state = self._history.mend(case)
        if not state.since or not (state.challenger or state.shadow):
            return None
        seen = observed(self._ledger, case, state, at=at, since=written(at - RECENT), deep=False)
        reason = judge.broken(seen, case.canary)
        return self._act(case, state, seen, Verdict(action="rollback", reasons=(reason,)), at) if reason else None

    def look(self, case: UseCase, *, at: datetime) -> Verdict | None:
        """At everything that is known of a challenger or shadow; None where there is none. And whether the packages of
        all roles are whole: replicas refuse one that is not, and somebody must hear of it.
        """
        state = self._history.mend(case)
        watching.damaged(case, self._settings, self._ledger, _damaged(case, self._releases, state), at=at)
        if not state.since or not (state.challenger or state.shadow):
            return None
        seen = observed(self._ledger, case, state, at=at)
        return self._act(case, state, seen, judge.decide(case.task, seen, case.canary), at)

    def confirm(self, case: UseCase, *, at: datetime) -> Verdict | None:
        """At the outcomes of the newest version that was promoted after a release: it may still be taken back (C38)."""
        state = self._history.state(case)
        found = self._promotion(case, state, at)
        if state.challenger or found is None:
            return None
        before, promoted = found
        seen = observed(self._ledger, case, before, at=at, until=promoted)
        verdict = judge.confirm(case.task, seen, case.canary)
        if verdict.action == "rollback":
            why = f"outcomes are known by now: {verdict.why}"
            told = {**verdict.told(), "seen": seen.told()}
            back = _step_of(str(state.champion), "champion", ReleaseState.rolled_back)
            self._change(case, "rollback", why, back, at, told, version=state.champion or "")
        elif verdict.action == "promote":
            self._tell(case, "confirm", verdict, seen, at, version=state.champion or "")
        return verdict

    def _act(self, case: UseCase, state: ReleaseState, seen: Observed, verdict: Verdict, at: datetime) -> Verdict:
        told, version = {**verdict.told(), "seen": seen.told()}, str(state.challenger or state.shadow)
        if verdict.action == "rollback":
            back = _step_of(version, "shadow", lambda now: now.shadowed(None, since=now.since))
            if state.challenger:
                back = _step_of(version, "challenger", ReleaseState.rolled_back)
            self._change(case, "rollback", verdict.why, back, at, told, version=version)
        elif verdict.action == "promote" and state.splits and case.gates.approval == "rule":
            forth = _step_of(version, "challenger", lambda now: now.promoted(version))
            self._change(case, "promote", verdict.why, forth, at, told, version=version)
        else:
            self._tell(case, "verdict", verdict, seen, at, version=version)
        return verdict

    def _change(
        self, case: UseCase, act: str, why: str, step: Step, at: datetime, told: Mapping[str, object], *,
        version: str,
    ) -> None:  # fmt: skip
        self._history.change(case, act, BY, why, step, at=at, verdict=told, version=version)
        log.warning("%s %s: %s: %s", case.name, version, act, why)
        if act == "rollback":
            watching.rolled_back(case, self._settings, self._ledger, version, why, at=at)

    def _tell(self, case: UseCase, act: str, verdict: Verdict, seen: Observed, at: datetime, *, version: str) -> None:
        """A line where it says something new, and every hour."""
        newest = next(iter(self._history.listed(case, most=1)), None)
        again = newest and newest["act"] == act and (newest["verdict"] or {}).get("action") == verdict.action
        if again and newest and newest["at"] >= written(at - timedelta(hours=TELL_HOURS)):
            return
        why = verdict.why
        if verdict.action == "promote" and act == "verdict":
            why = f"{why}; a person may promote it"
        told = {**verdict.told(), "seen": seen.told()}
        self._history.note(case, act, BY, f"{verdict.action}: {why}", version=version, at=at, verdict=told)

    def _promotion(self, case: UseCase, state: ReleaseState, at: datetime) -> tuple[ReleaseState, str] | None:
        """The state before the champion was promoted out of a release, and when; None where that is too long ago."""
        oldest = written(at - timedelta(days=case.horizon_days + LATE_DAYS))
        steps = self._history.since(case, ["promote", "rollback"])
        changed = next((one for one in reversed(steps) if one["from_version"] != one["state"]["champion"]), None)
        if changed is None or changed["act"] != "promote" or changed["at"] < oldest:
            return None
        earlier = next(iter(self._history.listed(case, after=changed["number"], most=1)), None)
        before = ReleaseState.of(earlier["state"] if earlier else {})
        return (before, changed["at"]) if before.challenger == state.champion else None


def _step_of(version: str, role: str, step: Step) -> Step:
    """The step, if things still stand as they were looked at: people may have taken one meanwhile."""

    def taken(now: ReleaseState) -> ReleaseState:
        stands = now.roles.get(role) == version and not now.paused and (role != "champion" or now.challenger is None)
        if not stands:
            raise NotAllowed(f"{version} is no longer {role}, or is paused; nothing is done")
        return step(now)

    return taken


def _damaged(case: UseCase, releases: Releases, state: ReleaseState) -> dict[str, str]:
    """Version → what is wrong with its package."""
    found = {}
    for version in state.versions:
        try:
            releases.verify(case, version)
        except (NotFound, PackageDamaged) as error:
            found[version] = str(error)
    return found


def watch(settings: Settings) -> None:
    """For as long as whoever started this lives; where somebody judges already, wait until he does no more."""
    lock, parent = Lock(settings.home / "judge.lock"), os.getppid()
    mirror = Mirror()
    with closing(Ledger.open(settings)) as ledger:
        judging, due = Judge(settings, ledger), {"look": 0.0, "confirm": 0.0}
        while os.getppid() == parent:
            if lock.take():
                _turn(judging, due)
                _mirrored(mirror, Releases(settings.packages))
            time.sleep(LOOK_SECONDS)


class Mirror:
    """Lets MLflow's aliases follow, whoever took a step: at a shell, over HTTP, or the judge."""

    def __init__(self) -> None:
        self._told = 0
        self._process: subprocess.Popen[bytes] | None = None

    def follow(self, number: int) -> None:
        """Where the number of the newest steps is another one than last time."""
        if number != self._told and (self._process is None or self._process.poll() is not None):
            self._told = number
            self._process = subprocess.Popen([sys.executable, "-m", "jobs.mirror"], stdin=subprocess.DEVNULL)


def _mirrored(mirror: Mirror, releases: Releases) -> None:
    try:
        mirror.follow(sum(releases.state(case).number for case in usecases.every().values()))
    except (ForewarnError, OSError) as error:
        log.warning("MLflow's aliases are not told: %r", error)


def _turn(judging: Judge, due: dict[str, float]) -> None:
    ways = [judging.glance]
    for name, way, seconds in (("look", judging.look, DEEP_SECONDS), ("confirm", judging.confirm, TRUTH_SECONDS)):
        if time.monotonic() >= due[name]:
            due[name] = time.monotonic() + seconds
            ways.append(way)
    for case in usecases.every().values():
        try:
            for way in ways:
                way(case, at=datetime.now(UTC))
        except LedgerUnavailable as error:
            log.debug("%s: %s", case.name, error)
        except (ForewarnError, OSError) as error:
            log.warning("%s: %s", case.name, error)
        except Exception:  # what goes wrong with one use case must not end the judging of the others
            log.exception("%s was not judged", case.name)


if __name__ == "__main__":
    os.nice(15)  # as Ray's workers are: a broken version must not stay because of its own load
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    watch(Settings())

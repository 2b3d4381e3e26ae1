"""What is due: entries of the schedule, and which of them are to begin. Pure: the time comes in as an argument.

Cron's rules are cronsim's, which are Debian's: what is due at a time that the clocks skip in spring runs right after
it; what is due at one that they repeat in autumn runs at the first.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim

from forewarn.ledger.runs import AGAIN, BEGUN, MISSED, PAUSED, SCHEDULE, SKIPPED, Run

# Later than this, it was missed: a new leader takes 20 s, a head that is begun anew one or two minutes.
LATE = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Due:
    """A run that is to begin, or a line to write of one that is not: which, when it was due, and why."""

    name: str
    due: datetime
    cause: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One of the schedule's, for one use case where it is for each.

    Attributes:
        base: its name in the file.
        words: what follows `forewarn` on the command line.
        waits: what is not there yet that it needs; empty: nothing.
    """

    name: str
    base: str
    cron: str
    zone: ZoneInfo
    words: tuple[str, ...]
    missed: Literal["once", "skip"] = "once"
    limit: timedelta = timedelta(hours=1)
    good_codes: tuple[int, ...] = (0,)
    paused: bool = False
    waits: str = ""

    def next(self, after: datetime) -> datetime | None:
        """When it is due after that; None where that is never."""
        return next(self._times(after), None)

    def newest(self, after: datetime, until: datetime) -> datetime | None:
        """The last time it was due after one moment and up to another; None where it was not.

        Looked for from the end, in ever longer stretches: after a year away nobody counts half a million minutes.
        """
        back = timedelta(hours=1)
        while True:
            since = max(after, until - back)
            *_, last = (None, *self._within(since, until))
            if last or since <= after:
                return last
            back *= 2

    def _within(self, since: datetime, until: datetime) -> Iterator[datetime]:
        for at in self._times(since):
            if at > until:
                return
            yield at

    def _times(self, after: datetime) -> Iterator[datetime]:
        """In the hour that the clocks repeat, cronsim's first answer may lie before what was asked for."""
        for found in CronSim(self.cron, after.astimezone(self.zone)):
            at = found.astimezone(UTC)
            if at > after:
                yield at


def due(entries: Iterable[Entry], last: Mapping[str, Run], now: datetime, paused: Collection[str]) -> list[Due]:
    """What is to begin, and what is to be noted as left out; the earliest first.

    Args:
        last: of each name, the schedule's own newest line.
        paused: names of entries, or of all use cases' (`drift`).
    """
    ready = [entry for entry in entries if not entry.waits]
    found = [_due(one, last.get(one.name), now, is_paused(one, paused)) for one in ready]
    return sorted((one for one in found if one), key=lambda one: one.due)


def is_paused(entry: Entry, paused: Collection[str]) -> bool:
    """By the file, or by somebody."""
    return entry.paused or entry.name in paused or entry.base in paused


def _due(entry: Entry, last: Run | None, now: datetime, paused: bool) -> Due | None:
    """However many times have gone by, there is one run for them."""
    if last is None:
        return Due(name=entry.name, due=now, cause=BEGUN)
    if last.ended_at is None:
        return None
    when = entry.newest(last.due, now)
    if when is not None:
        return Due(name=entry.name, due=when, cause=_cause(entry, now - when, paused))
    # Once: what takes its machine down with it would do so for ever.
    if last.cut_short and last.cause != AGAIN and entry.missed == "once" and not paused:
        return Due(name=entry.name, due=last.ended_at, cause=AGAIN)
    return None


def _cause(entry: Entry, late: timedelta, paused: bool) -> str:
    if paused:
        return PAUSED
    if late <= LATE:
        return SCHEDULE
    return MISSED if entry.missed == "once" else SKIPPED

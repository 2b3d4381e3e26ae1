"""The scheduler's part of the ledger: who leads, what ran when and how it ended, what is paused by whom.

Whoever writes here is alone until the transaction ends, so that of two who want the same thing one gets it.

Times are the writers' own clocks. A machine that is fast by more than a lease lasts takes the lead from one that lives;
both lead until the other's next renewal, and still nothing runs twice, because a run is claimed by its name and the
time it was due. Keep clocks within some seconds of each other, as NTP does.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from forewarn.databases import written
from forewarn.errors import BadInput, NotFound
from forewarn.ledger import schema
from forewarn.ledger.audit import By, Chain
from forewarn.ledger.store import Ledger, named
from forewarn.settings import Settings

COLUMN, LEASE, PAUSE = schema.RUNS.c, schema.LEASES.c, schema.PAUSES.c
LEADER = "schedule"
# Of the lead, so that another takes over soon; and of those who run something, who may lose sight of a database that is
# begun anew without losing an hour's work.
LEAD, PRESENT = timedelta(seconds=20), timedelta(seconds=120)

# Why a run began. AGAIN takes the place of one that was cut short, once.
SCHEDULE, MISSED, AGAIN, HAND = "schedule", "missed", "again", "hand"
RAN = (SCHEDULE, MISSED, AGAIN, HAND)
# Why there is a line of what did not run: the schedule knows the name from here on, nobody led, somebody paused it.
BEGUN, SKIPPED, PAUSED = "begun", "skipped", "paused"
PLANNED = (SCHEDULE, MISSED, AGAIN, BEGUN, SKIPPED, PAUSED)
LOST = "the machine it ran on went away"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A line: what ran, or did not, and why. One that is over without a code was cut short."""

    name: str
    due: datetime
    cause: str
    holder: str
    began_at: datetime
    ended_at: datetime | None = None
    code: int | None = None
    said: str | None = None

    @classmethod
    def of(cls, row: sa.Row[*tuple[Any, ...]]) -> "Run":
        """As the table has it."""
        times = {name: _moment(value) for name, value in named(row).items() if name in ("due", "began_at", "ended_at")}
        return cls(**{**named(row), **times})

    @property
    def cut_short(self) -> bool:
        """Whether it never came to an end of its own: its machine went away, or the scheduler was stopped."""
        return self.cause in RAN and self.ended_at is not None and self.code is None

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        return (self.ended_at - self.began_at).total_seconds() if self.ended_at else None

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "seconds": self.seconds}


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Who leads, and until when unless he says so again."""

    holder: str
    until: datetime


@dataclass(frozen=True, kw_only=True)
class Pause:
    """Since when nothing of that name is begun by itself, who wanted that, and why."""

    name: str
    at: datetime
    actor: str
    why: str


class Runs:
    """One installation's."""

    def __init__(self, ledger: Ledger, chain: Chain):
        self._ledger, self._chain = ledger, chain

    @classmethod
    def of(cls, settings: Settings, ledger: Ledger) -> "Runs":
        """With this installation's secrets."""
        return cls(ledger, Chain.of(settings))

    def renew(self, holder: str, *, at: datetime) -> bool:
        """Say that a scheduler lives; whether it leads, which it takes where nobody does.

        Raises:
            LedgerUnavailable: nobody may say that he leads then.
        """
        with self._alone() as connection:
            _hold(connection, holder, holder, at, PRESENT)
            return _hold(connection, LEADER, holder, at, LEAD)

    def present(self, holder: str, *, at: datetime) -> None:
        """Say that somebody who runs something, and does not want to lead, lives."""
        with self._alone() as connection:
            _hold(connection, holder, holder, at, PRESENT)

    def leave(self, holder: str) -> None:
        """Let go of the lead at once, for another to take it."""
        with self._alone() as connection:
            connection.execute(sa.delete(schema.LEASES).where(LEASE.holder == holder))

    def leader(self, *, at: datetime) -> Lease | None:
        """Who leads; None where nobody does."""
        chosen = sa.select(LEASE.holder, LEASE.until).where(LEASE.name == LEADER, LEASE.until >= written(at))
        with self._ledger.begin() as connection:
            found = connection.execute(chosen).one_or_none()
        return Lease(holder=found.holder, until=datetime.fromisoformat(found.until)) if found else None

    def claim(self, name: str, due: datetime, cause: str, holder: str, *, at: datetime, said: str = "") -> bool:
        """Whether this run is the holder's to begin. It is not where another has it, or something of that name runs.

        A cause of what does not run is a line that is over at once.
        """
        taken = sa.or_(COLUMN.due == written(due), COLUMN.ended_at.is_(None))
        line = {"name": name, "due": written(due), "cause": cause, "holder": holder, "began_at": written(at),
                "ended_at": None if cause in RAN else written(at), "said": said}  # fmt: skip
        with self._alone() as connection:
            if connection.execute(sa.select(COLUMN.name).where(COLUMN.name == name, taken).limit(1)).first():
                return False
            connection.execute(sa.insert(schema.RUNS), line)
        return True

    def end(self, name: str, due: datetime, *, code: int | None, said: str, at: datetime) -> bool:
        """Note how a run came out; False where it was given up meanwhile."""
        mine = sa.update(schema.RUNS).where(COLUMN.name == name, COLUMN.due == written(due), COLUMN.ended_at.is_(None))
        with self._alone() as connection:
            return bool(connection.execute(mine.values(ended_at=written(at), code=code, said=said)).rowcount)

    def lose(self, *, at: datetime) -> list[Run]:
        """Note the runs whose holders have not been heard of for as long as they said; which they are."""
        alive = sa.select(LEASE.name).where(LEASE.until >= written(at))
        gone = sa.and_(COLUMN.ended_at.is_(None), COLUMN.holder.not_in(alive))
        silent = sa.and_(LEASE.name != LEADER, LEASE.until < written(at))
        with self._alone() as connection:
            found = [Run.of(row) for row in connection.execute(sa.select(schema.RUNS).where(gone))]
            connection.execute(sa.update(schema.RUNS).where(gone).values(ended_at=written(at), said=LOST))
            connection.execute(sa.delete(schema.LEASES).where(silent))
        return found

    def newest(self, causes: Collection[str]) -> dict[str, Run]:
        """Of each name, the line of these causes that was due last."""
        last = sa.select(COLUMN.name, sa.func.max(COLUMN.due).label("due")).where(COLUMN.cause.in_(causes))
        last_of = last.group_by(COLUMN.name).subquery()
        both = sa.and_(COLUMN.name == last_of.c.name, COLUMN.due == last_of.c.due)
        with self._ledger.begin() as connection:
            found = connection.execute(sa.select(schema.RUNS).join(last_of, both))
            return {row.name: Run.of(row) for row in found}

    def history(self, name: str = "", *, most: int = 50) -> list[Run]:
        """Lines, the newest first: of all, of one run, or of one that is for each use case."""
        whose = sa.or_(COLUMN.name == name, COLUMN.name.startswith(f"{name}:", autoescape=True))
        chosen = sa.select(schema.RUNS).order_by(COLUMN.began_at.desc(), COLUMN.due.desc(), COLUMN.name).limit(most)
        with self._ledger.begin() as connection:
            return [Run.of(row) for row in connection.execute(chosen.where(whose) if name else chosen)]

    def forget(self, *, before: datetime) -> int:
        """Take away the lines of what was due before; how many."""
        with self._alone() as connection:
            return connection.execute(sa.delete(schema.RUNS).where(COLUMN.due < written(before))).rowcount

    def pauses(self) -> dict[str, Pause]:
        """By name."""
        with self._ledger.begin() as connection:
            found = [named(row) for row in connection.execute(sa.select(schema.PAUSES))]
        return {row["name"]: Pause(**{**row, "at": _moment(row["at"])}) for row in found}

    def pause(self, name: str, by: By, why: str, *, at: datetime) -> None:
        """Let nothing of that name begin by itself, until somebody resumes it.

        Raises:
            BadInput: no reason was given.
        """
        if not why.strip():
            raise BadInput("why is empty; say in a sentence why it is paused, it is kept for whoever wonders later")
        with self._alone() as connection:
            connection.execute(sa.delete(schema.PAUSES).where(PAUSE.name == name))
            line = {"name": name, "at": written(at), "actor": by.actor, "why": why}
            connection.execute(sa.insert(schema.PAUSES), line)
            self._chain.append(connection, "schedule.pause", by, {"name": name, "why": why}, at=at)

    def resume(self, name: str, by: By, *, at: datetime) -> None:
        """Let it begin by itself again, from its next time on.

        Raises:
            NotFound: it is not paused.
        """
        with self._alone() as connection:
            if not connection.execute(sa.delete(schema.PAUSES).where(PAUSE.name == name)).rowcount:
                raise NotFound(f"{name} is not paused; `forewarn schedule list` shows what is")
            self._chain.append(connection, "schedule.resume", by, {"name": name}, at=at)

    @contextmanager
    def _alone(self) -> Iterator[sa.Connection]:
        with self._ledger.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(7019)"))
            yield connection


def _hold(connection: sa.Connection, name: str, holder: str, at: datetime, long: timedelta) -> bool:
    """Compare and swap: whether the lease is the holder's, for so long."""
    until = written(at + long)
    free = sa.or_(LEASE.holder == holder, LEASE.until < written(at))
    taken = sa.update(schema.LEASES).where(LEASE.name == name, free).values(holder=holder, until=until)
    if connection.execute(taken).rowcount:
        return True
    if connection.execute(sa.select(LEASE.name).where(LEASE.name == name)).first():
        return False
    connection.execute(sa.insert(schema.LEASES), {"name": name, "holder": holder, "until": until})
    return True


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None

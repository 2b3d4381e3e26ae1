"""Which alerts are open, when each was seen, and when somebody was last told of it.

An alert is told when it is new, when it got worse, and again when the cool-down is over. Until every channel that is to
hear of it has taken it, it counts as untold, and is tried again when it is next raised: rather twice than never.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from forewarn.alerts import INSTALLATION, Alert, Notice, Told, badness, channels
from forewarn.alerts.channels import Channel
from forewarn.alerts.plan import Plan
from forewarn.databases import written
from forewarn.ledger import schema
from forewarn.ledger.audit import By, Chain
from forewarn.ledger.store import Ledger, named
from forewarn.settings import Settings

COLUMN = schema.ALERTS.c
# A channel that let us wait is not waited for again so soon: forty fields that moved would be forty waits.
REST = timedelta(minutes=1)
RESTING = "it did not answer a moment ago, and was not tried again"
# For so long the end of an alert is tried to be told; then whoever watches that channel has seen it otherwise.
TRIED = timedelta(days=3)
NOT_OPEN = "it is not open"


class Alerts:
    """One installation's. Nothing but the ledger's absence makes these fail."""

    def __init__(
        self, ledger: Ledger, told: Sequence[Channel], *, cooldown_hours: float = 24.0, runbook: str = "",
        installation: str = INSTALLATION,
    ):  # fmt: skip
        self._ledger, self._channels = ledger, tuple(told)
        self._cooldown, self._runbook, self._installation = timedelta(hours=cooldown_hours), runbook, installation
        self._reached: dict[tuple[str, str], tuple[tuple[Any, ...], set[str]]] = {}
        self._rests: dict[str, datetime] = {}

    @classmethod
    def of(cls, settings: Settings, ledger: Ledger) -> "Alerts":
        """With this installation's channels.

        Raises:
            BadInput: the file that lists them cannot be read.
        """
        plan = Plan.read(settings)
        return cls(
            ledger, plan.channels, cooldown_hours=plan.cooldown_hours, runbook=plan.runbook,
            installation=plan.installation,
        )  # fmt: skip

    def raise_(self, alert: Alert, *, at: datetime) -> Told:
        """Open it, or see it again, and tell whoever hears of it, where that is due.

        Raises:
            LedgerUnavailable: nobody is told.
        """
        with self._ledger.begin() as connection:
            row = _seen(connection, alert, written(at))
        if row["told_at"] and row["told_at"] > written(at - self._cooldown):
            hours = self._cooldown / timedelta(hours=1)
            return Told(suppressed=f"told at {row['told_at'][:16]}Z, and not again within {hours:g} hours")
        told = self._tell(row, alert, at=at)
        if not (told.failed or told.suppressed):
            self._mark(row, at)
        return told

    def resolve(
        self, use_case: str, name: str, *, at: datetime, why: str = "", signed: tuple[Chain, By] | None = None
    ) -> Told:
        """It is over: tell, once, whoever heard of it. Where a channel did not take that, the next call tries again.

        Args:
            signed: the log of privileged acts, and who says so, where it is a person.

        Raises:
            LedgerUnavailable: nothing changes.
        """
        with self._ledger.begin() as connection:
            row = _ended(connection, use_case, name, written(at))
            if signed and row and row["resolved_at"] == written(at):
                about = {"use_case": use_case, "name": name, "why": why}
                signed[0].append(connection, "alerts.resolve", signed[1], about, at=at)
        if row is None or row["told_at"] or row["resolved_at"] < written(at - TRIED):
            return Told(suppressed=NOT_OPEN)
        alert = Alert(use_case=use_case, name=name, severity=row["severity"], text=row["text"])
        told = self._tell(row, alert, at=at, why=why)
        if not told.failed:
            self._mark(row, at)
        return told

    def keep_only(self, use_case: str, prefix: str, names: Collection[str], *, at: datetime, why: str = "") -> Told:
        """Resolve those of the use case that begin so and are not among these: a run found them no more.

        Raises:
            LedgerUnavailable: some may be resolved.
        """
        unsettled = self._listed(COLUMN.use_case == use_case, COLUMN.resolved_at.is_(None) | COLUMN.told_at.is_(None))
        over = [row["name"] for row in unsettled if row["name"].startswith(prefix) and row["name"] not in names]
        told = (self.resolve(use_case, name, at=at, why=why) for name in over)
        return sum(told, Told()) if over else Told(suppressed="none is over")

    def open(self, use_case: str = "") -> list[dict[str, Any]]:
        """Those that are not resolved, of one use case or of all; the worst first."""
        return self._listed(COLUMN.resolved_at.is_(None), *_of(use_case))

    def every(self, use_case: str = "") -> list[dict[str, Any]]:
        """As `open`, and behind them those that were resolved."""
        return self._listed(*_of(use_case))

    def _listed(self, *conditions: sa.ColumnElement[bool]) -> list[dict[str, Any]]:
        with self._ledger.begin() as connection:
            found = [named(row) for row in connection.execute(sa.select(schema.ALERTS).where(*conditions))]
        return sorted(found, key=lambda row: (bool(row["resolved_at"]), -badness(row["severity"]), row["opened_at"]))

    def _tell(self, row: Mapping[str, Any], alert: Alert, *, at: datetime, why: str = "") -> Told:
        """Those that hear of it and have not been reached yet. The ledger is not held meanwhile."""
        hearing = [channel for channel in self._channels if channel.hears(alert.severity)]
        if not hearing:
            return Told(suppressed=f"no channel hears of what is {alert.severity}")
        matter, telling = (alert.use_case, alert.name), _telling(row)
        before, reached = self._reached.get(matter, (telling, set()))
        left = [one for one in hearing if before != telling or one.name not in reached]
        resting = {one.name for one in left if one.name in self._rests and at < self._rests[one.name]}
        told = channels.tell([one for one in left if one.name not in resting], self._notice(row, alert, at, why))
        told += Told(failed=dict.fromkeys(resting, 1), reasons=dict.fromkeys(resting, RESTING))
        self._rests |= {name: at + REST for name, reason in told.reasons.items() if reason == channels.SILENT}
        heard = (reached if before == telling else set()) | told.sent.keys()
        self._reached[matter] = (telling, heard)
        return told

    def _notice(self, row: Mapping[str, Any], alert: Alert, at: datetime, why: str) -> Notice:
        return Notice(
            alert=alert, at=written(at), since=row["opened_at"], times=row["times"], over=bool(row["resolved_at"]),
            why=why, installation=self._installation, runbook=self._runbook,
        )  # fmt: skip

    def _mark(self, row: Mapping[str, Any], at: datetime) -> None:
        """That everybody was told, unless it was opened anew or resolved meanwhile."""
        same = COLUMN.resolved_at.is_not_distinct_from(row["resolved_at"]), COLUMN.opened_at == row["opened_at"]
        with self._ledger.begin() as connection:
            connection.execute(
                sa.update(schema.ALERTS).where(*_one(row["use_case"], row["name"]), *same).values(told_at=written(at))
            )


def _seen(connection: sa.Connection, alert: Alert, now: str) -> dict[str, Any]:
    """The row, opened or seen again; whoever sees the same at the same time waits for us."""
    fresh = {
        "use_case": alert.use_case, "name": alert.name, "severity": alert.severity, "text": alert.told,
        "opened_at": now, "seen_at": now, "times": 1, "told_at": None, "resolved_at": None,
    }  # fmt: skip
    insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(schema.ALERTS).values(fresh)
    if connection.execute(insert.on_conflict_do_nothing().returning(COLUMN.name)).scalar() is not None:
        return fresh
    mine = _one(alert.use_case, alert.name)
    row = named(connection.execute(sa.select(schema.ALERTS).where(*mine).with_for_update()).one())
    row = fresh if row["resolved_at"] else _again(row, alert, now)
    connection.execute(sa.update(schema.ALERTS).where(*mine).values(row))
    return row


def _again(row: Mapping[str, Any], alert: Alert, now: str) -> dict[str, Any]:
    """The severity is the worst since it was opened, so that whoever heard of that hears of the end. Where it rose,
    nobody has been told yet.
    """
    worse = badness(alert.severity) > badness(row["severity"])
    rise = {"severity": alert.severity, "told_at": None} if worse else {}
    return {**row, "text": alert.told, "seen_at": now, "times": row["times"] + 1, **rise}


def _ended(connection: sa.Connection, use_case: str, name: str, now: str) -> dict[str, Any] | None:
    """The row of an alert that is over, now or since earlier; None where there never was one."""
    mine = _one(use_case, name)
    open_ = sa.update(schema.ALERTS).where(*mine, COLUMN.resolved_at.is_(None))
    connection.execute(open_.values(resolved_at=now, told_at=None))
    row = connection.execute(sa.select(schema.ALERTS).where(*mine)).one_or_none()
    return named(row) if row else None


def _telling(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What stays the same from the first try to tell something until it is told."""
    return tuple(row[name] for name in ("opened_at", "severity", "told_at", "resolved_at"))


def _one(use_case: str, name: str) -> tuple[sa.ColumnElement[bool], ...]:
    return COLUMN.use_case == use_case, COLUMN.name == name


def _of(use_case: str) -> list[sa.ColumnElement[bool]]:
    return [COLUMN.use_case == use_case] if use_case else []

"""Moves spooled lines into the ledger: one process on each node, for every spool there, dead processes' included.

    python -m forewarn.ledger.shipper

Whoever comes second ends at once; the first ends when no process that spools is left and all is shipped.
"""

import logging
import os
import time
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from forewarn.errors import BadInput, LedgerUnavailable
from forewarn.ledger import schema, spool
from forewarn.ledger.records import PERSONAL
from forewarn.ledger.store import Ledger, together
from forewarn.locks import Lock
from forewarn.settings import Settings

log = logging.getLogger(__name__)

LOCK, DAMAGED = "shipper.lock", "damaged.jsonl"
LOOK_SECONDS = 0.5
RETRY_SECONDS = 2.0
COLUMNS = [str(column.name) for column in schema.PREDICTIONS.columns]

# Of the database; else it is a line that it does not take.
AWAY = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)


class Shipper:
    """Reads every spool below a folder."""

    def __init__(self, ledger: Ledger, spools: Path):
        self._ledger, self._spools = ledger, spools

    def ship(self) -> int:
        """Every closed segment, oldest first; how many lines.

        Raises:
            LedgerUnavailable: what is not shipped yet stays where it is.
        """
        return sum(self._segment(file) for folder in self._folders() for file in self._ready(folder))

    @property
    def done(self) -> bool:
        """Whether no process spools any more, and nothing is left of those that did."""
        return not self._folders()

    def _folders(self) -> list[Path]:
        return sorted(path for path in self._spools.iterdir() if path.is_dir())

    def _ready(self, folder: Path) -> Iterator[Path]:
        dead = not spool.owned(folder)
        if dead:
            spool.adopt(folder)
        yield from spool.segments(folder)
        if dead:
            (folder / spool.OWNER).unlink(missing_ok=True)
            folder.rmdir()

    def _segment(self, file: Path) -> int:
        lines = file.read_bytes().splitlines()
        try:
            record(self._ledger, lines)
        except (LedgerUnavailable, BadInput, ValueError) as error:
            if isinstance(error.__cause__, AWAY):
                raise
            shipped = sum(map(self._alone, lines))
        else:
            shipped = len(lines)
        file.unlink()
        return shipped

    def _alone(self, line: bytes) -> bool:
        """Whether it is shipped, where the database refused one among others: that one is kept apart. A process that
        was killed while it wrote may have left half a line, which was no answer yet.
        """
        try:
            record(self._ledger, [line])
        except (LedgerUnavailable, BadInput, ValueError) as error:
            if isinstance(error.__cause__, AWAY):
                raise
            self._set_apart(line, str(error))
            return False
        return True

    def _set_apart(self, told: bytes, why: str) -> None:
        log.error("a line of a spool is set apart in %s: %s", self._spools / DAMAGED, why)
        with (self._spools / DAMAGED).open("ab") as apart:
            apart.write(told + b"\n")


def record(ledger: Ledger, lines: list[bytes]) -> None:
    """Add predictions, a JSON object each; those that are there already stay as they are. Of the erased, nothing
    personal.

    Raises:
        LedgerUnavailable: none of them is added.
        ValueError: this is no JSON.
    """
    if lines:
        with ledger.begin() as connection:
            together(connection)
            (_as_json if ledger.dialect == "postgresql" else _as_cells)(connection, lines)


def _as_json(connection: sa.Connection, lines: list[bytes]) -> None:
    """PostgreSQL takes the JSON apart itself: 2 µs of our CPU a line instead of 27, and half of its own."""
    connection.execute(ADD_JSON, {"lines": (b"[" + b",".join(lines) + b"]").decode()})


def _adding_json() -> sa.Insert:
    typed = [sa.column(column.name, column.type) for column in schema.PREDICTIONS.columns]
    told = sa.func.json_to_recordset(sa.cast(sa.bindparam("lines", type_=sa.Text), postgresql.JSON))
    line = told.table_valued(*typed).render_derived(name="line", with_types=True).c
    tomb = NEWEST_ERASURES.subquery()
    erased = sa.and_(tomb.c.subject == line.subject, tomb.c.at >= line.at)
    cells: dict[str, Any] = {name: line[name] for name in COLUMNS} | {"erased_at": tomb.c.at}
    cells |= {name: sa.case((tomb.c.at.is_(None), line[name])) for name in PERSONAL}
    chosen = sa.select(*cells.values()).select_from(line.id.table.outerjoin(tomb, erased))
    added: sa.Insert = postgresql.insert(schema.PREDICTIONS).from_select(COLUMNS, chosen).on_conflict_do_nothing()
    return added


def _as_cells(connection: sa.Connection, lines: list[bytes]) -> None:
    """SQLite's own functions for JSON are slower than ours."""
    erased = {row.subject: row.at for row in connection.execute(NEWEST_ERASURES)}
    connection.exec_driver_sql(ADD_CELLS, [_cells(orjson.loads(line), erased) for line in lines])


def _cells(line: dict[str, Any], erased: dict[str, str]) -> tuple[Any, ...]:
    fields = None if line["fields"] is None else orjson.dumps(line["fields"]).decode()
    told = {**line, "fields": fields, "erased_at": None}
    at = erased.get(line["subject"], "")
    if at >= line["at"]:
        told |= {**dict.fromkeys(PERSONAL), "erased_at": at}
    return tuple([told.get(name) for name in COLUMNS])


ERASED = schema.ERASURES.c
NEWEST_ERASURES = sa.select(ERASED.subject, sa.func.max(ERASED.at).label("at")).group_by(ERASED.subject)
ADD_JSON = _adding_json()
ADD_CELLS = str(sqlite.insert(schema.PREDICTIONS).on_conflict_do_nothing().compile(dialect=sqlite.dialect()))


def forget(spools: Path, subjects: Collection[str]) -> int:
    """Of the lines that were set apart, take away those of a person; how many. What is cut off before its subject is
    whole holds nothing of anybody: fields come after it.
    """
    apart = spools / DAMAGED
    if not apart.exists():
        return 0
    names, lines = [one.encode() for one in subjects], apart.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not any(name in line for name in names)]
    if len(kept) < len(lines):
        aside = apart.with_name(f".{DAMAGED}")
        aside.touch(mode=0o600)
        aside.write_bytes(b"".join(kept))
        aside.replace(apart)
    return len(lines) - len(kept)


def drain(settings: Settings) -> None:
    """Once, what dead processes have left; where somebody ships already, or the ledger is away, it stays for later."""
    lock = Lock(settings.spools / LOCK)
    if settings.spools.exists() and lock.take():
        with closing(Ledger.open(settings)) as ledger, suppress(LedgerUnavailable):
            Shipper(ledger, settings.spools).ship()
        lock.free()


def run(settings: Settings) -> None:
    """Until there is nothing left to do."""
    settings.spools.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = Lock(settings.spools / LOCK)
    if not lock.take():
        return
    shipper, away = Shipper(Ledger.open(settings), settings.spools), False
    while not shipper.done:
        try:
            shipped = shipper.ship()
            away = False
        except LedgerUnavailable as error:
            if not away:
                log.warning("predictions wait on disk: %s", error)
            shipped, away = 0, True
        if not shipped:
            time.sleep(RETRY_SECONDS if away else LOOK_SECONDS)


if __name__ == "__main__":
    os.nice(19)  # answers go first: what waits on the disk can wait
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run(Settings())

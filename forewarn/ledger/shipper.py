"""Moves spooled lines into the ledger: one process on each node, for every spool there, dead processes' included.

    python -m forewarn.ledger.shipper

Whoever comes second ends at once; the first ends when no process that spools is left and all is shipped.
"""

import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from forewarn.errors import LedgerUnavailable
from forewarn.ledger import schema, spool
from forewarn.ledger.store import Ledger
from forewarn.locks import Lock
from forewarn.settings import Settings

log = logging.getLogger(__name__)

LOCK, DAMAGED = "shipper.lock", "damaged.jsonl"
LOOK_SECONDS = 0.5
RETRY_SECONDS = 2.0
# SQLite takes 32 766 parameters in a statement.
ASKED_AT_ONCE = 1000
PERSONAL = ("subject", "fields", "sealed", "digest", "score", "event", "level")
COLUMNS = [str(column.name) for column in schema.PREDICTIONS.columns]

Line = dict[str, Any]


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
        lines = list(self._lines(file))
        try:
            record(self._ledger, lines)
        except LedgerUnavailable as error:
            if not isinstance(error.__cause__, sa.exc.DataError | sa.exc.IntegrityError | sa.exc.StatementError):
                raise
            self._one_by_one(lines)
        file.unlink()
        return len(lines)

    def _one_by_one(self, lines: list[Line]) -> None:
        """The database refuses one of them: it is kept apart, and the others go on."""
        for line in lines:
            try:
                record(self._ledger, [line])
            except LedgerUnavailable as error:
                if isinstance(error.__cause__, sa.exc.OperationalError | sa.exc.InterfaceError):
                    raise
                self._set_apart(orjson.dumps(line), str(error))

    def _lines(self, file: Path) -> Iterator[Line]:
        """A process that was killed while it wrote may have left half a line, which was no answer yet."""
        for told in file.read_bytes().splitlines():
            try:
                line = orjson.loads(told)
            except ValueError:
                self._set_apart(told, "half a line")
                continue
            yield {name: line.get(name) for name in COLUMNS} | {"fields": orjson.dumps(line["fields"]).decode()}

    def _set_apart(self, told: bytes, why: str) -> None:
        log.error("a line of a spool is set apart in %s: %s", self._spools / DAMAGED, why)
        with (self._spools / DAMAGED).open("ab") as apart:
            apart.write(told + b"\n")


def record(ledger: Ledger, lines: list[Line]) -> None:
    """Add predictions; those that are there already stay as they are. Of the erased, nothing personal.

    Raises:
        LedgerUnavailable: none of them is added.
    """
    if not lines:
        return
    with ledger.begin() as connection:
        erased = _erased(connection, {line["subject"] for line in lines if line["subject"]})
        kept = [_bare(line, erased) for line in lines]
        insert = (sqlite if ledger.dialect == "sqlite" else postgresql).insert(schema.PREDICTIONS)
        connection.execute(insert.on_conflict_do_nothing(index_elements=["id"]), kept)


def _erased(connection: sa.Connection, subjects: Iterable[str]) -> dict[str, str]:
    """Subject -> what of it is older than this was erased."""
    column, asked = schema.ERASURES.c, sorted(subjects)
    newest = sa.select(column.subject, sa.func.max(column.at)).group_by(column.subject)
    found: dict[str, str] = {}
    for start in range(0, len(asked), ASKED_AT_ONCE):
        these = newest.where(column.subject.in_(asked[start : start + ASKED_AT_ONCE]))
        found |= {row[0]: row[1] for row in connection.execute(these)}
    return found


def _bare(line: Line, erased: dict[str, str]) -> Line:
    at = erased.get(line["subject"], "") if line["subject"] else ""
    return {**line, **dict.fromkeys(PERSONAL), "erased_at": at} if at >= line["at"] else line


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
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run(Settings())

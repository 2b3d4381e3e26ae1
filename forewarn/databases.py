"""The databases that our own state may lie in: SQLite for one machine, a server for many; how each is spoken to."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from forewarn import sources
from forewarn.errors import BadInput, CannotStart

DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
}
EXAMPLES = {
    "sqlite": "sqlite:////absolute/path",
    "postgresql": "postgresql://user@host/database",
    "mysql": "mysql://…",
}
# MariaDB joins a list of 1000 entities or more to a table that it reads whole: 1.2 s instead of 27 ms. MySQL knows no
# such setting, and reads a comment.
AS_LISTS = "SET /*M! in_predicate_conversion_threshold = 0, */ @forewarn = 1"
OPTIONS: dict[str, dict[str, Any]] = {
    "sqlite": {"timeout": 10},
    "postgresql": {"connect_timeout": 2, "tcp_user_timeout": 10_000},
    "mysql": {"connect_timeout": 2, "read_timeout": 30, "write_timeout": 30, "init_command": AS_LISTS},
}


def address(uri: str, setting: str, kinds: Sequence[str] = ("sqlite", "postgresql", "mysql")) -> sa.URL:
    """What to connect to.

    Raises:
        CannotStart: the setting is no address of a database that can be used.
    """
    try:
        url = sa.make_url(uri)
        url = url.set(drivername=DRIVERS[url.get_backend_name()])
        if url.get_backend_name() not in kinds:
            raise ValueError("not one of these")
        if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
            raise ValueError("a database in memory is each process's own")
    except (ArgumentError, KeyError, ValueError):
        *some, last = (EXAMPLES[kind] for kind in kinds)
        raise CannotStart(
            f"{setting}: {sources.described(uri)} is no address of a database that can be used here; write "
            f"{', '.join(some)} or {last}, @ in a password as %40"
        ) from None
    return url


def engine(url: sa.URL) -> sa.Engine:
    """A pool of connections; nothing is opened yet."""
    options = OPTIONS[url.get_backend_name()]
    if url.drivername != "sqlite":
        return sa.create_engine(
            url,
            pool_size=4,
            pool_timeout=2,
            pool_pre_ping=True,
            pool_recycle=1800,
            connect_args=options,
            hide_parameters=True,
        )
    made = sa.create_engine(url, connect_args=options, hide_parameters=True)
    sa.event.listen(made, "connect", _tune)
    return made


def sweep(engine: sa.Engine) -> None:
    """What was deleted is overwritten in SQLite's file, but stands in its journal until that is begun anew."""
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _tune(connection: Any, _: Any) -> None:
    """Readers do not wait for a writer; what is deleted is overwritten."""
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def bound(text: str, name: str) -> str:
    """A moment that somebody wrote, as `written`; a day begins at midnight, UTC without a zone. Empty stays empty.

    Raises:
        BadInput: it is none.
    """
    try:
        return written(datetime.fromisoformat(text)) if text else ""
    except (ValueError, OverflowError):
        raise BadInput(f"{name}: {text[:40]!r} is no ISO 8601 time; write 2026-11-27 or 2026-11-27T09:00Z") from None


def written(moment: datetime) -> str:
    """In UTC, to the microsecond, 27 characters: in the order of text as in time. Without a zone it is UTC."""
    at = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")

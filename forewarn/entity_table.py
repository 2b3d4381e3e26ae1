"""The feature store's one table, what is asked of it, and the databases that it may lie in."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import ArgumentError

from forewarn import sources
from forewarn.errors import CannotStart

DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
}
# MariaDB joins a list of 1000 entities or more to a table that it reads whole: 1.2 s instead of 27 ms. MySQL knows no
# such setting, and reads a comment.
AS_LISTS = "SET /*M! in_predicate_conversion_threshold = 0, */ @forewarn = 1"
OPTIONS: dict[str, dict[str, Any]] = {
    "sqlite": {"timeout": 10},
    "postgresql": {"connect_timeout": 2, "tcp_user_timeout": 10_000},
    "mysql": {"connect_timeout": 2, "read_timeout": 30, "write_timeout": 30, "init_command": AS_LISTS},
}

# Times are text of one width, so that their order is the order in time on every server, whatever its types and zones.
TABLE = sa.Table(
    "entity_features",
    sa.MetaData(),
    sa.Column("use_case", sa.String(64)),
    sa.Column("entity", sa.String(64)),
    sa.Column("valid_from", sa.String(27)),
    sa.Column("loaded_at", sa.String(27), nullable=False),
    sa.Column("fields", sa.Text, nullable=False),
    # The use case comes last: all rows share it, and PostgreSQL and MariaDB, led by it, read 60 000 rows to find 3000.
    sa.PrimaryKeyConstraint("entity", "valid_from", "use_case"),
    mysql_charset="utf8mb4",
)
COLUMN = TABLE.c
THESE = sa.and_(
    COLUMN.use_case == sa.bindparam("use_case"), COLUMN.entity.in_(sa.bindparam("entities", expanding=True))
)
NEWEST = (
    sa.select(COLUMN.entity, sa.func.max(COLUMN.valid_from).label("valid_from"))
    .where(THESE, COLUMN.valid_from <= sa.bindparam("at"))
    .group_by(COLUMN.entity)
    .subquery()
)
LATEST = (
    sa.select(COLUMN.entity, COLUMN.valid_from, COLUMN.fields)
    .join(NEWEST, sa.and_(COLUMN.entity == NEWEST.c.entity, COLUMN.valid_from == NEWEST.c.valid_from))
    .where(COLUMN.use_case == sa.bindparam("use_case"))
)
FIRST = sa.select(COLUMN.entity).limit(1)
VERSIONS = sa.select(COLUMN.entity, COLUMN.valid_from).where(THESE).order_by(COLUMN.entity, COLUMN.valid_from)
EXACTLY = sa.select(COLUMN.entity, COLUMN.valid_from, COLUMN.fields).where(
    COLUMN.use_case == sa.bindparam("use_case"),
    sa.tuple_(COLUMN.entity, COLUMN.valid_from).in_(sa.bindparam("keys", expanding=True)),
)
FORGET = sa.delete(TABLE).where(THESE)


def address(uri: str) -> sa.URL:
    """What to connect to.

    Raises:
        CannotStart: the setting is no address of a database that can be used.
    """
    try:
        url = sa.make_url(uri)
        if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
            raise ValueError("a store in memory is each process's own")
        return url.set(drivername=DRIVERS[url.get_backend_name()])
    except (ArgumentError, KeyError, ValueError):
        raise CannotStart(
            f"FOREWARN_FEATURES_URI: {sources.described(uri)} is no address of a feature store; write "
            "sqlite:////absolute/path, postgresql://user@host/database or mysql://…, @ in a password as %40"
        ) from None


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


def _tune(connection: Any, _: Any) -> None:
    """Readers do not wait for a writer; what is deleted is overwritten."""
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def upsert(dialect: str) -> sa.Insert:
    """Adds a row, or puts it in the place of the one with its key. Each database has words of its own for it."""
    if dialect == "mysql":
        added = mysql.insert(TABLE)
        return added.on_duplicate_key_update(loaded_at=added.inserted.loaded_at, fields=added.inserted.fields)
    insert = sqlite.insert(TABLE) if dialect == "sqlite" else postgresql.insert(TABLE)
    taken = {"loaded_at": insert.excluded.loaded_at, "fields": insert.excluded.fields}
    return insert.on_conflict_do_update(index_elements=list(TABLE.primary_key), set_=taken)


def written(moment: datetime) -> str:
    """In UTC, to the microsecond, 27 characters: in the order of text as in time. Without a zone it is UTC."""
    at = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")

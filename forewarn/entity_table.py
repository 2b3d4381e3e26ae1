"""The feature store's one table, and what is asked of it."""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

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
ALL = sa.select(COLUMN.valid_from, COLUMN.fields).where(THESE).order_by(COLUMN.valid_from)
FIRST = sa.select(COLUMN.entity).limit(1)
VERSIONS = sa.select(COLUMN.entity, COLUMN.valid_from).where(THESE).order_by(COLUMN.entity, COLUMN.valid_from)
EXACTLY = sa.select(COLUMN.entity, COLUMN.valid_from, COLUMN.fields).where(
    COLUMN.use_case == sa.bindparam("use_case"),
    sa.tuple_(COLUMN.entity, COLUMN.valid_from).in_(sa.bindparam("keys", expanding=True)),
)
FORGET = sa.delete(TABLE).where(THESE)


def upsert(dialect: str) -> sa.Insert:
    """Adds a row, or puts it in the place of the one with its key. Each database has words of its own for it."""
    if dialect == "mysql":
        added = mysql.insert(TABLE)
        return added.on_duplicate_key_update(loaded_at=added.inserted.loaded_at, fields=added.inserted.fields)
    insert = sqlite.insert(TABLE) if dialect == "sqlite" else postgresql.insert(TABLE)
    taken = {"loaded_at": insert.excluded.loaded_at, "fields": insert.excluded.fields}
    return insert.on_conflict_do_update(index_elements=list(TABLE.primary_key), set_=taken)

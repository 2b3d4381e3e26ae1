"""A database with the ledger in it: SQLite for one machine, PostgreSQL for many."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError

from forewarn import databases, locks, sources
from forewarn.errors import BadInput, LedgerUnavailable
from forewarn.ledger import schema
from forewarn.settings import Settings

SETTING = "FOREWARN_LEDGER_URI"


class Ledger:
    """One for each process; threads may share it. The tables are made, or brought up to date, when first used."""

    def __init__(self, uri: str):
        self._engine = databases.engine(databases.address(uri, SETTING, ("sqlite", "postgresql")))
        self._name = sources.described(uri)
        self._ready = False

    @classmethod
    def open(cls, settings: Settings) -> "Ledger":
        """This installation's. Nothing is made or asked yet."""
        return cls(settings.ledger)

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()

    def sweep(self) -> None:
        """After an erasure: leave nothing of it in SQLite's journal, where readers let us."""
        databases.sweep(self._engine)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return str(self._engine.dialect.name)

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction.

        Raises:
            LedgerUnavailable: the database does not answer, or says no; nothing of the block is kept.
            BadInput: it cannot hold a value, such as text with a NUL in it.
        """
        try:
            self.prepare()
            with self._engine.begin() as connection:
                yield connection
        except DataError as error:
            raise BadInput("a value cannot be stored: it is too large, or holds characters that no text has") from error
        except SQLAlchemyError as error:
            raise self._unavailable(error) from error

    def prepare(self) -> None:
        """Bring the tables up to date: once per process, and a single statement where they are.

        Raises:
            LedgerUnavailable: as `begin`.
        """
        if self._ready:
            return
        try:
            with self._alone(), self._engine.begin() as connection:
                _migrate(connection)
        except SQLAlchemyError as error:
            raise self._unavailable(error) from error
        self._ready = True

    def _alone(self) -> AbstractContextManager[None]:
        """SQLite's own lock does not hold through a change of tables."""
        url = self._engine.url
        if url.drivername != "sqlite" or not url.database:
            return nullcontext()
        file = Path(url.database)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)  # SQLite gives its other files the same mode
        return locks.held(file.with_name(f"{file.name}.lock"))

    def _unavailable(self, error: SQLAlchemyError) -> LedgerUnavailable:
        said = str(error.orig if isinstance(error, DBAPIError) and error.orig else error).strip().splitlines()
        return LedgerUnavailable(
            f"{self._name}: the ledger cannot be used ({said[0] if said else type(error).__name__}); check that its "
            f"server is up and {SETTING} is right, then try again"
        )


def named(row: sa.Row[*tuple[Any, ...]]) -> dict[str, Any]:
    """A row by its columns' names, as plain text: SQLAlchemy's own kind of text is no key for orjson."""
    return {str(name): value for name, value in zip(row._fields, row, strict=True)}


def together(connection: sa.Connection) -> None:
    """Whoever writes lines of people, many at a time; until the transaction ends, nobody is erased meanwhile.

    Without it lines that are read before an erasure, and written after it, would bring back what was erased.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock_shared(7018)"))


def alone(connection: sa.Connection) -> None:
    """Whoever erases; it waits until none of those writes."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(7018)"))


def raise_counter(connection: sa.Connection, name: str) -> int:
    """The next number; until the transaction ends, nobody else gets one."""
    mine = schema.COUNTERS.c.name == name
    raised = sa.update(schema.COUNTERS).where(mine).values(number=schema.COUNTERS.c.number + 1)
    connection.execute(raised)
    return int(connection.execute(sa.select(schema.COUNTERS.c.number).where(mine)).scalar_one())


def _migrate(connection: sa.Connection) -> None:
    """Alembic takes half a second to import, so it is asked only where something is to be done."""
    if _revision(connection) == schema.REVISION:
        return
    from alembic import command
    from alembic.config import Config

    if connection.dialect.name == "postgresql":  # replicas that start at once make one set of tables
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(7017)"))
    config = Config()
    config.set_main_option("script_location", "forewarn.ledger:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()

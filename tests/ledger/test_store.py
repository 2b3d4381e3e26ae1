import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from forewarn.errors import CannotStart, LedgerUnavailable
from forewarn.ledger import schema
from forewarn.ledger.store import Ledger

pytest_plugins = ["tests.servers"]


def test_the_migrations_make_the_tables_that_the_schema_says(ledger: Ledger) -> None:
    with ledger.begin() as connection:
        differing = compare_metadata(MigrationContext.configure(connection), schema.METADATA)
    assert differing == []


def test_opening_it_again_changes_nothing(ledger: Ledger) -> None:
    with ledger.begin() as connection:
        connection.execute(sa.update(schema.COUNTERS).values(number=7))
    again = Ledger(ledger._engine.url.render_as_string(hide_password=False).replace("+psycopg", ""))
    with again.begin() as connection:
        assert set(connection.execute(sa.select(schema.COUNTERS.c.number)).scalars()) == {7}
    again.close()


def test_a_block_that_fails_keeps_nothing(ledger: Ledger) -> None:
    def fail() -> None:
        with ledger.begin() as connection:
            connection.execute(sa.update(schema.COUNTERS).values(number=7))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with ledger.begin() as connection:
        assert set(connection.execute(sa.select(schema.COUNTERS.c.number)).scalars()) == {0}


def test_a_database_that_is_away_is_told_without_its_password() -> None:
    away = Ledger("postgresql://me:secret@127.0.0.1:1/none")
    with pytest.raises(LedgerUnavailable, match="FOREWARN_LEDGER_URI") as told, away.begin():
        pass
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("uri", ["mysql://me@here/db", "sqlite://", "ledger.db"])
def test_what_is_no_ledger_is_refused(uri: str) -> None:
    with pytest.raises(CannotStart, match=r"FOREWARN_LEDGER_URI: .* sqlite:////absolute/path or postgresql://"):
        Ledger(uri)

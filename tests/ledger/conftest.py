"""The same ledger on both databases, empty for each test."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from forewarn.ledger.audit import By, Chain
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings

NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)
BY = By(actor="auditor", key_id="k1")


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    if request.param == "sqlite":
        return settings
    uri = request.getfixturevalue("postgres_uri")
    return settings.model_copy(update={"ledger_uri": uri})


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    opened = Ledger.open(settings)
    if opened.dialect == "postgresql":
        with opened._engine.begin() as connection:
            connection.execute(sa.text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
    yield opened
    opened.close()


@pytest.fixture
def chain(settings: Settings) -> Chain:
    return Chain.of(settings)

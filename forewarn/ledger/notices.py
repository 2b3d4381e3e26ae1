"""What every replica must know at once: which keys are good, who opted out, who was just erased.

A number goes up with every change. A replica that knows the number reads one row to learn that nothing is new. What it
read last lies in a file too, so that one which starts while the database is away knows whom to let in.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from forewarn import state
from forewarn.databases import written
from forewarn.keys import Key
from forewarn.ledger import schema
from forewarn.ledger.store import Ledger, named, raise_counter

# Longer than a cache remembers; what is older than that is forgotten anyway.
TOLD_FOR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Notices:
    """As of a change.

    Attributes:
        keys: that are not revoked.
        opted_out: pseudonyms; each use case has its own, so that none can be taken for another's.
        erased: pseudonym -> when, of the last hour.
    """

    number: int = -1
    keys: tuple[Key, ...] = ()
    opted_out: frozenset[str] = frozenset()
    erased: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> "Notices":
        """As they were last kept; none where none were.

        Raises:
            StateDamaged: the file cannot be read.
        """
        found = state.read_json(path)
        if not found:
            return cls()
        keys = tuple(Key(**{**key, "scopes": frozenset(key["scopes"])}) for key in found["keys"])
        opted_out = frozenset(found["opted_out"])
        return cls(number=found["number"], keys=keys, opted_out=opted_out, erased=found["erased"])

    def save(self, path: Path) -> None:
        """Keep them, for their owner alone."""
        keys = [{**asdict(key), "scopes": sorted(key.scopes)} for key in self.keys]
        told = {"number": self.number, "keys": keys, "opted_out": sorted(self.opted_out), "erased": dict(self.erased)}
        state.write_json(path, told)


def read(ledger: Ledger, known: int = -1) -> Notices | None:
    """The notices; None if nothing has changed since the number known.

    Raises:
        LedgerUnavailable.
    """
    with ledger.begin() as connection:
        number = connection.execute(
            sa.select(schema.COUNTERS.c.number).where(schema.COUNTERS.c.name == schema.CHANGED)
        ).scalar_one()
        if number == known:
            return None
        return Notices(
            number=number, keys=_keys(connection), opted_out=_opted_out(connection), erased=_erased(connection)
        )


def changed(connection: sa.Connection) -> None:
    """To be called within the transaction of whatever replicas must know."""
    raise_counter(connection, schema.CHANGED)


def key_of(row: Mapping[str, Any]) -> Key:
    """A key as its row tells it."""
    told = {name: row[name] for name in ("id", "name", "hash", "per_minute", "expires_at")}
    return Key(**told, scopes=frozenset(row["scopes"].split()))


def _keys(connection: sa.Connection) -> tuple[Key, ...]:
    good = sa.select(schema.API_KEYS).where(schema.API_KEYS.c.revoked_at.is_(None))
    return tuple(key_of(named(row)) for row in connection.execute(good))


def _opted_out(connection: sa.Connection) -> frozenset[str]:
    return frozenset(connection.execute(sa.select(schema.OPT_OUTS.c.subject)).scalars())


def _erased(connection: sa.Connection) -> dict[str, str]:
    column = schema.ERASURES.c
    recent = sa.select(column.subject, column.at).where(column.at >= written(datetime.now(UTC) - TOLD_FOR))
    return {row.subject: row.at for row in connection.execute(recent)}

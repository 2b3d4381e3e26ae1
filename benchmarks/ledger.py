"""What it costs the request path that every answer is written down: the service as it is, on SQLite and on PostgreSQL,
beside the same service whose lines go nowhere, burst by burst in turn.

Once with pauses between a client's requests, and once as fast as they can: then whatever ships the lines, the database
too, takes of the same two cores. How many lines are in the ledger when all is shipped is counted. PostgreSQL is the one
at FOREWARN_TEST_POSTGRES, in a database of its own.

    make bench-ledger
"""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from benchmarks import servers
from benchmarks.bursts import Burst, burst
from benchmarks.servers import Server
from forewarn import usecases
from forewarn.ledger import schema
from forewarn.ledger.store import Ledger
from forewarn.tasks import Classification
from forewarn.usecase import UseCase

ROUNDS, SECONDS, CONNECTIONS = 5, 6.0, 64
SHIPPED_SECONDS = 60
# 64 connections that ask again after this ask some 1,800 times a second: more than 100,000 times a minute.
PAUSE_MS = 30
# A cache would answer from memory.
DOOR = {"cache_seconds": 0}
POSTGRES = os.environ.get("FOREWARN_TEST_POSTGRES", "postgresql://root@127.0.0.1:5432/postgres")


@contextmanager
def database() -> Iterator[str]:
    """A PostgreSQL database of our own."""
    name = f"forewarn_bench_{secrets.token_hex(4)}"
    admin = sa.create_engine(POSTGRES.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        try:
            yield POSTGRES.rpartition("/")[0] + f"/{name}"
        finally:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def written(server: Server) -> int:
    """Lines in the ledger once nothing waits any more."""
    assert server.settings
    ledger, before, deadline = Ledger.open(server.settings), -1, time.monotonic() + SHIPPED_SECONDS
    while (now := _count(ledger)) != before and time.monotonic() < deadline:
        before = now
        time.sleep(3)
    return now


def _count(ledger: Ledger) -> int:
    with ledger.begin() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(schema.PREDICTIONS)).scalar_one())


def alternated(recorded: Server, nowhere: Server, pause_ms: int) -> list[tuple[Burst, Burst]]:
    """Bursts of both in turn."""
    ask = partial(burst, connections=CONNECTIONS, seconds=SECONDS, pause_ms=pause_ms)
    return [(ask(recorded), ask(nowhere)) for _ in range(ROUNDS)]


def table(name: str, pairs: list[tuple[Burst, Burst]], lines: int) -> Table:
    """A line for each figure."""
    shown = Table(
        "", "written down", "nowhere", "ratio", title=f"{name}, {CONNECTIONS} connections, medians of {ROUNDS}"
    )

    def row(label: str, figure: Any) -> None:
        mine, other = (median(figure(pair[side]) for pair in pairs) for side in (0, 1))
        ratio = median(figure(pair[0]) / figure(pair[1]) for pair in pairs)
        shown.add_row(label, f"{mine:,.2f}", f"{other:,.2f}", f"{ratio:.2f}")

    row("answers/s", lambda one: one.load.rate)
    row("p50, ms", lambda one: one.load.p50)
    row("p99, ms", lambda one: one.load.p99)
    row("CPU s per 1,000", lambda one: one.cpu)
    shown.caption = (
        f"{median(pair[0].load.rate for pair in pairs) * 60:,.0f} predictions a minute; {lines:,} in the ledger"
    )
    return shown


def measured(case: UseCase, name: str, uri: str, out: Console) -> None:
    """One database."""
    nowhere = servers.forewarn(case, door=DOOR, import_path="benchmarks.unrecorded:build")
    with servers.forewarn(case, {"FOREWARN_LEDGER_URI": uri}, door=DOOR) as recorded, nowhere as other:
        for pause_ms, load in ((PAUSE_MS, "at a steady rate"), (0, "all that two cores give")):
            pairs = alternated(recorded, other, pause_ms)
            out.print(table(f"{name}, {load}", pairs, written(recorded)))


def main() -> None:
    """A table for each database."""
    case = next(case for case in usecases.every().values() if isinstance(case.task, Classification))
    out = Console(width=120)
    measured(case, "SQLite", "", out)
    with database() as uri:
        measured(case, "PostgreSQL", uri, out)


if __name__ == "__main__":
    main()

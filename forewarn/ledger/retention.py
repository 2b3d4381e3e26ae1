"""What was kept for long enough goes: a row's content is purged, or whole lines move to an archive (C10, S1-35, S2-71).

Purged, a line still says that an answer was given, when, by which version, with which score and to whose pseudonym;
what the person's row held is gone. An archive is a Parquet file of whole lines, pseudonymous as they were; what was
sealed in them still is. It is written before its lines are deleted, under a name that the lines make: a run that was
cut short is done again to the same file.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from forewarn.databases import written
from forewarn.errors import BadInput
from forewarn.ledger import rewriting, schema
from forewarn.ledger.audit import By, Chain
from forewarn.ledger.store import Ledger, named, together
from forewarn.settings import Settings
from forewarn.usecase import UseCase

MADE = schema.PREDICTIONS.c
CONTENT = ("fields", "sealed", "digest")
ARCHIVED_AT_ONCE = 20_000
# Nightly scores are told for a day or two; what is older is of nobody's use.
NIGHTLY_KEPT = timedelta(days=7)

Tell = Callable[[int], None]


def archive_of(settings: Settings) -> Path:
    """Below here archives lie, a folder for each use case."""
    return settings.home / "archive"


def due(ledger: Ledger, case: UseCase, *, now: datetime) -> dict[str, int]:
    """How many lines a run would purge, and archive."""
    with ledger.begin() as connection:
        return {name: _count(connection, chosen) for name, chosen in _due(case, now).items()}


def run(ledger: Ledger, chain: Chain, settings: Settings, case: UseCase, by: By, *, now: datetime,
        tell: Tell = lambda _: None) -> dict[str, int]:  # fmt: skip
    """Purge and archive what is due; how many lines of each.

    Raises:
        LedgerUnavailable: what is not done yet is done by the next run.
    """
    wanted = _due(case, now)
    done = {"purged": 0, "archived": 0}
    for count in _archived(ledger, settings, case, wanted["archived"]):
        done["archived"] += count
        tell(done["archived"])
    with ledger.begin() as connection:
        if case.retention.purge_days is not None:
            content = dict.fromkeys(CONTENT)
            purge = sa.update(schema.PREDICTIONS).where(wanted["purged"]).values(**content)
            done["purged"] = connection.execute(purge).rowcount
        oldest = written(now - NIGHTLY_KEPT)
        stale = sa.and_(schema.NIGHTLY.c.use_case == case.name, schema.NIGHTLY.c.scored_at < oldest)
        connection.execute(sa.delete(schema.NIGHTLY).where(stale))
        if any(done.values()):
            chain.append(connection, "retention.run", by, {"use_case": case.name, **done}, at=now)
    return done


def without(settings: Settings, subjects: Sequence[str]) -> dict[str, list[str]]:
    """Rewrite every archive without these people's lines: which were; and which cannot be read or written."""
    told: dict[str, list[str]] = {"archives": [], "unreadable": []}
    for file in _archives(settings):
        try:
            if rewriting.without(file, "subject", subjects):
                told["archives"].append(str(file))
        except (OSError, BadInput):
            told["unreadable"].append(str(file))
    return told


def archived(settings: Settings, subjects: Sequence[str]) -> list[dict[str, Any]]:
    """These people's lines in every archive, oldest file first.

    Raises:
        BadInput: an archive cannot be read.
    """
    return [line for file in _archives(settings) for line in rewriting.rows_of(file, "subject", subjects)]


def _archives(settings: Settings) -> list[Path]:
    return sorted(archive_of(settings).glob("*/*.parquet"))


def _due(case: UseCase, now: datetime) -> dict[str, sa.ColumnElement[bool]]:
    def older(days: float | None) -> sa.ColumnElement[bool]:
        if days is None:
            return sa.false()
        return sa.and_(MADE.use_case == case.name, MADE.at < written(now - timedelta(days=days)))

    held = sa.or_(MADE.fields.is_not(None), MADE.sealed.is_not(None))
    return {
        "purged": sa.and_(older(case.retention.purge_days), held),
        "archived": older(case.retention.archive_days),
    }


def _archived(ledger: Ledger, settings: Settings, case: UseCase, wanted: sa.ColumnElement[bool]) -> Iterator[int]:
    """A file's worth of lines at a time."""
    oldest = sa.select(schema.PREDICTIONS).where(wanted).order_by(MADE.at, MADE.id).limit(ARCHIVED_AT_ONCE)
    while True:
        with ledger.begin() as connection:
            together(connection)
            lines = [named(row) for row in connection.execute(oldest)]
            if not lines:
                return
            month = lines[0]["at"][:7]
            lines = [line for line in lines if line["at"].startswith(month)]
            folder = archive_of(settings) / case.name
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(_table(lines), folder / f"{month}-{lines[0]['id']}.parquet")
            first, last = lines[0], lines[-1]
            until = sa.or_(MADE.at < last["at"], sa.and_(MADE.at == last["at"], MADE.id <= last["id"]))
            since = sa.or_(MADE.at > first["at"], sa.and_(MADE.at == first["at"], MADE.id >= first["id"]))
            connection.execute(sa.delete(schema.PREDICTIONS).where(wanted, since, until))
        yield len(lines)


def _table(lines: Sequence[dict[str, Any]]) -> Any:
    import pyarrow as pa  # 40 MB that a replica of the service does without

    kinds = {sa.Double: pa.float64(), sa.Boolean: pa.bool_()}
    columns = [(str(one.name), kinds.get(type(one.type), pa.string())) for one in schema.PREDICTIONS.columns]
    return pa.Table.from_pylist(lines, schema=pa.schema(columns))


def _write(table: Any, file: Path) -> None:
    from pyarrow import parquet

    aside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    aside.touch(mode=0o600)
    parquet.write_table(table, aside)
    rewriting.on_disk(aside)
    aside.replace(file)
    rewriting.on_disk(file.parent)


def _count(connection: sa.Connection, chosen: sa.ColumnElement[bool]) -> int:
    return int(
        connection.execute(sa.select(sa.func.count()).select_from(schema.PREDICTIONS).where(chosen)).scalar_one()
    )


def held(ledger: Ledger, case: UseCase) -> dict[str, Any]:
    """How many lines there are, since when, and of how many the row's content is still held."""
    chosen = sa.select(sa.func.count(), sa.func.min(MADE.at), sa.func.count(MADE.fields)).where(
        MADE.use_case == case.name
    )
    with ledger.begin() as connection:
        lines, oldest, whole = connection.execute(chosen).one()
    return {"lines": lines, "oldest": oldest, "with_content": whole}

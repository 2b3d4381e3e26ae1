"""What is known of each subject, and since when: the newest row fills a request's gaps, all of them are for training.

A row is found under its subject's pseudonym, whatever secret was in force when it was stored; the id itself, protected
fields and the label are never stored.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateTable

from forewarn import databases, entity_table, ids, sources
from forewarn.answers import StoredFeatures
from forewarn.databases import written
from forewarn.entities import EntityRow, storable, subject_of
from forewarn.entity_table import ALL, EXACTLY, FIRST, FORGET, LATEST, TABLE, VERSIONS
from forewarn.errors import StoreUnavailable
from forewarn.settings import Settings
from forewarn.usecase import UseCase

Item = TypeVar("Item")
Name = TypeVar("Name")
Subject = TypeVar("Subject", str, int, str | int)

# SQLite takes 32 766 parameters in a statement, the others twice that.
BATCH = 1000
# PostgreSQL plans a list of pairs in 0.09 ms a pair, and one of a thousand in 1.2 ms a pair.
PAIRS = 250
LOOK_AGAIN_S = 1.0
# A server that does not answer takes 2 s to say so; no request waits for that in vain, but one in so many seconds.
LET_BE_S = 5.0


@dataclass(frozen=True, kw_only=True)
class StoredRow:
    """What was known of one subject, and since when."""

    fields: dict[str, Any]
    valid_from: datetime


@dataclass(frozen=True, kw_only=True)
class Holding:
    """How much is stored of one use case; `newest` is when its newest row became true."""

    entities: int
    rows: int
    newest: datetime | None


class FeatureStore:
    """Every row of every subject, in SQLite, PostgreSQL or MySQL. One for each process; threads may share it.

    Whatever it asks of the database may raise StoreUnavailable.
    """

    def __init__(self, uri: str, id_key: Path, *, secret: str = "", clock: Callable[[], float] = monotonic):
        self._engine = databases.engine(databases.address(uri, "FOREWARN_FEATURES_URI"))
        self._name = sources.described(uri)
        self._secret, self._given, self._clock = id_key, secret, clock
        self._there = self._empty = False
        self._look_at = self._ask_at = -1.0

    @classmethod
    def open(cls, settings: Settings) -> "FeatureStore":
        """This installation's store. Nothing is made or asked until something is stored."""
        return cls(settings.feature_store, settings.id_key, secret=settings.id_secret.get_secret_value())

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()

    @property
    def empty(self) -> bool:
        """Whether nothing is stored. Looked up once a second, so that it may be asked for each request."""
        if self._clock() >= self._look_at:
            self._empty = not self._ask(FIRST, {})
            self._look_at = self._clock() + LOOK_AGAIN_S
        return self._empty

    def put(self, case: UseCase, rows: Sequence[EntityRow], *, valid_from: datetime | Sequence[datetime],
            loaded_at: datetime) -> int:  # fmt: skip
        """Add rows, all or none; how many. One of the same subject and time takes the place of the one before."""
        since = [valid_from] * len(rows) if isinstance(valid_from, datetime) else valid_from
        keyed = {
            (self._key.pseudonym(case.name, row.subject), written(moment)): row.fields
            for row, moment in zip(rows, since, strict=True)
        }
        common = {"use_case": case.name, "loaded_at": written(loaded_at)}
        self._make()
        with self._asking() as connection:
            # In one order, so that two jobs at once wait for each other and do not lock each other out.
            for batch in _batches(sorted(keyed)):
                records = [
                    {**common, "entity": key[0], "valid_from": key[1], "fields": orjson.dumps(keyed[key]).decode()}
                    for key in batch
                ]
                connection.execute(entity_table.upsert(connection.dialect.name), records)
        self._look_at = -1.0
        return len(keyed)

    def latest(
        self, case: UseCase, subjects: Iterable[Subject], *, at: datetime | None = None
    ) -> dict[Subject, StoredRow]:
        """What is known of each subject at that time, else now. One statement for each thousand of them."""
        names = {subject: self._key.pseudonyms(case.name, subject) for subject in subjects}
        asked = {"use_case": case.name, "at": written(at or datetime.now(UTC))}
        found: dict[str, StoredRow] = {}
        for batch in _batches(sorted({name for known in names.values() for name in known})):
            rows = self._ask(LATEST, {**asked, "entities": batch})
            found |= {entity: _read(since, fields) for entity, since, fields in rows}
        return {subject: row for subject, known in names.items() if (row := _newest(found, known))}

    def as_of(self, case: UseCase, pairs: Sequence[tuple[str | int, datetime]]) -> list[StoredRow | None]:
        """Per pair what was known of the subject at the time, and nothing that came later: rows to learn from."""
        asked = [[(name, written(at)) for name in self._key.pseudonyms(case.name, subject)] for subject, at in pairs]
        found: dict[tuple[str, str], StoredRow] = {}
        for batch in _batches(sorted({pair for known in asked for pair in known}), PAIRS):
            found |= self._known(case, batch)
        return [_newest(found, known) for known in asked]

    def history(self, case: UseCase, subject: str | int) -> list[StoredRow]:
        """Every row of a subject, oldest first."""
        asked = {"use_case": case.name, "entities": self._key.pseudonyms(case.name, subject)}
        return [_read(since, fields) for since, fields in self._ask(ALL, asked)]

    def forget(self, case: UseCase, subject: str | int) -> int:
        """Remove every row of a subject for good; how many there were."""
        if not self._is_there():
            return 0
        entities = self._key.pseudonyms(case.name, subject)
        with self._asking() as connection:
            gone = connection.execute(FORGET, {"use_case": case.name, "entities": entities}).rowcount
        if gone:
            databases.sweep(self._engine)
        return gone

    def describe(self, case: UseCase) -> Holding:
        """How much is stored of a use case, and how new it is."""
        counts = (sa.func.count(TABLE.c.entity.distinct()), sa.func.count(), sa.func.max(TABLE.c.valid_from))
        found = self._ask(sa.select(*counts).where(TABLE.c.use_case == case.name), {})
        entities, rows, newest = found[0] if found else (0, 0, None)
        return Holding(entities=entities, rows=rows, newest=newest and datetime.fromisoformat(newest))

    @cached_property
    def _key(self) -> ids.IdKey:
        return ids.IdKey.open(self._secret, self._given)

    def _known(self, case: UseCase, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], StoredRow]:
        """By (entity, at). The times alone are read first: a row's fields are many times as long."""
        versions: defaultdict[str, list[str]] = defaultdict(list)
        entities = sorted({entity for entity, _ in pairs})
        for entity, since in self._ask(VERSIONS, {"use_case": case.name, "entities": entities}):
            versions[entity].append(since)
        places = {(entity, at): bisect_right(versions[entity], at) for entity, at in pairs}
        keys = {pair: (pair[0], versions[pair[0]][place - 1]) for pair, place in places.items() if place}
        found = self._ask(EXACTLY, {"use_case": case.name, "keys": sorted(set(keys.values()))}) if keys else []
        rows = {(entity, since): _read(since, fields) for entity, since, fields in found}
        return {pair: rows[key] for pair, key in keys.items() if key in rows}

    def _ask(self, statement: sa.Executable, values: Mapping[str, Any]) -> Sequence[Any]:
        if not self._is_there():
            return []
        with self._asking() as connection:
            return connection.execute(statement, values).all()

    def _is_there(self) -> bool:
        """Whether anything was ever stored. Asking makes no file."""
        if not self._there and not (self._file and not self._file.exists()):
            with self._asking() as connection:
                self._there = sa.inspect(connection).has_table(TABLE.name)
        return self._there

    def _make(self) -> None:
        if self._is_there():
            return
        if self._file:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file.touch(mode=0o600)  # SQLite gives its other files the same mode
        with self._asking() as connection:
            connection.execute(CreateTable(TABLE, if_not_exists=True))

    @property
    def _file(self) -> Path | None:
        url = self._engine.url
        return Path(url.database) if url.drivername == "sqlite" and url.database else None

    @contextmanager
    def _asking(self) -> Iterator[sa.Connection]:
        """A transaction.

        Raises:
            StoreUnavailable: the database does not answer, or says no; at once where it has just done so.
        """
        if self._clock() < self._ask_at:
            raise StoreUnavailable(f"{self._name}: the feature store did not answer a moment ago; try again soon")
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            self._ask_at = self._clock() + LET_BE_S
            said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise StoreUnavailable(
                f"{self._name}: the feature store cannot be used ({said}); check that the server is up and "
                "FOREWARN_FEATURES_URI is right, then try again"
            ) from None


def fill(
    case: UseCase, raw_rows: Sequence[Any], store: FeatureStore, now: datetime
) -> tuple[list[Any], list[StoredFeatures | None]]:
    """Rows of a request, their gaps filled with what is stored of their subjects; and per row what was filled in.

    What the request holds stays, under whatever name it was sent. One look-up for all rows.

    Raises:
        StoreUnavailable: the store does not answer; the rows may do without.
    """
    rows: list[Any] = list(raw_rows)
    filled: list[StoredFeatures | None] = [None] * len(rows)
    wanted = gaps(case, rows)
    if not wanted or store.empty:
        return rows, filled
    known = store.latest(case, {subject for subject, _ in wanted.values()}, at=now)
    for index, (subject, lacking) in wanted.items():
        stored = known.get(subject)
        more = {wire: value for wire, value in stored.fields.items() if wire in lacking} if stored else {}
        if stored and more:
            rows[index] = {**rows[index], **more}
            filled[index] = _provenance(case, list(more), stored.valid_from, now)
    return rows, filled


def gaps(case: UseCase, rows: Sequence[Any]) -> dict[int, tuple[str, frozenset[str]]]:
    """Of the rows that name a subject and do not hold all that is kept of one: the subject, and what is lacking."""
    return {
        index: (subject, lacking)
        for index, row in enumerate(rows)
        if (subject := subject_of(case, row)) and (lacking := _lacking(case, row))
    }


def _lacking(case: UseCase, row: Any) -> frozenset[str]:
    """The fields that are kept and that the row does not hold."""
    if not isinstance(row, Mapping):
        return frozenset()
    wires, kept = _names(case)
    return kept.difference([wires[name] for name, value in row.items() if value is not None and name in wires])


@cache
def _names(case: UseCase) -> tuple[dict[str, str], frozenset[str]]:
    """Every name a field is accepted under -> the one it is kept under; and those that are kept."""
    wires = {alias: spec.wire for alias, spec in case.by_alias.items()}
    return wires, frozenset(spec.wire for spec in storable(case))


def _provenance(case: UseCase, fields: list[str], since: datetime, now: datetime) -> StoredFeatures:
    hours = (now - since).total_seconds() / 3600
    as_of = since.isoformat().replace("+00:00", "Z")
    return StoredFeatures(fields=fields, as_of=as_of, age_hours=round(hours, 2), stale=hours > 2 * case.refresh_hours)


def _newest(found: Mapping[Name, StoredRow], known: Sequence[Name]) -> StoredRow | None:
    """Of what is stored of one subject under each secret."""
    rows = [found[name] for name in known if name in found]
    return max(rows, key=lambda row: row.valid_from) if len(rows) > 1 else rows[0] if rows else None


def _read(since: str, fields: str) -> StoredRow:
    return StoredRow(fields=orjson.loads(fields), valid_from=datetime.fromisoformat(since))


def _batches(items: Sequence[Item], size: int = BATCH) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))

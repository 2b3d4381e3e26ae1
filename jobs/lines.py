"""Raw rows to lines of an output: what each actor of a batch job does. The answers are the service's."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import time
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from forewarn import answering, blocks, entities, feature_store, ids, scoring, tables, usecases
from forewarn.answers import Answer
from forewarn.blocks import Block, Mask, Numbers, Texts
from forewarn.errors import NotFound
from forewarn.feature_store import FeatureStore
from forewarn.fields import Picked
from forewarn.ledger import notices
from forewarn.ledger.store import Ledger
from forewarn.releases import Releases
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from jobs.stream import Row, part, piece_of, trace_of, worded
from jobs.stretches import Reader, Stretch
from jobs.unwilling import OPTED_OUT, Unwilling

# What an answer says of the request that it belongs to.
ABOUT_REQUESTS = frozenset(
    {"prediction_id", "request_id", "latency_ms", "features_from_store", "served_from", "instead_of", "scored_at"}
)
EXPLAINING = frozenset({"reasons", "explanation"})
REASON = pa.field("reason", pa.string())
# 35 MB of columns. Ray Data takes 20 ms of CPU a part: at 32,768 rows a fifth of all.
PART_ROWS = 131_072
# Rows as objects take 3 KB each.
AT_ONCE = 2048
# Text of which there are few kinds, as all answers have it.
WORDS = pa.dictionary(pa.int32(), pa.string())
SCALARS = {"number": pa.float64(), "integer": pa.int64(), "boolean": pa.bool_(), "string": WORDS}


@dataclass(frozen=True, kw_only=True)
class Order:
    """What each actor is to do.

    Attributes:
        versions: use case -> version, for the one asked for, and for its other profile if that has a champion.
        at: when the answers say that they were given.
        opted_out: pseudonyms of whom nothing is scored.
    """

    use_case: str
    versions: Mapping[str, str]
    settings: Settings
    explained: bool
    at: datetime
    opted_out: frozenset[str] = frozenset()

    @classmethod
    def of(cls, case: UseCase, settings: Settings, *, version: str | None, explained: bool, at: datetime) -> "Order":
        """Choose the versions once, so that a promotion halfway through changes nothing.

        Raises:
            NotFound: no champion, or no such version.
            PackageDamaged: told here, before any actor starts.
            LedgerUnavailable: who has opted out is not known.
        """
        releases = Releases(settings.packages)
        chosen = {one.name: releases.champion(one) for one in (case, case.otherwise) if one}
        if version:
            chosen[case.name] = f"v{version.removeprefix('v')}"
        if chosen[case.name] is None:
            raise NotFound(without_champion(case))
        versions = {name: found for name, found in chosen.items() if found}
        for name, found in versions.items():
            releases.load(usecases.get(name), found)
        with closing(Ledger.open(settings)) as ledger:
            known = notices.read(ledger)
        opted_out = known.opted_out if known else frozenset()
        return cls(
            use_case=case.name, versions=versions, settings=settings, explained=explained, at=at, opted_out=opted_out
        )

    @property
    def part_rows(self) -> int:
        """How many rows an actor gets at once: few where each takes long, so that both come to an end together."""
        long = self.explained or usecases.get(self.use_case).recommends
        return AT_ONCE if long else PART_ROWS

    @property
    def schema(self) -> pa.Schema:
        """The columns of a line."""
        return schema(usecases.get(self.use_case), explained=self.explained)


class Scorer:
    """Has the packages in memory and makes lines of rows, a part of a file at a time."""

    def __init__(self, order: Order) -> None:
        releases = Releases(order.settings.packages)
        self._order, self._case = order, usecases.get(order.use_case)
        self._store = FeatureStore.open(order.settings)
        self._packages = {name: releases.load(usecases.get(name), found) for name, found in order.versions.items()}
        self._schema = order.schema.append(REASON)
        self._read = Reader(self._case, order.part_rows)
        self._since = 0.0
        self._unwilling = Unwilling.of(self._case, order.settings, order.opted_out)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Lines in the order of the rows; where a row was bad, nothing but the reason."""
        self._since = self._since or time()
        piece = piece_of(block)
        if isinstance(piece, Stretch):
            with worded(Path(piece.path)):
                piece = self._read(piece)
        lines = self._but_opted_out(piece) if self._unwilling else self._of(piece)
        return part(trace_of(block), lines, self._since)

    def _of(self, piece: pa.Table | list[Row]) -> pa.Table:
        return self.of_columns(piece) if isinstance(piece, pa.Table) else self.of_rows(piece)

    def _but_opted_out(self, piece: pa.Table | list[Row]) -> pa.Table:
        """Whoever wants not to be scored has nothing but that for a line (S1-36)."""
        assert self._unwilling
        out, left = self._unwilling.parted(piece)
        if not out.any():
            return self._of(piece)
        told = pa.Table.from_pylist([{"reason": OPTED_OUT}] * int(out.sum()), schema=self._schema)
        return told if out.all() else _merged([(self._of(left), ~out), (told, out)])

    def of_columns(self, table: pa.Table) -> pa.Table:
        """The lines of a table: the plain rows' at once, the others' row by row."""
        done, left = [], np.ones(len(table), dtype=bool)
        for case, mine in self._profiles(table):
            lines, sound = self._plain(case, table, mine)
            done.append((lines, sound))
            left &= ~sound
        if left.any():
            done.append((self._by_row(table.filter(pa.array(left))), left))
        return _merged([(lines, mine) for lines, mine in done if len(lines)])

    def of_rows(self, raw: list[Row]) -> pa.Table:
        """The lines of rows, one by one."""
        told = [self._some(raw[start : start + AT_ONCE]) for start in range(0, len(raw), AT_ONCE)]
        return pa.concat_tables(told).unify_dictionaries()

    def _by_row(self, table: pa.Table) -> pa.Table:
        told = [self.of_rows(records(table.slice(start, AT_ONCE))) for start in range(0, len(table), AT_ONCE)]
        return pa.concat_tables(told).unify_dictionaries()

    def _profiles(self, table: pa.Table) -> Iterator[tuple[UseCase, Mask]]:
        """Who answers which rows."""
        if not self._case.otherwise:
            yield self._case, np.ones(len(table), dtype=bool)
            return
        own = blocks.held(self._case, table, self._case.hinge)
        yield from ((case, mine) for case, mine in ((self._case, own), (self._case.otherwise, ~own)) if mine.any())

    def _plain(self, case: UseCase, table: pa.Table, mine: Mask) -> tuple[pa.Table, Mask]:
        """The lines of those that are plainly valid, and which of the table's rows these are."""
        plain = np.zeros(len(table), dtype=bool)
        if not self._at_once(case):
            return self._schema.empty_table(), plain
        block, sound = blocks.vetted(case, table if mine.all() else table.filter(pa.array(mine)))
        block, sound = self._complete(case, block, sound)
        plain[np.flatnonzero(mine)[sound]] = True
        return self._block(case, block) if block.count else self._schema.empty_table(), plain

    def _at_once(self, case: UseCase) -> bool:
        """Whether rows may do without being rows: not where reasons are asked for, which take as long as ever."""
        reasons = self._order.explained or case.recommends
        return case.name in self._packages and blocks.answerable(case) and not reasons

    def _complete(self, case: UseCase, block: Block, sound: Mask) -> tuple[Block, Mask]:
        """Without the rows that the feature store may fill."""
        if not case.key or self._store.empty:
            return block, sound
        whole = np.all([block.columns[spec.name].given for spec in entities.storable(case)], axis=0)
        kept = sound.copy()
        kept[sound] = whole
        return block.rows(whole, int(whole.sum())), kept

    def _block(self, case: UseCase, block: Block) -> pa.Table:
        package = self._packages[case.name]
        scores = scoring.score_block(package, block)
        told = answering.tell_block(case, block, scores, package.card, at=self._order.at)
        named = {subject(case): block.columns[case.key]} if case.key else {}
        return _table({**named, **flat(told)}, block.count, self._schema)

    def _some(self, raw: list[Row]) -> pa.Table:
        places: dict[UseCase, list[int]] = {}
        for place, row in enumerate(raw):
            places.setdefault(scoring.profile(self._case, row), []).append(place)
        lines: dict[int, Row] = {}
        for case, mine in places.items():
            lines |= zip(mine, self._lines(case, [raw[place] for place in mine]), strict=True)
        return pa.Table.from_pylist([lines[place] for place in range(len(raw))], schema=self._schema)

    def _lines(self, case: UseCase, raw: list[Row]) -> list[Row]:
        """Those of one profile's rows."""
        if case.name not in self._packages:
            return [{"reason": without_champion(case)}] * len(raw)
        rows, wrong = scoring.sift(case, self._filled(case, raw))
        good = iter(self._told(case, rows) if rows.values else ())
        return [
            {"reason": str(wrong[place]).replace("\n", "; ")} if place in wrong else next(good)
            for place in range(len(raw))
        ]

    def _filled(self, case: UseCase, raw: list[Row]) -> list[Row]:
        """As the service fills a request: from the feature store, where the row lacks something."""
        return feature_store.fill(case, raw, self._store, self._order.at)[0] if case.key else raw

    def _told(self, case: UseCase, rows: scoring.Rows) -> Iterator[Row]:
        package, explained = self._packages[case.name], self._order.explained
        scores = scoring.score(package, rows.values, why=explained or case.recommends)
        answers = answering.tell(case, rows, scores, package.card, at=self._order.at, explained=explained)
        for row, answer in zip(rows.values, answers, strict=True):
            yield {subject(case): ids.text_of(row[case.key]), **flat(answer)} if case.key else flat(answer)


def subject(case: UseCase) -> str:
    """The column with the subject's id."""
    return case.spec[case.key].wire


def without_champion(case: UseCase) -> str:
    """What to do about it."""
    return f"{case.name} has no champion yet; train one with `forewarn train {case.name}`"


def records(table: pa.Table) -> list[Row]:
    """A table as rows."""
    return tables.records(table.column_names, zip(*(column.to_pylist() for column in table.columns), strict=True))


def _table(cells: Mapping[str, Any], count: int, schema: pa.Schema) -> pa.Table:
    """Cells that are columns, or one value for all rows, as a table."""
    return pa.table([_column(cells.get(field.name), field.type, count) for field in schema], schema=schema)


def _column(cell: Any, kind: pa.DataType, count: int) -> pa.Array:
    if isinstance(cell, Picked):
        return _picked(cell).cast(kind)
    if isinstance(cell, np.ndarray):
        return pa.array(cell, kind)
    if isinstance(cell, Numbers | Texts):
        return cell.arrow().cast(kind)
    if cell is None:
        return pa.nulls(count, kind)
    if kind == WORDS:
        return _picked(Picked((cell,), np.zeros(count, dtype=np.int32)))
    return pa.repeat(pa.scalar(cell, kind), count)


def _picked(column: Picked) -> pa.Array:
    """A column of few words as Arrow has it: each word once."""
    words = ["" if value is None else str(_text(value)) for value in column.values]
    places = pa.array(column.places.astype(np.int32), mask=column.places < 0)
    if len(set(words)) < len(words):
        return pa.array(words).take(places).dictionary_encode()
    return pa.DictionaryArray.from_arrays(places, words)


def _merged(lines: list[tuple[pa.Table, Mask]]) -> pa.Table:
    """Lines in the order of the rows that they are of."""
    if len(lines) == 1:
        return lines[0][0]
    places = np.concatenate([np.flatnonzero(mine) for _, mine in lines])
    return pa.concat_tables([table for table, _ in lines]).unify_dictionaries().take(pa.array(np.argsort(places)))


def _text(value: Any) -> Any:
    return tables.BETWEEN_LISTED.join(map(str, value)) if isinstance(value, list) else value


def flat(answer: Mapping[str, Any]) -> Row:
    """An answer as cells: a list between "; ", an object as columns of its own, or as JSON where lists are in it."""
    line: Row = {}
    for name, value in answer.items():
        if isinstance(value, Mapping):
            nested = any(isinstance(part, list | Mapping) for part in value.values())
            cells = {name: orjson.dumps(value).decode()} if nested else {f"{name}_{k}": v for k, v in value.items()}
            line |= cells
        else:
            line[name] = _text(value)
    return line


def schema(case: UseCase, *, explained: bool) -> pa.Schema:
    """The columns of `flat` answers, of all profiles: the subject, the decision, then where it is from."""
    profiles = [one for one in (case, case.otherwise) if one]
    skipped = ABOUT_REQUESTS if explained else ABOUT_REQUESTS | EXPLAINING
    if not explained and not any(one.recommends for one in profiles):
        skipped |= {"recommendation"}
    columns: dict[str, Any] = {subject(one): pa.string() for one in profiles if one.key}
    for one in profiles:
        described = one.api.response.model_json_schema(mode="serialization")
        ordered = sorted(described["properties"], key=lambda name: name in Answer.model_fields)
        for name in (name for name in ordered if name not in skipped):
            columns |= _cells(name, described["properties"][name], described.get("$defs", {}))
    own = [subject(one) for one in profiles if one.key]
    return pa.schema((columns | dict.fromkeys({*own, *EXPLAINING} & columns.keys(), pa.string())).items())


def _cells(name: str, said: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that a field of this JSON schema becomes."""
    said = next((one for one in said.get("anyOf", ()) if one.get("type") != "null"), said)
    if "$ref" not in said:
        return {name: SCALARS.get(said.get("type", ""), WORDS)}
    parts = known[said["$ref"].rpartition("/")[2]]["properties"]
    if any(part.get("type") not in SCALARS for part in parts.values()):
        return {name: WORDS}
    return {f"{name}_{part}": SCALARS[one["type"]] for part, one in parts.items()}

"""Raw rows to lines of an output: what each actor of a batch job does. The answers are the service's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import pyarrow as pa

from forewarn import answering, feature_store, ids, scoring, tables, usecases
from forewarn.answers import Answer
from forewarn.errors import NotFound
from forewarn.feature_store import FeatureStore
from forewarn.releases import Releases
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from jobs.stream import TRACE, Row, unpickled

# What an answer says of the request that it belongs to.
ABOUT_REQUESTS = frozenset({"prediction_id", "request_id", "latency_ms", "features_from_store", "served_from"})
EXPLAINING = frozenset({"reasons", "explanation"})
SCALARS = {"number": pa.float64(), "integer": pa.int64(), "boolean": pa.bool_(), "string": pa.string()}


@dataclass(frozen=True, kw_only=True)
class Order:
    """What each actor is to do.

    Attributes:
        versions: use case -> version, for the one asked for, and for its other profile if that has a champion.
        at: when the answers say that they were given.
    """

    use_case: str
    versions: Mapping[str, str]
    settings: Settings
    explained: bool
    at: datetime

    @classmethod
    def of(cls, case: UseCase, settings: Settings, *, version: str | None, explained: bool, at: datetime) -> "Order":
        """Choose the versions once, so that a promotion halfway through changes nothing.

        Raises:
            NotFound: no champion, or no such version.
            PackageDamaged: told here, before any actor starts.
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
        return cls(use_case=case.name, versions=versions, settings=settings, explained=explained, at=at)

    @property
    def schema(self) -> pa.Schema:
        """The columns of a line."""
        return schema(usecases.get(self.use_case), explained=self.explained)


class Scorer:
    """Has the packages in memory and makes lines of rows, a batch at a time."""

    def __init__(self, order: Order) -> None:
        releases = Releases(order.settings.packages)
        self._order, self._case = order, usecases.get(order.use_case)
        self._store = FeatureStore.open(order.settings)
        self._packages = {name: releases.load(usecases.get(name), found) for name, found in order.versions.items()}
        self._schema = order.schema.append(pa.field("reason", pa.string()))

    def __call__(self, block: pa.Table) -> pa.Table:
        """Lines in the order of the rows; where a row was bad, nothing but the reason."""
        raw = unpickled(block)
        places: dict[UseCase, list[int]] = {}
        for place, row in enumerate(raw):
            places.setdefault(scoring.profile(self._case, row), []).append(place)
        lines: dict[int, Row] = {}
        for case, mine in places.items():
            lines |= zip(mine, self._lines(case, [raw[place] for place in mine]), strict=True)
        told = pa.Table.from_pylist([lines[place] for place in range(len(raw))], schema=self._schema)
        return pa.table([*block.select(TRACE.names).columns, *told.columns], names=TRACE.names + told.column_names)

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


def flat(answer: Mapping[str, Any]) -> Row:
    """An answer as cells: a list between "; ", an object as columns of its own, or as JSON where lists are in it."""
    line: Row = {}
    for name, value in answer.items():
        if isinstance(value, Mapping):
            nested = any(isinstance(part, list | Mapping) for part in value.values())
            cells = {name: orjson.dumps(value).decode()} if nested else {f"{name}_{k}": v for k, v in value.items()}
            line |= cells
        else:
            line[name] = tables.BETWEEN_LISTED.join(map(str, value)) if isinstance(value, list) else value
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
    return pa.schema(columns.items())


def _cells(name: str, said: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that a field of this JSON schema becomes."""
    said = next((one for one in said.get("anyOf", ()) if one.get("type") != "null"), said)
    if "$ref" not in said:
        return {name: SCALARS.get(said.get("type", ""), pa.string())}
    parts = known[said["$ref"].rpartition("/")[2]]["properties"]
    if any(part.get("type") not in SCALARS for part in parts.values()):
        return {name: pa.string()}
    return {f"{name}_{part}": SCALARS[one["type"]] for part, one in parts.items()}

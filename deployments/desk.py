"""Rows in, answers out: fill from the feature store, choose the profile, check, score, tell. Every door comes here."""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from deployments import portions
from deployments.coalesce import Lane
from deployments.endpoint import Endpoint
from deployments.house import House
from deployments.ids import new_id
from deployments.scribe import Entry
from forewarn import answering, feature_store, scoring
from forewarn.answers import StoredFeatures
from forewarn.databases import written
from forewarn.errors import ForewarnError, MissingField, NotReady, OptedOut, Overloaded, StoreUnavailable
from forewarn.fields import Row
from forewarn.ledger.records import Circumstances
from forewarn.scoring import Scores

log = logging.getLogger(__name__)

Given = dict[str, Any] | ForewarnError


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a request wants.

    Attributes:
        single: one object came, and one object goes back.
        key_id: whose API key it came with.
        began: on `perf_counter`.
        entries: what is to be written down of it.
    """

    rows: list[Any]
    single: bool
    explained: bool
    request_id: str
    key_id: str
    began: float = field(default_factory=perf_counter)
    entries: list[Entry] = field(default_factory=list)


async def answers(house: House, endpoint: Endpoint, asked: Asked) -> list[Given]:
    """Per row its answer, or what is wrong with it, in the order of the rows. Each answer is written down by then.

    Raises:
        NotReady, Overloaded: the model cannot answer now.
        NotRecorded: the answers could not be written down, so there are none.
    """
    now = datetime.now(UTC)
    profiles = [scoring.profile(endpoint.case, row).name for row in asked.rows]
    given: dict[int, Given] = {}
    for name in dict.fromkeys(profiles):
        places = [place for place, profile in enumerate(profiles) if profile == name]
        serving = house.endpoints.get(name, endpoint)
        try:
            told = await _told(house, serving, [asked.rows[place] for place in places], asked, now)
        except (NotReady, Overloaded) as error:
            if len(places) == len(asked.rows):
                raise
            told = [error] * len(places)  # the other profile's rows have their answers
        given |= dict(zip(places, told, strict=True))
    _count(house, asked, profiles, given)
    await house.scribe.record(asked.entries, asked.began)
    return [given[place] for place in range(len(asked.rows))]


def _count(house: House, asked: Asked, profiles: list[str], given: Mapping[int, Given]) -> None:
    """For the metrics. A single row's error becomes the request's, and is counted there."""
    house.meter.answered(one for one in given.values() if not isinstance(one, ForewarnError))
    for place, one in given.items():
        if isinstance(one, ForewarnError) and not asked.single:
            house.meter.refused(profiles[place], type(one).__name__)


async def _told(house: House, endpoint: Endpoint, raw: list[Any], asked: Asked, now: datetime) -> list[Given]:
    """One profile's rows: the good ones scored, the bad ones with what is wrong."""
    filled, stored, trouble = await _filled(house, endpoint, raw, now)
    lane = endpoint.lane(why=asked.explained or endpoint.case.recommends)

    async def answered(some: list[Any], further: bool) -> list[Given]:
        return await _answered(house, endpoint, lane, some, asked, now, further=further)

    given = await portions.each(filled, answered)
    return [
        _advised(endpoint, one, trouble)
        if isinstance(one, ForewarnError)
        else {**one, "features_from_store": provenance and provenance.model_dump()}
        for one, provenance in zip(given, stored, strict=True)
    ]


async def _answered(
    house: House, endpoint: Endpoint, lane: Lane, raw: list[Any], asked: Asked, now: datetime, *, further: bool
) -> list[Given]:
    """A portion of the rows."""
    rows, wrong = scoring.sift(endpoint.case, raw)
    rows = _without_opted_out(house, endpoint, rows, wrong)
    told: Iterator[dict[str, Any]] = iter(())
    if rows.values:
        scores = await _remembered(house, endpoint, lane, rows.values) if endpoint.cache.keeps(rows.values) else None
        served_from = "cache" if scores else "champion"
        scores = scores or await endpoint.score(lane, rows.values, further=further)
        card = endpoint.card_of(scores.version)
        said = answering.tell(endpoint.case, rows, scores, card, at=now, explained=asked.explained)
        told = iter(_signed(endpoint, rows, said, served_from, asked, now))
    return [wrong[place] if place in wrong else next(told) for place in range(len(raw))]


async def _remembered(house: House, endpoint: Endpoint, lane: Lane, rows: Sequence[Row]) -> Scores | None:
    """What was scored a moment ago, here or at another replica."""
    found, result = endpoint.cache.get(lane, rows), ""
    if found is None and endpoint.cache.is_shared:
        try:
            found = await endpoint.cache.fetch(lane, rows)
        except TimeoutError:
            result = "error"
    house.meter.looked(endpoint.case.name, result or ("hit" if found else "miss"))
    return found


def _without_opted_out(
    house: House, endpoint: Endpoint, rows: scoring.Rows, wrong: dict[int, ForewarnError]
) -> scoring.Rows:
    """Whoever wants not to be scored is told so, in the place of an answer (S1-36)."""
    opted_out = house.board.now.opted_out
    out = endpoint.recorder.among(opted_out, rows.values) if opted_out else []
    if not out:
        return rows
    places = [place for place in range(len(rows.values) + len(wrong)) if place not in wrong]
    said = f"{endpoint.case.name}: this person has opted out; no score is made"
    wrong |= {places[index]: OptedOut(said) for index in out}
    return rows.without(out)


def _signed(
    endpoint: Endpoint, rows: scoring.Rows, said: list[dict[str, Any]], served_from: str, asked: Asked, now: datetime
) -> list[dict[str, Any]]:
    """Answers with their ids; and what will be written down of them."""
    about = Circumstances(key_id=asked.key_id, at=written(now))
    signed = [
        {**one, "served_from": served_from, "prediction_id": new_id(), "request_id": asked.request_id} for one in said
    ]
    asked.entries.extend((endpoint.recorder, row, one, about) for row, one in zip(rows.values, signed, strict=True))
    return signed


async def _filled(
    house: House, endpoint: Endpoint, raw: list[Any], now: datetime
) -> tuple[list[Any], list[StoredFeatures | None], StoreUnavailable | None]:
    """The rows with what the feature store knows of their subjects. Without it they go on as they came."""
    # A thread costs as much as everything else that is done for a row, and most rows lack nothing.
    if feature_store.gaps(endpoint.case, raw):
        try:
            return *await asyncio.to_thread(feature_store.fill, endpoint.case, raw, house.store, now), None
        except StoreUnavailable as error:
            house.meter.refused(endpoint.case.name, type(error).__name__)
            log.debug("%s: rows are answered as they came: %s", endpoint.case.name, error)
            return raw, [None] * len(raw), error
    return raw, [None] * len(raw), None


def _advised(endpoint: Endpoint, error: ForewarnError, trouble: StoreUnavailable | None) -> ForewarnError:
    """What else would help, where fields are missing; or that the store, which may know them, is away."""
    if isinstance(error, MissingField) and trouble:
        return trouble
    if isinstance(error, MissingField) and endpoint.case.key:
        key = endpoint.case.spec[endpoint.case.key].wire
        return MissingField(f"{error}\nor send a {key} that the feature store knows")
    return error

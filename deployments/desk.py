"""Rows in, answers out: fill from the feature store, choose the profile, check, score, tell. Every door comes here."""

import asyncio
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from deployments import fallback, portions
from deployments.coalesce import Lane
from deployments.endpoint import Endpoint, Part
from deployments.fallback import Said, Unanswered
from deployments.house import House
from deployments.ids import new_id
from deployments.scribe import Entry
from deployments.shadows import Answered
from forewarn import answering, feature_store, scoring
from forewarn.answers import StoredFeatures
from forewarn.databases import written
from forewarn.errors import ForewarnError, MissingField, NotReady, OptedOut, Overloaded, StoreUnavailable
from forewarn.fields import Row
from forewarn.ledger.records import NOBODY, Circumstances
from forewarn.releases import ReleaseState
from forewarn.releases.roles import CHALLENGER, CHAMPION
from forewarn.scoring import Scores

log = logging.getLogger(__name__)

Given = dict[str, Any] | ForewarnError


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a request wants.

    Attributes:
        single: one object came, and one object goes back.
        key_id: whose API key it came with.
        wanted: which version a tester wants to hear; empty for everybody else.
        began: on `perf_counter`.
        entries: what is to be written down of it.
    """

    rows: list[Any]
    single: bool
    explained: bool
    request_id: str
    key_id: str
    wanted: str = ""
    began: float = field(default_factory=perf_counter)
    entries: list[Entry] = field(default_factory=list)


async def answers(house: House, endpoint: Endpoint, asked: Asked) -> list[Given]:
    """Per row its answer, or what is wrong with it, in the order of the rows. Each answer is written down by then, and
    that there was none.

    Raises:
        NotReady, Overloaded: nobody can answer any of them now.
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
    await house.scribe.record(asked.entries, asked.began)
    _refuse_unanswered(given.values())
    _count(house, asked, profiles, given)
    _shadowed(house, asked)
    return [given[place] for place in range(len(asked.rows))]


def _refuse_unanswered(given: Collection[Given]) -> None:
    """Where nobody can answer any row, the request as a whole is told so."""
    wrong = [one for one in given if isinstance(one, NotReady)]
    if wrong and len(wrong) == len(given):
        raise wrong[0]


def _count(house: House, asked: Asked, profiles: list[str], given: Mapping[int, Given]) -> None:
    """For the metrics. A single row's error becomes the request's, and is counted there."""
    house.meter.answered(one for one in given.values() if not isinstance(one, ForewarnError))
    for place, one in given.items():
        if isinstance(one, ForewarnError) and not asked.single:
            house.meter.refused(profiles[place], type(one).__name__)


async def _told(house: House, endpoint: Endpoint, raw: list[Any], asked: Asked, now: datetime) -> list[Given]:
    """One profile's rows: the good ones scored, the bad ones with what is wrong."""
    filled, stored, trouble = await _filled(house, endpoint, raw, now)
    state = endpoint.state  # of the whole request, whatever is promoted meanwhile

    async def answered(some: list[Any], further: bool) -> list[Given]:
        return await _answered(house, endpoint, state, some, asked, now, further=further)

    given = await portions.each(filled, answered)
    return [
        _advised(endpoint, one, trouble)
        if isinstance(one, ForewarnError)
        else {**one, "features_from_store": provenance and provenance.model_dump()}
        for one, provenance in zip(given, stored, strict=True)
    ]


async def _answered(
    house: House, endpoint: Endpoint, state: ReleaseState, raw: list[Any], asked: Asked, now: datetime, *, further: bool
) -> list[Given]:
    """A portion of the rows."""
    rows, wrong = scoring.sift(endpoint.case, raw)
    rows = _without_opted_out(house, endpoint, rows, wrong)
    good = [place for place in range(len(raw)) if place not in wrong]
    given: dict[int, Given] = dict(wrong)
    if good:
        why = asked.explained or endpoint.case.recommends
        parts = endpoint.split(state, rows.values, why=why, wanted=asked.wanted)
        for said in await _said(house, endpoint, state, parts, rows, further=further):
            told = _signed(endpoint, rows, said, asked, now)
            given |= dict(zip((good[place] for place in said.places), told, strict=True))
    return [given[place] for place in range(len(raw))]


async def _said(
    house: House, endpoint: Endpoint, state: ReleaseState, parts: Sequence[Part], rows: scoring.Rows, *, further: bool
) -> list[Said | Unanswered]:
    """What each version says of its part; what is remembered is not asked again."""
    if endpoint.cache.keeps(rows.values):
        found = await _remembered(house, endpoint, parts[0].lane, rows.values)
        if found is not None:
            return [Said(places=parts[0].places, scores=found, served_from="cache")]
    last, values = house.nightly, rows.values
    asking = [fallback.scored(endpoint, state, part, values, last=last, further=further) for part in parts]
    if len(asking) == 1:
        return await asking[0]
    told = await asyncio.gather(*asking, return_exceptions=True)
    wrong = [one for one in told if isinstance(one, BaseException)]
    if len(wrong) == len(told) or not all(isinstance(one, ForewarnError) for one in wrong):
        raise wrong[0]
    return [said for one in told if not isinstance(one, BaseException) for said in one]


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
    endpoint: Endpoint, rows: scoring.Rows, said: Said | Unanswered, asked: Asked, now: datetime
) -> Sequence[Given]:
    """A version's answers with their ids; and what will be written down of them."""
    about = Circumstances(key_id=asked.key_id, at=written(now))
    if isinstance(said, Unanswered):
        asked.entries.extend(_missing(endpoint, said, about))
        return [said.error] * len(said.places)
    mine = rows.only(said.places)
    card = endpoint.card_of(said.scores.version)
    told = answering.tell(endpoint.case, mine, said.scores, card, at=now, explained=asked.explained)
    shared = {"served_from": said.served_from, **said.notes, "request_id": asked.request_id}
    signed = [{**one, **shared, "prediction_id": new_id()} for one in told]
    asked.entries.extend((endpoint.recorder, row, one, about) for row, one in zip(mine.values, signed, strict=True))
    return signed


def _missing(endpoint: Endpoint, said: Unanswered, about: Circumstances) -> Iterator[Entry]:
    """That a version had to answer and did not, for the judge; of the row, and of whom it is about, nothing."""
    if said.instead_of:
        version = {"model_version": said.instead_of, "instead_of": said.instead_of}
        for _ in said.places:
            yield endpoint.recorder, None, {**version, "served_from": NOBODY, "prediction_id": new_id()}, about


def _shadowed(house: House, asked: Asked) -> None:
    """Let another version say what it would have said, now that the answers are written down."""
    for endpoint in house.endpoints.values():
        if endpoint.shadows is not None and (endpoint.state.shadow or endpoint.state.challenger):
            mine = [entry for entry in asked.entries if entry[0] is endpoint.recorder]
            for version, entries in _beside(endpoint.state, mine).items():
                endpoint.shadows.offer(version, [Answered(row, one["prediction_id"], about)
                                                 for _, row, one, about in entries if row])  # fmt: skip


def _beside(state: ReleaseState, entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Of what the challenger answered, the champion's word is wanted, so that both are known of the same rows; of what
    the champion answered, the shadow's.
    """
    wanted: dict[str, list[Entry]] = {}
    for entry in entries:
        beside = {CHALLENGER: state.champion, CHAMPION: state.shadow}.get(entry[2]["served_from"])
        if beside:
            wanted.setdefault(beside, []).append(entry)
    return wanted


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

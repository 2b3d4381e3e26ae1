"""Who answers where a version cannot: the champion for its challenger, the version before for the champion, and at
last what the nightly run said of the subject. The answer names whoever it was.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from deployments.coalesce import Lane
from deployments.endpoint import TESTED, Endpoint, Part
from forewarn import ids
from forewarn.errors import ForewarnError, LedgerUnavailable, NotReady, Overloaded
from forewarn.fields import Row
from forewarn.ledger import nightly
from forewarn.ledger.nightly import NightlyScore
from forewarn.ledger.store import Ledger
from forewarn.releases import ReleaseState
from forewarn.releases.roles import CHAMPION, PREVIOUS
from forewarn.scoring import Scores

log = logging.getLogger(__name__)
NIGHTLY = "nightly"
LOOKUP_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one version says of some rows of a request.

    Attributes:
        served_from: champion, challenger, cache, override, previous, or nightly.
        notes: what an answer adds: in whose place it is, and when it was scored.
    """

    places: Sequence[int]
    scores: Scores
    served_from: str
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Unanswered:
    """Rows of a request that nobody can say anything of.

    Attributes:
        instead_of: the version that was to answer; empty where that was a tester's wish.
    """

    places: Sequence[int]
    error: ForewarnError
    instead_of: str


@dataclass(frozen=True, kw_only=True)
class Nightly:
    """The last resort.

    Attributes:
        after_s: for how long the champion must not have answered before it is asked; 0: at once.
        hours: what is older is not told.
    """

    ledger: Ledger
    after_s: float = 0.0
    hours: float = 36.0


async def scored(
    endpoint: Endpoint, state: ReleaseState, part: Part, rows: list[dict[str, Any]], *, last: Nightly, further: bool
) -> list[Said | Unanswered]:
    """What is said of each of the part's rows.

    Raises:
        Overloaded: too many rows are waiting.
    """
    mine = rows if len(part.places) == len(rows) else [rows[place] for place in part.places]
    notes: dict[str, Any] = {}
    failed: ForewarnError = endpoint.mute()
    chain = _chain(state, part)
    for route, version in chain:
        try:
            scores = await endpoint.score(Lane(version, part.lane.why), mine, further=further or bool(notes))
        except (NotReady, Overloaded) as error:
            if isinstance(error, Overloaded) and version == chain[-1][1]:
                raise  # whoever comes last is asked by too many
            failed, notes = error, notes or {"instead_of": version}
        else:
            return [Said(places=part.places, scores=scores, served_from=route, notes=notes)]
    said: list[Said] = []
    champion = Lane(state.champion or part.lane.version, part.lane.why)
    if part.route != TESTED and endpoint.breaker(champion).failing_s >= last.after_s:
        said = await _of_the_night(endpoint, part, mine, last, notes)
    told = {place for one in said for place in one.places}
    left = [place for place in part.places if place not in told]
    instead_of = "" if part.route == TESTED else part.lane.version
    return [*said, *([Unanswered(places=left, error=failed, instead_of=instead_of)] if left else [])]


def _chain(state: ReleaseState, part: Part) -> list[tuple[str, str]]:
    """Route and version, in the order in which they are asked."""
    if part.route == TESTED:
        return [(TESTED, part.lane.version)]
    later = [(role, state.roles[role]) for role in (CHAMPION, PREVIOUS) if role in state.roles]
    return [(part.route, part.lane.version), *(one for one in later if one[1] != part.lane.version)]


async def _of_the_night(
    endpoint: Endpoint, part: Part, rows: Sequence[Row], last: Nightly, notes: Mapping[str, Any]
) -> list[Said]:
    """One for each row, for each was scored at a time of its own."""
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            known = await asyncio.to_thread(_looked_up, endpoint, rows, last)
    except (LedgerUnavailable, TimeoutError) as error:
        log.warning("%s: nor can the nightly scores be read: %r", endpoint.case.name, error)
        return []
    return [
        Said(
            places=[place],
            scores=_scores(endpoint, found),
            served_from=NIGHTLY,
            notes={**notes, "scored_at": found.scored_at},
        )
        for place, found in zip(part.places, known, strict=True)
        if found is not None and await endpoint.learn(found.version)
    ]


def _looked_up(endpoint: Endpoint, rows: Sequence[Row], last: Nightly) -> list[NightlyScore | None]:
    case, id_key = endpoint.case, endpoint.recorder.id_key
    named = [ids.text_of(row[case.key]) if case.key else None for row in rows]
    names = [id_key.pseudonyms(case.name, one) if one else [] for one in named]
    since = datetime.now(UTC) - timedelta(hours=last.hours)
    found = nightly.of(last.ledger, case, {name for some in names for name in some}, since=since)
    return [next((found[name] for name in some if name in found), None) for some in names]


def _scores(endpoint: Endpoint, found: NightlyScore) -> Scores:
    rule = endpoint.card_of(found.version)["rule"]
    return Scores(version=found.version, rule=rule, values=np.array([found.score]))

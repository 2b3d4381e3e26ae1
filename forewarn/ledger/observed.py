"""What the ledger knows of a release: of each version what it answered and could not, and what both said of one row."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from forewarn.databases import written
from forewarn.ledger import outcomes, schema
from forewarn.ledger.store import Ledger, named
from forewarn.releases import ReleaseState
from forewarn.releases.arms import Arm, Observed, Pairs, Truth
from forewarn.releases.roles import CHALLENGER, CHAMPION
from forewarn.usecase import UseCase

MADE = schema.PREDICTIONS.c
OTHER = schema.PREDICTIONS.alias("other")
# Rows of an arm that scores and latencies are read of, the newest; counts are of all.
MOST = 20_000
AT_ONCE = 500


def observed(
    ledger: Ledger,
    case: UseCase,
    state: ReleaseState,
    *,
    at: datetime,
    since: str = "",
    until: str = "",
    deep: bool = True,
) -> Observed:
    """Of the challenger and the champion since the release began; where there is none, of the shadow.

    Args:
        since, until: of what came between these only, as `databases.written`.
        deep: else counts alone are read, in some milliseconds.

    Raises:
        LedgerUnavailable.
    """
    mode = "canary" if state.challenger else "shadow"
    one, other = str(state.challenger or state.shadow), str(state.champion)
    within = [MADE.use_case == case.name, MADE.at >= max(state.since, since), MADE.at < (until or written(at))]
    with ledger.begin() as connection:
        pairs, lines = _pairs(connection, within, one, other) if deep else (Pairs(), [])
        challenger = _shadow(connection, within, one)
        if mode == "canary":
            challenger = _arm(connection, within, one, CHALLENGER, deep=deep)
        champion = _arm(connection, within, other, CHAMPION, deep=deep)
    hours = (at - datetime.fromisoformat(state.since)).total_seconds() / 3600
    truth = _truth(ledger, case, lines, pairs, at)
    return Observed(mode=mode, hours=hours, challenger=challenger, champion=champion, pairs=pairs, truth=truth)


def _arm(connection: sa.Connection, within: Sequence[Any], version: str, route: str, *, deep: bool) -> Arm:
    """What a tester wanted to hear, and what was remembered, is not of the draw; and nothing of it could fail."""
    answered = [*within, MADE.version == version, MADE.route == route, MADE.instead_of.is_(None)]
    failed = [*within, MADE.instead_of == version, MADE.shadow_of.is_(None)]
    chosen = sa.select(MADE.score, MADE.event, MADE.latency_ms).where(*answered, MADE.score.is_not(None))
    rows = connection.execute(chosen.order_by(MADE.at.desc(), MADE.id).limit(MOST if deep else 0)).all()
    return Arm(
        version=version,
        answered=_count(connection, answered),
        failed=_count(connection, failed),
        scores=np.array([row.score for row in rows], dtype=float),
        events=np.array([row.event for row in rows if row.event is not None], dtype=bool),
        latency_ms=np.array([row.latency_ms for row in rows], dtype=float),
    )


def _shadow(connection: sa.Connection, within: Sequence[Any], version: str) -> Arm:
    beside = [*within, MADE.version == version, MADE.shadow_of.is_not(None)]
    return Arm(
        version=version,
        answered=_count(connection, [*beside, MADE.instead_of.is_(None)]),
        failed=_count(connection, [*beside, MADE.instead_of.is_not(None)]),
    )


def _pairs(
    connection: sa.Connection, within: Sequence[Any], one: str, other: str
) -> tuple[Pairs, list[dict[str, Any]]]:
    """Of rows of which both have said something; and the answers' own lines, in the same order."""
    shadow = OTHER.c
    columns = (MADE.id, MADE.subject, MADE.at, MADE.version, MADE.score, MADE.event,
               shadow.score.label("other_score"), shadow.event.label("other_event"))  # fmt: skip
    chosen = (
        sa.select(*columns)
        .select_from(schema.PREDICTIONS.join(OTHER, shadow.shadow_of == MADE.id))
        .where(*within, MADE.shadow_of.is_(None), MADE.score.is_not(None), shadow.score.is_not(None))
        .where(sa.or_(sa.and_(MADE.version == one, shadow.version == other),
                      sa.and_(MADE.version == other, shadow.version == one)))
    )  # fmt: skip
    lines = [named(row) for row in connection.execute(chosen.order_by(MADE.at.desc(), MADE.id).limit(MOST))]
    return _of(lines, one), lines


def _of(lines: Sequence[Mapping[str, Any]], one: str) -> Pairs:
    told = [
        (line["score"], line["other_score"], line["event"], line["other_event"])
        if line["version"] == one
        else (line["other_score"], line["score"], line["other_event"], line["event"])
        for line in lines
    ]
    mine, theirs, my_events, their_events = zip(*told, strict=True) if told else ((), (), (), ())
    decided = [
        np.array([event for event in some if event is not None], dtype=bool) for some in (my_events, their_events)
    ]
    return Pairs(
        one=np.array(mine, dtype=float), other=np.array(theirs, dtype=float),
        one_events=decided[0], other_events=decided[1],
    )  # fmt: skip


def _truth(ledger: Ledger, case: UseCase, lines: Sequence[dict[str, Any]], pairs: Pairs, at: datetime) -> Truth:
    places = {line["id"]: place for place, line in enumerate(lines)}
    known = [(places[one.line["id"]], one.label) for one in _matured(ledger, case, lines, at)]
    if not known:
        return Truth()
    chosen = np.array([place for place, _ in known])
    return Truth(labels=np.array([label for _, label in known], dtype=float), pairs=pairs.only(chosen))


def _matured(
    ledger: Ledger, case: UseCase, lines: Sequence[dict[str, Any]], at: datetime
) -> Iterator[outcomes.Matured]:
    for start in range(0, len(lines), AT_ONCE):
        yield from outcomes.known_of(ledger, case, lines[start : start + AT_ONCE], at=at)


def _count(connection: sa.Connection, wanted: Sequence[Any]) -> int:
    counted = sa.select(sa.func.count()).select_from(schema.PREDICTIONS).where(*wanted)
    return int(connection.execute(counted).scalar_one())

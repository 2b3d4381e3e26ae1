"""Rows as they were answered, of a stretch of time, and what came true of them: what drift is looked for in, what a
version is measured by, and what the next one learns from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from forewarn.databases import written
from forewarn.fields import Row
from forewarn.ledger import outcomes, schema
from forewarn.ledger.records import Recorder
from forewarn.ledger.store import Ledger
from forewarn.tasks import Vector
from forewarn.usecase import UseCase

MADE, DECIDED = schema.PREDICTIONS.c, schema.DECISIONS.c
# Drift of a whole week shows in so many rows as well as in all of them.
MOST = 20_000
AT_ONCE = 500
# A minute's reading; what is measured on so many rows has an interval that nobody would have narrower.
MOST_LOOKED_AT = 200_000
ID_DIGITS = 8


@dataclass(frozen=True, kw_only=True)
class Known:
    """A row, what was said of it, and what came true."""

    id: str
    version: str
    row: Row
    score: float
    label: float
    subject: str | None
    at: str


@dataclass(kw_only=True)
class Outcomes:
    """Rows of one version whose outcomes are known."""

    rows: list[Row] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    labels: list[float] = field(default_factory=list)


def answered(
    ledger: Ledger, recorder: Recorder, case: UseCase, *, since: datetime, until: datetime, version: str = "",
    most: int = MOST,
) -> tuple[list[Row], Vector, int]:  # fmt: skip
    """Rows, with None for what was not sent, and what each was given; and how many there were. Where there are more
    than `most`, some, drawn by their ids, which are random.

    Args:
        version: of this one only.

    Raises:
        LedgerUnavailable.
        StateDamaged: the secret that sealed fields lie under was retired.
    """
    chosen = [
        MADE.use_case == case.name, MADE.at >= written(since), MADE.at < written(until), MADE.shadow_of.is_(None),
        MADE.fields.is_not(None), MADE.score.is_not(None), *([MADE.version == version] if version else []),
    ]  # fmt: skip
    with ledger.begin() as connection:
        counted = sa.select(sa.func.count()).select_from(schema.PREDICTIONS).where(*chosen)
        count = int(connection.execute(counted).scalar_one())
        wanted = sa.select(MADE.fields, MADE.sealed, MADE.score).where(*chosen).order_by(MADE.id).limit(most)
        lines = connection.execute(wanted).all()
    rows: list[Row] = [_row(case, recorder.seen(line.fields, line.sealed)) for line in lines]
    return rows, np.array([line.score for line in lines], dtype=float), count


def known(
    ledger: Ledger, recorder: Recorder, case: UseCase, *, since: datetime, until: datetime, at: datetime,
    most: int = MOST_LOOKED_AT,
) -> Iterator[Known]:  # fmt: skip
    """Rows whose outcomes are known by now, oldest first; what was purged or erased since is not among them. Where more
    than `most` were answered, about so many are looked at, drawn by their ids, which are random.

    Raises:
        LedgerUnavailable, StateDamaged: as `answered`.
    """
    below = _share(ledger, case, since, until, most)
    for one in outcomes.matured(ledger, case, since=since, until=until, at=at, below=below):
        line = one.line
        if line["fields"] is not None and line["score"] is not None:
            row = _row(case, recorder.seen(line["fields"], line["sealed"]))
            yield Known(id=line["id"], version=line["version"], row=row, score=line["score"], label=one.label,
                        subject=line["subject"], at=line["at"])  # fmt: skip


def _share(ledger: Ledger, case: UseCase, since: datetime, until: datetime, most: int) -> str:
    """The id below which about so many of the lines lie; empty for all."""
    chosen = (MADE.use_case == case.name, MADE.at >= written(since), MADE.at < written(until))
    with ledger.begin() as connection:
        count = connection.execute(
            sa.select(sa.func.count()).select_from(schema.PREDICTIONS).where(*chosen)
        ).scalar_one()
    return f"{int(16**ID_DIGITS * most / count):0{ID_DIGITS}x}" if count > most else ""


def by_version(found: Iterator[Known]) -> dict[str, Outcomes]:
    """The same, a version at a time."""
    told: dict[str, Outcomes] = {}
    for one in found:
        of = told.setdefault(one.version, Outcomes())
        of.rows.append(one.row)
        of.scores.append(one.score)
        of.labels.append(one.label)
    return told


def versions(ledger: Ledger, case: UseCase, *, since: datetime, until: datetime) -> list[str]:
    """Which versions answered in a stretch of time."""
    chosen = sa.select(MADE.version).distinct().where(
        MADE.use_case == case.name, MADE.at >= written(since), MADE.at < written(until), MADE.shadow_of.is_(None),
        MADE.score.is_not(None),
    )  # fmt: skip
    with ledger.begin() as connection:
        return sorted(str(row.version) for row in connection.execute(chosen))


def acted_on(ledger: Ledger, prediction_ids: Sequence[str]) -> set[str]:
    """Those of these predictions that somebody did something about: what came true of them is not what would have."""
    told: set[str] = set()
    with ledger.begin() as connection:
        for start in range(0, len(prediction_ids), AT_ONCE):
            some = prediction_ids[start : start + AT_ONCE]
            chosen = sa.select(DECIDED.prediction_id).where(DECIDED.prediction_id.in_(some), ~DECIDED.overrides)
            told |= {str(row.prediction_id) for row in connection.execute(chosen)}
    return told


def _row(case: UseCase, seen: Row) -> dict[str, Any]:
    """By the names of Python, as a validated row has them."""
    return {spec.name: seen.get(spec.wire) for spec in case.fields}

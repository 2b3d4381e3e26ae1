"""Rows as they were answered, of a stretch of time: what drift is looked for in."""

from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from forewarn.databases import written
from forewarn.fields import Row
from forewarn.ledger import schema
from forewarn.ledger.records import Recorder
from forewarn.ledger.store import Ledger
from forewarn.tasks import Vector
from forewarn.usecase import UseCase

MADE = schema.PREDICTIONS.c
# Drift of a whole week shows in so many rows as well as in all of them.
MOST = 20_000


def answered(
    ledger: Ledger, recorder: Recorder, case: UseCase, *, since: datetime, until: datetime, most: int = MOST
) -> tuple[list[Row], Vector, int]:
    """Rows, with None for what was not sent, and what each was given; and how many there were. Where there are more
    than `most`, some, drawn by their ids, which are random.

    Raises:
        LedgerUnavailable.
        StateDamaged: the secret that sealed fields lie under was retired.
    """
    chosen = [
        MADE.use_case == case.name, MADE.at >= written(since), MADE.at < written(until), MADE.shadow_of.is_(None),
        MADE.fields.is_not(None), MADE.score.is_not(None),
    ]  # fmt: skip
    with ledger.begin() as connection:
        counted = sa.select(sa.func.count()).select_from(schema.PREDICTIONS).where(*chosen)
        count = int(connection.execute(counted).scalar_one())
        wanted = sa.select(MADE.fields, MADE.sealed, MADE.score).where(*chosen).order_by(MADE.id).limit(most)
        lines = connection.execute(wanted).all()
    rows: list[Row] = [_row(case, recorder.seen(line.fields, line.sealed)) for line in lines]
    return rows, np.array([line.score for line in lines], dtype=float), count


def _row(case: UseCase, seen: Row) -> dict[str, Any]:
    """By the names of Python, as a validated row has them."""
    return {spec.name: seen.get(spec.wire) for spec in case.fields}

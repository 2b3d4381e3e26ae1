"""What the nightly run said of each subject: the last thing to say where no version can answer (S1-06, S2-65)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from forewarn.databases import written
from forewarn.ledger import schema
from forewarn.ledger.store import Ledger, together
from forewarn.usecase import UseCase

COLUMN = schema.NIGHTLY.c
AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class NightlyScore:
    """A probability or an amount, by which version, and when."""

    version: str
    score: float
    scored_at: str


def keep(ledger: Ledger, case: UseCase, version: str, scores: Mapping[str, float], *, at: datetime) -> None:
    """Of subjects by their pseudonyms; what was kept of them before is replaced. Who was erased since, or opted out,
    is left out.

    Raises:
        LedgerUnavailable: none of them is kept.
    """
    subjects = list(scores)
    with ledger.begin() as connection:
        together(connection)
        for start in range(0, len(subjects), AT_ONCE):
            some = subjects[start : start + AT_ONCE]
            connection.execute(sa.delete(schema.NIGHTLY).where(COLUMN.use_case == case.name, COLUMN.subject.in_(some)))
            unwilling = _unwilling(connection, case, some, written(at))
            lines = [
                {"use_case": case.name, "subject": one, "version": version, "score": scores[one],
                 "scored_at": written(at)} for one in some if one not in unwilling
            ]  # fmt: skip
            if lines:
                connection.execute(sa.insert(schema.NIGHTLY), lines)


def of(ledger: Ledger, case: UseCase, subjects: Collection[str], *, since: datetime) -> dict[str, NightlyScore]:
    """What is known of these pseudonyms, and not older.

    Raises:
        LedgerUnavailable.
    """
    chosen = sa.select(schema.NIGHTLY).where(
        COLUMN.use_case == case.name, COLUMN.subject.in_(subjects), COLUMN.scored_at >= written(since)
    )
    with ledger.begin() as connection:
        return {
            row.subject: NightlyScore(version=row.version, score=row.score, scored_at=row.scored_at)
            for row in connection.execute(chosen)
        }


def _unwilling(connection: sa.Connection, case: UseCase, subjects: list[str], at: str) -> set[str]:
    out, erased = schema.OPT_OUTS.c, schema.ERASURES.c
    asked = [
        sa.select(out.subject).where(out.use_case == case.name, out.subject.in_(subjects)),
        sa.select(erased.subject).where(erased.use_case == case.name, erased.subject.in_(subjects), erased.at >= at),
    ]
    return {subject for one in asked for subject in connection.execute(one).scalars()}

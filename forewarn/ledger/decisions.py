"""What people did about predictions, and why (S1-37 to S1-39, C44): Forewarn advises, it never acts."""

import secrets
from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from forewarn.databases import bound, written
from forewarn.errors import NotFound
from forewarn.ledger import outcomes, schema
from forewarn.ledger.store import Ledger, named
from forewarn.usecase import UseCase

MADE, DECIDED = schema.PREDICTIONS.c, schema.DECISIONS.c
SHOWN = (MADE.id, MADE.use_case, MADE.version, MADE.route, MADE.score, MADE.event, MADE.level, MADE.latency_ms,
         MADE.key_id, MADE.at, MADE.erased_at, MADE.fields)  # fmt: skip


class NewDecision(BaseModel):
    """What somebody did about a prediction.

    Attributes:
        action: what was done, or that nothing was.
        overrides: whether it goes against what Forewarn said.
        reason: mandatory, in words: an auditor will read it.
        person: who decided.
    """

    model_config = ConfigDict(extra="forbid")

    prediction_id: Annotated[str, Field(min_length=1, max_length=32)]
    action: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256)]
    overrides: bool
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=10, max_length=2000)]
    person: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=128)]


def record(ledger: Ledger, case: UseCase, made: NewDecision, *, key_id: str, at: datetime) -> str:
    """Write it down; its id. Another decision on the same prediction stands beside it.

    Raises:
        NotFound: no such prediction, or it was erased.
        LedgerUnavailable: it is not written.
    """
    names = [one.name for one in case.profiles]
    whose = sa.select(MADE.subject, MADE.use_case).where(
        MADE.id == made.prediction_id, MADE.use_case.in_(names), MADE.erased_at.is_(None)
    )
    with ledger.begin() as connection:
        found = connection.execute(whose).one_or_none()
        if found is None:
            raise NotFound(
                f"{case.name}: no prediction {made.prediction_id} is in the ledger, or it was erased; "
                "one that was just made is there after some seconds"
            )
        line = {
            **made.model_dump(),
            "id": secrets.token_hex(16),
            "use_case": found.use_case,
            "subject": found.subject,
            "key_id": key_id,
            "at": written(at),
        }
        connection.execute(sa.insert(schema.DECISIONS), line)
    return str(line["id"])


def listed(
    ledger: Ledger,
    case: UseCase,
    *,
    since: str = "",
    until: str = "",
    prediction_id: str = "",
    after: str = "",
    most: int = 100,
) -> list[dict[str, Any]]:
    """Decisions, oldest first; `after` is the id of the last one that is known already."""
    chosen = sa.select(schema.DECISIONS).where(*_within(case, since, until))
    if prediction_id:
        chosen = chosen.where(DECIDED.prediction_id == prediction_id)
    with ledger.begin() as connection:
        if after:
            last = connection.execute(sa.select(DECIDED.at).where(DECIDED.id == after)).scalar() or ""
            newer = sa.and_(DECIDED.at == last, DECIDED.id > after)
            chosen = chosen.where(sa.or_(DECIDED.at > last, newer))
        found = [named(row) for row in connection.execute(chosen.order_by(DECIDED.at, DECIDED.id).limit(most))]
        return [{name: value for name, value in row.items() if name != "subject"} for row in found]


def override_rates(ledger: Ledger, case: UseCase, *, since: str = "", until: str = "") -> dict[str, Any]:
    """Of the decisions of a period: how many there were, and which share went against Forewarn; by risk level too."""
    chosen = (
        sa.select(
            MADE.level, sa.func.count().label("all"), sa.func.sum(sa.cast(DECIDED.overrides, sa.Integer)).label("n")
        )
        .select_from(schema.DECISIONS.outerjoin(schema.PREDICTIONS, MADE.id == DECIDED.prediction_id))
        .where(*_within(case, since, until))
        .group_by(MADE.level)
    )
    with ledger.begin() as connection:
        found = [(row.level, int(row.all), int(row.n or 0)) for row in connection.execute(chosen)]
    return {
        **_rate(sum(all_ for _, all_, _ in found), sum(n for _, _, n in found)),
        "by_level": {level or "unknown": _rate(all_, n) for level, all_, n in found},
    }


def prediction(ledger: Ledger, case: UseCase, prediction_id: str) -> dict[str, Any]:
    """Everything of one prediction: when, by which version, what was decided and came true. Of its row what is not
    sealed.

    Raises:
        NotFound: no such prediction.
    """
    names = [one.name for one in case.profiles]
    with ledger.begin() as connection:
        chosen = sa.select(*SHOWN).where(MADE.id == prediction_id, MADE.use_case.in_(names))
        found = connection.execute(chosen).one_or_none()
    if found is None:
        raise NotFound(f"{case.name}: no prediction {prediction_id[:40]} is in the ledger")
    return {
        **named(found),
        "outcomes": outcomes.of_prediction(ledger, case, prediction_id),
        "decisions": listed(ledger, case, prediction_id=prediction_id),
    }


def _within(case: UseCase, since: str, until: str) -> list[sa.ColumnElement[bool]]:
    bounds: list[sa.ColumnElement[bool]] = [DECIDED.use_case.in_([one.name for one in case.profiles])]
    bounds += [DECIDED.at >= bound(since, "since")] if since else []
    return [*bounds, *([DECIDED.at < bound(until, "until")] if until else [])]


def _rate(decisions: int, overrides: int) -> dict[str, Any]:
    return {
        "decisions": decisions,
        "overrides": overrides,
        "override_rate": overrides / decisions if decisions else None,
    }

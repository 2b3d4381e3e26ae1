"""Why a use case was trained anew, on which rows, and what came of it."""

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa

from forewarn.databases import written
from forewarn.ledger import schema, windows
from forewarn.ledger.records import Recorder
from forewarn.ledger.store import Ledger, named
from forewarn.retraining import Fresh
from forewarn.usecase import UseCase

DONE = schema.RETRAININGS.c
RUNNING = "running"


def begin(ledger: Ledger, case: UseCase, cause: str, why: str, rows: Mapping[str, int], *, at: datetime) -> str:
    """Write down that one begins; its id.

    Raises:
        LedgerUnavailable: it must not begin then, for nobody would know of it.
    """
    line = {"id": secrets.token_hex(16), "use_case": case.name, "began_at": written(at), "cause": cause, "why": why,
            "rows": orjson.dumps(rows).decode(), "status": RUNNING}  # fmt: skip
    with ledger.begin() as connection:
        connection.execute(sa.insert(schema.RETRAININGS), line)
    return str(line["id"])


def end(ledger: Ledger, known: str, *, version: str | None, status: str, at: datetime) -> None:
    """And what came of it: a version with its status, or why there is none."""
    done = sa.update(schema.RETRAININGS).where(DONE.id == known)
    with ledger.begin() as connection:
        connection.execute(done.values(ended_at=written(at), version=version, status=status[:32]))


def listed(ledger: Ledger, case: UseCase, *, most: int = 100) -> list[dict[str, Any]]:
    """The newest first."""
    chosen = sa.select(schema.RETRAININGS).where(DONE.use_case == case.name)
    with ledger.begin() as connection:
        found = [named(row) for row in connection.execute(chosen.order_by(DONE.began_at.desc()).limit(most))]
    return [{**line, "rows": orjson.loads(line["rows"] or "{}")} for line in found]


def began(ledger: Ledger, case: UseCase) -> list[datetime]:
    """When the last ones were begun."""
    return [datetime.fromisoformat(line["began_at"]) for line in listed(ledger, case)]


def fresh(ledger: Ledger, recorder: Recorder, case: UseCase, *, at: datetime) -> list[Fresh]:
    """The rows of the ledger that there is to learn from: as old as the use case lets them be, outcome known, each with
    whether somebody acted on it. Oldest first.

    Raises:
        LedgerUnavailable, StateDamaged.
    """
    since = at - timedelta(days=case.watching.history_days)
    known = list(windows.known(ledger, recorder, case, since=since, until=at, at=at))
    acted = windows.acted_on(ledger, [one.id for one in known])
    return [Fresh(row=one.row, label=one.label, subject=one.subject, acted=one.id in acted) for one in known]

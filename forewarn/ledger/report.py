"""What an auditor asks every quarter (S1-41): who had access, what people decided and why, what was released, kept,
exported and forgotten, and whether the log of it still holds. Plain values; `jobs/compliance.py` lays them out.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from forewarn import usecases
from forewarn.databases import written
from forewarn.errors import BadInput
from forewarn.ledger import audit, decisions, retention, schema
from forewarn.ledger.audit import Chain
from forewarn.ledger.doors import Doors
from forewarn.ledger.records import NOBODY
from forewarn.ledger.store import Ledger, named
from forewarn.releases import Releases
from forewarn.settings import Settings
from forewarn.usecase import UseCase

MADE, ERASED, OUT, BATCH = schema.PREDICTIONS.c, schema.ERASURES.c, schema.OPT_OUTS.c, schema.BATCHES.c
# All lines of a quarter; an act a minute for three months is 130 000.
MOST_ACTS = 200_000
READ_AT_ONCE = 1000


def quarter(name: str, *, now: datetime) -> tuple[str, datetime, datetime]:
    """A quarter's name, first moment, and the moment after its last; the one before now's where none is named.

    Raises:
        BadInput: there is no such quarter.
    """
    if not name:
        year, part = (now.year, (now.month - 1) // 3) if now.month > 3 else (now.year - 1, 4)
        name = f"{year}Q{part}"
    year_text, _, part_text = name.upper().partition("Q")
    if not (year_text.isdigit() and len(year_text) == 4 and part_text in ("1", "2", "3", "4")):
        raise BadInput(f"--quarter {name}: is none; write it as 2026Q3")
    year, part = int(year_text), int(part_text)
    begins = datetime(year, 3 * part - 2, 1, tzinfo=UTC)
    ends = datetime(year + part // 4, 3 * part % 12 + 1, 1, tzinfo=UTC)
    return f"{year}Q{part}", begins, ends


def compliance(settings: Settings, ledger: Ledger, name: str, *, now: datetime) -> dict[str, Any]:
    """Everything of a quarter.

    Raises:
        LedgerUnavailable.
    """
    name, begins, ends = quarter(name, now=now)
    since, until = written(begins), written(ends)
    acts = audit.entries(ledger, since=since, until=until, most=MOST_ACTS)
    chain = Chain.of(settings).verify(ledger)
    return {
        "quarter": name,
        "from": since,
        "until": until,
        "written": written(now),
        "audit": {"lines": chain.lines, "broken": chain.broken, "why": chain.why, "head": chain.head},
        "acts": dict(Counter(act["act"] for act in acts).most_common()),
        "access": _access(settings, ledger, since, until),
        "releases": [_release(act) for act in acts if act["act"].startswith("release.")],
        "retention": [_said(act) for act in acts if act["act"] == "retention.run"],
        "rights": _rights(ledger, acts, since, until),
        "decisions": sum(
            decisions.override_rates(ledger, case, since=since, until=until)["decisions"] for case in _whole()
        ),
        "use_cases": {case.name: _use_case(settings, ledger, case, since, until) for case in usecases.every().values()},
    }


def _whole() -> list[UseCase]:
    """Use cases that are no other's profile: what was decided on a profile's answers counts with the whole."""
    profiles = {one.name for case in usecases.every().values() for one in case.profiles[1:]}
    return [case for name, case in usecases.every().items() if name not in profiles]


def _access(settings: Settings, ledger: Ledger, since: str, until: str) -> list[dict[str, Any]]:
    """Every key that was good at some time of the quarter, and how many predictions came with it."""
    counted = (
        sa.select(MADE.key_id, sa.func.count().label("n"))
        .where(MADE.at >= since, MADE.at < until, MADE.shadow_of.is_(None), MADE.route != NOBODY)
        .group_by(MADE.key_id)
    )
    with ledger.begin() as connection:
        predictions = {row.key_id: int(row.n) for row in connection.execute(counted)}
    keys = Doors.of(settings, ledger).listed()
    good = [key for key in keys if key["created_at"] < until and not _ended(key) < since]
    return [{**key, "predictions": predictions.get(key["id"], 0)} for key in good]


def _ended(key: Mapping[str, Any]) -> str:
    return min(filter(None, [key["revoked_at"], key["expires_at"]]), default="9999")


def _release(act: Mapping[str, Any]) -> dict[str, Any]:
    return {"act": act["act"].removeprefix("release."), **_said(act)}


def _said(act: Mapping[str, Any]) -> dict[str, Any]:
    return {"at": act["at"], "by": act["actor"], **act["about"]}


def _rights(ledger: Ledger, acts: list[dict[str, Any]], since: str, until: str) -> dict[str, Any]:
    """Counts alone: whose they are stands nowhere."""
    within = (ERASED.at >= since, ERASED.at < until)
    with ledger.begin() as connection:
        receipts = connection.execute(sa.select(sa.func.count(ERASED.receipt.distinct())).where(*within)).scalar_one()
        out = connection.execute(sa.select(OUT.use_case, sa.func.count().label("n")).group_by(OUT.use_case))
        opted_out = {row.use_case: int(row.n) for row in out}
    asked = Counter(act["act"] for act in acts)
    return {
        "exports": asked["subject.export"],
        "erasures": int(receipts),
        "opt_outs": asked["subject.opt-out"],
        "opt_ins": asked["subject.opt-in"],
        "opted_out_now": opted_out,
    }


def _use_case(settings: Settings, ledger: Ledger, case: UseCase, since: str, until: str) -> dict[str, Any]:
    counted = (
        sa.select(MADE.version, MADE.level, sa.func.count().label("n"))
        .where(MADE.use_case == case.name, MADE.at >= since, MADE.at < until)
        .where(MADE.shadow_of.is_(None), MADE.route != NOBODY)
        .group_by(MADE.version, MADE.level)
    )
    batches = sa.select(schema.BATCHES).where(BATCH.use_case == case.name, BATCH.at >= since, BATCH.at < until)
    with ledger.begin() as connection:
        answered = [named(row) for row in connection.execute(counted.order_by(MADE.version, MADE.level))]
        files = [named(row) for row in connection.execute(batches)]
    return {
        "title": case.title,
        "answered": answered,
        "batches": len(files),
        "scored_in_batches": sum(one["scored"] for one in files),
        "kept": retention.held(ledger, case),
        "policy": {"purge_days": case.retention.purge_days, "archive_days": case.retention.archive_days},
        "decisions": _decisions(ledger, case, since, until),
        "overrides": decisions.override_rates(ledger, case, since=since, until=until),
        "champion": _champion(settings, case),
    }


def _decisions(ledger: Ledger, case: UseCase, since: str, until: str) -> list[dict[str, Any]]:
    """All of them, oldest first: an auditor who is shown some cannot know what the others say."""
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["id"] if found else ""
        more = decisions.listed(ledger, case, since=since, until=until, after=after, most=READ_AT_ONCE)
        found += more
        if len(more) < READ_AT_ONCE:
            return found


def _champion(settings: Settings, case: UseCase) -> dict[str, Any] | None:
    """What the version that serves now was proved to be, fairness included."""
    releases = Releases(settings.packages)
    version = releases.champion(case)
    if version is None:
        return None
    card = releases.card(case, version)
    told = {name: card.get(name) for name in ("created", "algorithm", "metrics")}
    return {"version": version, **told, "fairness": _fairness(releases.folder(case, version))}


def _fairness(package: Path) -> dict[str, Any] | None:
    """Of its proof: how many groups were held against the limits, which broke one, and which were too small."""
    found = orjson.loads((package / "evidence.json").read_bytes()).get("fairness")
    if not found:
        return None
    judged = {(gap["field"], gap["group"]) for gap in found["after"] if gap["limit"] is not None}
    broken = {f"{gap['field']} = {gap['group']}: {gap['metric']}" for gap in found["after"] if gap["breached"]}
    return {"groups": len(judged), "broken": sorted(broken), "too_small": found["too_small"]}

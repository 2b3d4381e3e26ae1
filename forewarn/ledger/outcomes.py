"""What came true. A label may come late, and be corrected: nothing is overwritten, the one received last counts.

An outcome that names a prediction belongs to it. One that names a subject and a date belongs to the predictions of that
subject in the `horizon_days` of the use case before that date. A prediction is mature when it has an outcome, or when
its horizon has passed: then an event of which nothing was heard did not come, and an amount is not known.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from forewarn import ids
from forewarn.databases import bound, written
from forewarn.errors import BadInput, ForewarnError, MissingField, NotFound
from forewarn.ids import IdKey
from forewarn.ledger import schema
from forewarn.ledger.store import Ledger, named
from forewarn.tasks import Classification
from forewarn.usecase import UseCase

MADE, CAME = schema.PREDICTIONS.c, schema.OUTCOMES.c
AT_ONCE = 1000

# A use case, and a subject's pseudonym in it.
Whose = tuple[str, str | None]
NAMES = ("outcome", "label")
DATES = ("date", "seen_at")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came true of a prediction, or of a subject by a date.

    Attributes:
        known_as: the subject's pseudonyms, with their use cases: of each profile, and under each secret, for a
            prediction may stand under any of them.
        seen_at: as `databases.written`.
    """

    label: float
    seen_at: str
    prediction_id: str | None = None
    known_as: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Matured:
    """A prediction whose truth is known.

    Attributes:
        line: its columns in the ledger; `Recorder.seen` opens the row.
        known: by an outcome of its own, by one of its subject, or because nothing was heard.
    """

    line: Mapping[str, Any]
    label: float
    known: Literal["prediction", "subject", "silence"]


def read(case: UseCase, id_key: IdKey, raw: Any, *, at: datetime) -> Outcome:
    """An outcome as it comes in.

    Raises:
        BadInput, MissingField: naming what is wrong with it.
    """
    if not isinstance(raw, Mapping):
        raise BadInput(f"{case.name}: an outcome is an object, such as {example(case)}")
    value = next((raw[name] for name in (*NAMES, case.target) if raw.get(name) is not None), None)
    if value is None:
        raise MissingField(f"outcome: is missing; say what came true, such as {example(case)}")
    label, seen_at = case.task.outcome(value), _moment(raw, at)
    if prediction_id := raw.get("prediction_id"):
        return Outcome(label=label, seen_at=seen_at, prediction_id=str(prediction_id)[:32])
    return Outcome(label=label, seen_at=seen_at, known_as=_known_as(case, id_key, raw))


def example(case: UseCase) -> dict[str, Any]:
    """One of a prediction."""
    return {"prediction_id": "5f1c…", "outcome": "Yes" if isinstance(case.task, Classification) else 8}


def record(
    ledger: Ledger, case: UseCase, outcomes: Sequence[Outcome], *, key_id: str, at: datetime
) -> list[str | ForewarnError]:
    """Write them down: per outcome the id of its line, or why there is none. One that is known already stays the one.

    Raises:
        LedgerUnavailable: none is written.
    """
    told: list[str | ForewarnError] = []
    with ledger.begin() as connection:
        known = _predictions(connection, case, [one.prediction_id for one in outcomes if one.prediction_id])
        for one in outcomes:
            whose = _whose(one, known)
            if not whose:
                told.append(NotFound(_unknown(case, str(one.prediction_id))))
                continue
            lines = [_same(connection, one, subject) or _add(connection, one, name, subject, key_id, at)
                     for name, subject in whose]  # fmt: skip
            told.append(lines[0])
    return told


def of_prediction(ledger: Ledger, case: UseCase, prediction_id: str) -> list[dict[str, Any]]:
    """Every outcome that was sent for a prediction, the one that counts first.

    Raises:
        NotFound: no such prediction of this use case.
    """
    names = [one.name for one in case.profiles]
    there = sa.select(MADE.id).where(MADE.id == prediction_id, MADE.use_case.in_(names))
    chosen = (
        sa.select(CAME.id, CAME.label, CAME.seen_at, CAME.received_at, CAME.key_id)
        .where(CAME.prediction_id == prediction_id)
        .order_by(CAME.received_at.desc())
    )
    with ledger.begin() as connection:
        if connection.execute(there).one_or_none() is None:
            raise NotFound(_unknown(case, prediction_id[:40]))
        return [named(row) for row in connection.execute(chosen)]


def matured(
    ledger: Ledger, case: UseCase, *, since: datetime, until: datetime, at: datetime, below: str = ""
) -> Iterator[Matured]:
    """Predictions from `since` until before `until` whose truth is known at `at`, oldest first, by the thousand.

    Args:
        below: only of ids that come before it; these are random, so that it draws a share of them.
    """
    after = (written(since), "")
    while lines := _page(ledger, case, after, written(until), below):
        yield from known_of(ledger, case, lines, at=at)
        after = (lines[-1]["at"], lines[-1]["id"])


def known_of(ledger: Ledger, case: UseCase, lines: Sequence[Mapping[str, Any]], *, at: datetime) -> Iterator[Matured]:
    """Those of these predictions (id, subject, at and whatever else) whose truth is known at a time."""
    own, heard = _heard(ledger, case, lines)
    for line in lines:
        if found := _truth(case, line, own, heard, at):
            yield found


def _page(ledger: Ledger, case: UseCase, after: tuple[str, str], until: str, below: str) -> list[dict[str, Any]]:
    newer = sa.or_(MADE.at > after[0], sa.and_(MADE.at == after[0], MADE.id > after[1]))
    chosen = sa.select(schema.PREDICTIONS).where(
        MADE.use_case == case.name, MADE.erased_at.is_(None), MADE.at >= after[0], newer, MADE.at < until,
        MADE.shadow_of.is_(None), *([MADE.id < below] if below else []),
    )  # fmt: skip
    with ledger.begin() as connection:
        found = connection.execute(chosen.order_by(MADE.at, MADE.id).limit(AT_ONCE))
        return [named(row) for row in found]


Heard = dict[str, list[tuple[str, float]]]


def _heard(ledger: Ledger, case: UseCase, lines: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float], Heard]:
    """The label that counts of each prediction that has one; and of each subject the dates and labels, in order."""
    chosen = sa.select(schema.OUTCOMES).where(CAME.use_case == case.name).order_by(CAME.received_at, CAME.id)
    subjects = sorted({line["subject"] for line in lines if line["subject"]})
    own: dict[str, float] = {}
    heard: Heard = {}
    with ledger.begin() as connection:
        for row in connection.execute(chosen.where(CAME.prediction_id.in_([line["id"] for line in lines]))):
            own[row.prediction_id] = row.label
        for row in connection.execute(chosen.where(CAME.subject.in_(subjects), CAME.prediction_id.is_(None))):
            heard.setdefault(row.subject, []).append((row.seen_at, row.label))
    return own, heard


def _truth(
    case: UseCase, line: Mapping[str, Any], own: Mapping[str, float], heard: Heard, at: datetime
) -> Matured | None:
    if line["id"] in own:
        return Matured(line=line, label=own[line["id"]], known="prediction")
    ends = written(datetime.fromisoformat(line["at"]) + timedelta(days=case.horizon_days))
    mine = [label for seen, label in heard.get(line["subject"] or "", ()) if line["at"] <= seen <= ends]
    if mine:
        return Matured(line=line, label=mine[-1], known="subject")
    silent = isinstance(case.task, Classification) and ends < written(at)
    return Matured(line=line, label=0.0, known="silence") if silent else None


def _moment(raw: Mapping[str, Any], at: datetime) -> str:
    said = next((raw[name] for name in DATES if raw.get(name)), None)
    if said is None:
        return written(at)
    seen = bound(str(said), "date")
    if len(str(said)) == len("2026-11-27"):  # of a day all of it: what was predicted that morning is meant too
        seen = f"{seen[:10]}T23:59:59.999999Z"
    if seen > written(at + timedelta(days=1)):
        raise BadInput(f"date: {str(said)[:40]} has not come yet; send what came true")
    return seen


def _known_as(case: UseCase, id_key: IdKey, raw: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    names = ("subject", *((*case.spec[case.key].aliases, case.key) if case.key else ()))
    subject = ids.text_of(next((raw[name] for name in names if raw.get(name) is not None), None))
    if subject is None:
        raise MissingField(f"prediction_id: is missing; or send subject and date, such as {example(case)}")
    if not any(raw.get(name) for name in DATES):
        raise MissingField("date: is missing; an outcome by subject needs the day on which it was so")
    return tuple((one.name, name) for one in case.profiles for name in id_key.pseudonyms(one.name, subject))


def _whose(one: Outcome, known: Mapping[str, Whose]) -> Sequence[Whose]:
    """Under which names it is written down; none where its prediction is not known."""
    if one.prediction_id is None:
        return one.known_as
    return [known[one.prediction_id]] if one.prediction_id in known else []


def _predictions(connection: sa.Connection, case: UseCase, asked: Sequence[str]) -> dict[str, Whose]:
    """By id the use case, which may be a profile of this one, and the subject."""
    names = [one.name for one in case.profiles]
    chosen = sa.select(MADE.id, MADE.use_case, MADE.subject).where(
        MADE.id.in_(asked), MADE.use_case.in_(names), MADE.erased_at.is_(None)
    )
    return {row.id: (row.use_case, row.subject) for row in connection.execute(chosen)}


def _unknown(case: UseCase, prediction_id: str) -> str:
    return (
        f"{case.name}: no prediction {prediction_id} is in the ledger, or it was erased; "
        "one that was just made is there after some seconds"
    )


def _same(connection: sa.Connection, one: Outcome, subject: str | None) -> str | None:
    """The line that says the same, if it is the one that counts."""
    whose = (
        CAME.prediction_id == one.prediction_id
        if one.prediction_id
        else sa.and_(CAME.subject == subject, CAME.prediction_id.is_(None), CAME.seen_at == one.seen_at)
    )
    newest = sa.select(CAME.id, CAME.label).where(whose).order_by(CAME.received_at.desc(), CAME.id.desc()).limit(1)
    found = connection.execute(newest).one_or_none()
    return str(found.id) if found is not None and found.label == one.label else None


def _add(connection: sa.Connection, one: Outcome, use_case: str, subject: str | None, key_id: str, at: datetime) -> str:
    line = {
        "id": secrets.token_hex(16),
        "use_case": use_case,
        "prediction_id": one.prediction_id,
        "subject": subject,
        "label": one.label,
        "seen_at": one.seen_at,
        "received_at": written(at),
        "key_id": key_id,
    }
    connection.execute(sa.insert(schema.OUTCOMES), line)
    return str(line["id"])

"""People's rights: to see what is known of them, to be forgotten, not to be scored (S1-36, S2-72, S0-29).

A person stands in the ledger under pseudonyms, another one in each use case and under each secret. To be forgotten goes
through every place that knows them, and leaves a tombstone (what is older and comes late is not written) and a receipt.
"""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import sqlalchemy as sa

from forewarn import ids, usecases
from forewarn.databases import written
from forewarn.errors import BadInput
from forewarn.feature_store import FeatureStore
from forewarn.ids import IdKey
from forewarn.ledger import audit, files, notices, retention, schema, shipper
from forewarn.ledger.audit import By, Chain
from forewarn.ledger.records import PERSONAL, Recorder
from forewarn.ledger.store import Ledger, alone, named
from forewarn.settings import Settings
from forewarn.usecase import UseCase

MADE, CAME, DECIDED, OUT = schema.PREDICTIONS.c, schema.OUTCOMES.c, schema.DECISIONS.c, schema.OPT_OUTS.c
NIGHTLY = schema.NIGHTLY.c
RECEIPTS = "receipts"


@dataclass(frozen=True, kw_only=True)
class Person:
    """A subject, in the use cases asked for: their names there, under every secret."""

    subject: str
    known_as: Mapping[str, list[str]]

    @property
    def pseudonyms(self) -> list[str]:
        """All of them."""
        return [one for names in self.known_as.values() for one in names]


class Privacy:
    """Every place that knows people. A further one is one line in `erase` and one in
    `export`.
    """

    def __init__(self, settings: Settings, ledger: Ledger | None = None):
        self._settings = settings
        self._ledger = ledger or Ledger.open(settings)
        self._chain = Chain.of(settings)
        self._id_key = IdKey.open(settings.id_key, settings.id_secret.get_secret_value())
        self._store = FeatureStore.open(settings)

    def person(self, subject: Any, use_case: str = "") -> Person:
        """Who that is, in one use case with its profiles, or in all.

        Raises:
            BadInput: this is no id.
            NotFound: no such use case.
        """
        text = ids.text_of(subject)
        if text is None:
            raise BadInput("an id is a text that is not blank, or a whole number")
        known_as = {one.name: self._id_key.pseudonyms(one.name, text) for one in _cases(use_case)}
        return Person(subject=text, known_as=known_as)

    def export(self, person: Person, by: By, *, at: datetime) -> dict[str, Any]:
        """All that is known of somebody, readable.

        Raises:
            LedgerUnavailable, StoreUnavailable.
        """
        files.settle(self._settings, self._ledger)
        with self._ledger.begin() as connection:
            lines = retention.archived(self._settings, person.pseudonyms)
            lines += _of(connection, schema.PREDICTIONS, MADE.subject, person)
            told = {
                "predictions": [self._opened(line) for line in lines],
                "outcomes": _of(connection, schema.OUTCOMES, CAME.subject, person),
                "decisions": _of(connection, schema.DECISIONS, DECIDED.subject, person),
                "opt_outs": _of(connection, schema.OPT_OUTS, OUT.subject, person),
                "nightly": _of(connection, schema.NIGHTLY, NIGHTLY.subject, person),
                "batches": files.mentions(files.registered(connection, person.known_as), person.subject),
                "features": self._features(person),
            }
            told["audit"] = audit.about(connection, person.pseudonyms)
            self._note(connection, "subject.export", by, person, {"rows": len(told["predictions"])}, at=at)
        return {"subject": person.subject, "at": written(at), **told}

    def erase(self, person: Person, by: By, *, at: datetime) -> dict[str, Any]:
        """Forget somebody; the signed receipt. Doing it again finds nothing.

        Files that batch jobs wrote may be long: they are gone through before the ledger waits for us.

        Raises:
            LedgerUnavailable, StoreUnavailable: nothing of the ledger is erased, and it can be asked for again.
        """
        files.settle(self._settings, self._ledger)
        with self._ledger.begin() as connection:
            before = files.registered(connection, person.known_as)
        rewritten = files.without(before, person.subject)
        unfinished = files.forget_unfinished(self._settings, person.known_as, person.subject)
        features = sum(self._store.forget(case, person.subject) for case in self._with_features(person))
        with self._ledger.begin() as connection:
            alone(connection)
            counts = {**_erased(connection, person, at), "features": features}
            counts["audit_keys"] = sum(audit.shred(connection, name, who) for name, who in person.known_as.items())
            counts["set_apart"] = shipper.forget(self._settings.spools, person.pseudonyms)
            since = [one for one in files.registered(connection, person.known_as) if one not in before]
            for more in (
                unfinished,
                files.without(since, person.subject),
                retention.without(self._settings, person.pseudonyms),
            ):
                rewritten = {**rewritten, **{name: [*rewritten.get(name, []), *more[name]] for name in more}}
            receipt = self._receipt(person, counts, rewritten, at)
            self._bury(connection, person, receipt)
            about = {"receipt": receipt["id"], "counts": counts}
            self._chain.append(connection, "subject.erase", by, about, at=at)
        self._ledger.sweep()
        return receipt

    def opt_out(self, person: Person, by: By, *, at: datetime) -> int:
        """They are neither scored nor logged from now on; in how many use cases that is new.

        Entered again under a new secret, an opt-out stands under that one, so that the older may be retired.
        """
        with self._ledger.begin() as connection:
            theirs = sa.select(OUT.subject).where(OUT.subject.in_(person.pseudonyms))
            known = set(connection.execute(theirs).scalars())
            new = [name for name, names in person.known_as.items() if known.isdisjoint(names)]
            lines = [
                {"use_case": name, "subject": names[0], "since": written(at)}
                for name, names in person.known_as.items()
                if names[0] not in known
            ]
            if lines:
                older = known.difference(names[0] for names in person.known_as.values())
                connection.execute(sa.delete(schema.OPT_OUTS).where(OUT.subject.in_(older)))
                connection.execute(sa.insert(schema.OPT_OUTS), lines)
                connection.execute(sa.delete(schema.NIGHTLY).where(NIGHTLY.subject.in_(person.pseudonyms)))
                notices.changed(connection)
            self._note(connection, "subject.opt-out", by, person, {"use_cases": new}, at=at)
        return len(new)

    def opt_in(self, person: Person, by: By, *, at: datetime) -> int:
        """They may be scored again; in how many use cases they had opted out."""
        with self._ledger.begin() as connection:
            gone = connection.execute(sa.delete(schema.OPT_OUTS).where(OUT.subject.in_(person.pseudonyms))).rowcount
            if gone:
                notices.changed(connection)
            self._note(connection, "subject.opt-in", by, person, {"opt_outs": gone}, at=at)
        return gone

    def verified(self, receipt: Mapping[str, Any]) -> bool:
        """Whether a receipt is as this installation wrote it."""
        told = {name: value for name, value in receipt.items() if name != "signature"}
        return hmac.compare_digest(str(receipt.get("signature", "")).encode(), self._signature(told).encode())

    def rotate(self, by: By, *, at: datetime) -> int:
        """Put a new secret for ids in force; how many older ones are kept, under which people are still found."""
        with self._ledger.begin() as connection:
            self._chain.append(connection, "secret.rotate", by, {}, at=at)
            return ids.rotate(self._settings.id_key)

    def stranded(self) -> int:
        """How many opt-outs are older than the secret in force, and would not hold without the ones before it."""
        since = datetime.fromtimestamp(self._settings.id_key.stat().st_mtime, UTC)
        with self._ledger.begin() as connection:
            older = sa.select(sa.func.count()).select_from(schema.OPT_OUTS).where(OUT.since < written(since))
            return int(connection.execute(older).scalar_one())

    def retire(self, by: By, *, at: datetime) -> int:
        """Drop every secret but the one in force; how many. Whose the lines under them were, nobody can say then."""
        with self._ledger.begin() as connection:
            self._chain.append(connection, "secret.retire", by, {}, at=at)
            return ids.retire(self._settings.id_key)

    def _bury(self, connection: sa.Connection, person: Person, receipt: Mapping[str, Any]) -> None:
        """A tombstone under each of their names: what is older and comes late is not written; replicas forget."""
        told = {"at": receipt["at"], "receipt": orjson.dumps(receipt).decode()}
        tombs = [
            {**told, "id": secrets.token_hex(16), "use_case": name, "subject": one}
            for name, names in person.known_as.items()
            for one in names
        ]
        connection.execute(sa.insert(schema.ERASURES), tombs)
        notices.changed(connection)

    def _receipt(
        self, person: Person, counts: Mapping[str, int], rewritten: Mapping[str, list[str]], at: datetime
    ) -> dict[str, Any]:
        """Says what was done, and of whom only what whoever has the id can recompute."""
        told = {
            "id": secrets.token_hex(16),
            "at": written(at),
            "of": {name: names[0] for name, names in person.known_as.items()},
            "erased": dict(counts),
            "files": dict(rewritten),
        }
        return {**told, "signature": self._signature(told)}

    def _signature(self, told: Mapping[str, Any]) -> str:
        key = IdKey.open(self._settings.audit_key, self._settings.audit_secret.get_secret_value())
        secret = key.derived(RECEIPTS)[0]
        return hmac.digest(secret, orjson.dumps(told, option=orjson.OPT_SORT_KEYS), "sha256").hex()

    def _note(
        self, connection: sa.Connection, act: str, by: By, person: Person, about: Mapping[str, Any], *, at: datetime
    ) -> None:
        """In the audit log: who it is about stands sealed there."""
        name, names = next(iter(person.known_as.items()))
        personal = {"subject": person.subject}
        self._chain.append(connection, act, by, about, at=at, subject=(name, names[0]), personal=personal)

    def _with_features(self, person: Person) -> list[UseCase]:
        return [case for name in person.known_as if (case := usecases.get(name)).key]

    def _features(self, person: Person) -> list[dict[str, Any]]:
        return [
            {"use_case": case.name, "fields": row.fields, "since": written(row.valid_from)}
            for case in self._with_features(person)
            for row in self._store.history(case, person.subject)
        ]

    def _opened(self, line: dict[str, Any]) -> dict[str, Any]:
        case = usecases.get(line["use_case"])
        seen = Recorder.of(case, self._settings).seen(line["fields"], line["sealed"])
        return {**{name: value for name, value in line.items() if name not in ("fields", "sealed")}, "row": seen}


def _cases(use_case: str) -> list[UseCase]:
    if use_case:
        return list(usecases.get(use_case).profiles)
    return list({one.name: one for case in usecases.every().values() for one in case.profiles}.values())


def _of(connection: sa.Connection, table: sa.Table, subject: Any, person: Person) -> list[dict[str, Any]]:
    return [named(row) for row in connection.execute(sa.select(table).where(subject.in_(person.pseudonyms)))]


def _erased(connection: sa.Connection, person: Person, at: datetime) -> dict[str, int]:
    """Of each table how many lines: gone, or with nothing personal left in them."""
    mine = person.pseudonyms
    theirs = sa.select(MADE.id).where(MADE.subject.in_(mine)).scalar_subquery()
    heard = sa.delete(schema.OUTCOMES).where(sa.or_(CAME.subject.in_(mine), CAME.prediction_id.in_(theirs)))
    decided = sa.update(schema.DECISIONS).where(sa.or_(DECIDED.subject.in_(mine), DECIDED.prediction_id.in_(theirs)))
    made = sa.update(schema.PREDICTIONS).where(MADE.subject.in_(mine))
    gone = {**dict.fromkeys(PERSONAL), "erased_at": written(at)}
    return {
        "outcomes": connection.execute(heard).rowcount,
        "decisions": connection.execute(decided.values(subject=None, reason=None)).rowcount,
        "predictions": connection.execute(made.values(**gone)).rowcount,
        "nightly": connection.execute(sa.delete(schema.NIGHTLY).where(NIGHTLY.subject.in_(mine))).rowcount,
    }

"""The log of every privileged act: who, what, when, from which key. Each line's hash covers the line and the hash
before it, under a secret, so that whoever changes, adds or takes away a line breaks the chain.

What a line says of a person lies sealed under a key of that person's own. Once the key is gone, so is what was said,
and the chain still holds: that is how a log that must not change forgets somebody.
"""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa

from forewarn.databases import bound, written
from forewarn.errors import BadInput, StateDamaged
from forewarn.ids import IdKey
from forewarn.ledger import schema
from forewarn.ledger.seals import Seal
from forewarn.ledger.store import Ledger, named, raise_counter
from forewarn.settings import Settings

COLUMN = schema.AUDIT.c
CHAINED = ("number", "at", "actor", "key_id", "act", "about", "subject_key", "sealed")
READ_AT_ONCE = 5000


@dataclass(frozen=True, kw_only=True)
class By:
    """Who does something: a person's or program's name, and the id of the API key it came with (empty: at a shell)."""

    actor: str
    key_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the check of the chain found.

    Attributes:
        broken: number of the first line that does not fit.
        head: NUMBER:HASH of the newest line. Whoever may write to the database may take the newest lines away and set
            the counter back; a head that was noted elsewhere shows it.
    """

    lines: int
    broken: int | None = None
    why: str = ""
    head: str = ""


class Chain:
    """Appends to the log within the transaction of the act itself: both are kept, or neither."""

    def __init__(self, key: IdKey):
        self._secret = key.derived("audit")[0]

    @classmethod
    def of(cls, settings: Settings) -> "Chain":
        """With this installation's secret."""
        return cls(IdKey.open(settings.audit_key, settings.audit_secret.get_secret_value()))

    def append(
        self,
        connection: sa.Connection,
        act: str,
        by: By,
        about: Mapping[str, Any],
        *,
        at: datetime,
        subject: tuple[str, str] | None = None,
        personal: Mapping[str, Any] | None = None,
    ) -> int:
        """A line; its number.

        `about` must not tell who it is about: that is what `personal` is for, sealed under the key of `subject`, a use
        case and a pseudonym.
        """
        number = raise_counter(connection, schema.AUDITED)
        key_id, seal = _subject_key(connection, *subject) if subject else (None, None)
        line = {
            "number": number,
            "at": written(at),
            "actor": by.actor,
            "key_id": by.key_id,
            "act": act,
            "about": orjson.dumps(about, option=orjson.OPT_SORT_KEYS).decode(),
            "subject_key": key_id,
            "sealed": seal.shut(dict(personal)) if seal and personal else None,
        }
        before = connection.execute(sa.select(COLUMN.hash).where(COLUMN.number == number - 1)).scalar()
        connection.execute(sa.insert(schema.AUDIT), {**line, "hash": self._hash(before or "", line)})
        return number

    def verify(self, ledger: Ledger, *, head: str = "") -> Found:
        """Go through the whole chain; `head`, NUMBER:HASH, must still be a line of it.

        Raises:
            BadInput: that is no head.
        """
        noted = _head(head)
        hash_, number = "", 0
        in_order = sa.select(schema.AUDIT).order_by(COLUMN.number).execution_options(yield_per=READ_AT_ONCE)
        with ledger.begin() as connection:
            newest = connection.execute(_counter()).scalar() or 0
            lines = connection.execute(in_order)
            for number, line in enumerate(map(named, lines), 1):
                if trouble := self._trouble(number, line, hash_, noted):
                    lines.close()
                    return Found(lines=number - 1, broken=number, why=trouble)
                hash_ = line["hash"]
        if number < max(newest, noted[0]):
            return Found(lines=number, broken=number + 1, why=f"lines up to {max(newest, noted[0])} were written")
        return Found(lines=number, head=f"{number}:{hash_}")

    def _trouble(self, number: int, line: Mapping[str, Any], before: str, noted: tuple[int, str]) -> str:
        if line["number"] != number:
            return "a line is missing, or stands in another's place"
        if not hmac.compare_digest(line["hash"], self._hash(before, line)):
            return "the line, or the one before it, was changed"
        return "it is not the line whose head was noted" if noted[0] == number and noted[1] != line["hash"] else ""

    def _hash(self, before: str, line: Mapping[str, Any]) -> str:
        told = orjson.dumps([before, *(line[name] for name in CHAINED)])
        return hmac.digest(self._secret, told, "sha256").hex()


def entries(
    ledger: Ledger, *, since: str = "", until: str = "", act: str = "", most: int = 1000
) -> list[dict[str, Any]]:
    """Lines, newest first, with what they say of people where that can still be read.

    Raises:
        BadInput: since or until is no time.
    """
    since, until = bound(since, "since"), bound(until, "until")
    chosen = sa.select(schema.AUDIT).order_by(COLUMN.number.desc()).limit(most)
    for wanted, condition in ((since, COLUMN.at >= since), (until, COLUMN.at < until), (act, COLUMN.act == act)):
        chosen = chosen.where(condition) if wanted else chosen
    with ledger.begin() as connection:
        lines = [named(line) for line in connection.execute(chosen)]
        return [_opened(connection, line) for line in lines]


def about(connection: sa.Connection, subjects: list[str]) -> list[dict[str, Any]]:
    """Lines that say something of a person, oldest first."""
    key = schema.SUBJECT_KEYS.c
    theirs = sa.select(key.id).where(key.subject.in_(subjects)).scalar_subquery()
    chosen = sa.select(schema.AUDIT).where(COLUMN.subject_key.in_(theirs)).order_by(COLUMN.number)
    return [_opened(connection, named(line)) for line in connection.execute(chosen)]


def shred(connection: sa.Connection, use_case: str, subjects: list[str]) -> int:
    """Take away the keys of a person, and with them all that lines say of them; how many there were."""
    key = schema.SUBJECT_KEYS.c
    return connection.execute(
        sa.delete(schema.SUBJECT_KEYS).where(key.use_case == use_case, key.subject.in_(subjects))
    ).rowcount


def _opened(connection: sa.Connection, line: dict[str, Any]) -> dict[str, Any]:
    told = {**line, "about": orjson.loads(line["about"]), "personal": None}
    sealed = told.pop("sealed")
    if sealed is None:
        return told
    key = schema.SUBJECT_KEYS.c
    secret = connection.execute(sa.select(key.secret).where(key.id == line["subject_key"])).scalar()
    if secret is None:
        return {**told, "personal": "erased"}
    try:
        return {**told, "personal": Seal([bytes.fromhex(secret)]).open(sealed)}
    except StateDamaged:
        return {**told, "personal": "unreadable"}


def _subject_key(connection: sa.Connection, use_case: str, subject: str) -> tuple[str, Seal]:
    """The person's key, made at the first line about them. The audit counter's lock makes us the only one here."""
    key = schema.SUBJECT_KEYS.c
    mine = sa.select(key.id, key.secret).where(key.use_case == use_case, key.subject == subject)
    found = connection.execute(mine).one_or_none()
    if found is None:
        made = {"id": secrets.token_hex(16), "use_case": use_case, "subject": subject, "secret": secrets.token_hex(32)}
        connection.execute(sa.insert(schema.SUBJECT_KEYS), made)
        return made["id"], Seal([bytes.fromhex(made["secret"])])
    return found.id, Seal([bytes.fromhex(found.secret)])


def _head(head: str) -> tuple[int, str]:
    number, _, hash_ = head.partition(":")
    if head and not (number.isdigit() and hash_):
        raise BadInput(f"{head}: is no head; give NUMBER:HASH as `forewarn audit verify` printed it")
    return (int(number), hash_) if head else (0, "")


def _counter() -> sa.Select[int]:
    return sa.select(schema.COUNTERS.c.number).where(schema.COUNTERS.c.name == schema.AUDITED)

"""The API keys in the ledger: made, listed, rotated, revoked. Each act is a line in the audit log."""

import secrets
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from forewarn import keys
from forewarn.databases import written
from forewarn.errors import BadInput, NotFound
from forewarn.ledger import notices, schema
from forewarn.ledger.audit import By, Chain
from forewarn.ledger.store import Ledger, named
from forewarn.settings import Settings

COLUMN = schema.API_KEYS.c
SHOWN = ("id", "name", "scopes", "per_minute", "created_at", "created_by", "expires_at", "revoked_at", "last_used_at",
         "rotated_to")  # fmt: skip


class Doors:
    """Who may come in."""

    def __init__(self, ledger: Ledger, chain: Chain):
        self._ledger, self._chain = ledger, chain

    @classmethod
    def of(cls, settings: Settings, ledger: Ledger | None = None) -> "Doors":
        """This installation's."""
        return cls(ledger or Ledger.open(settings), Chain.of(settings))

    def create(
        self,
        name: str,
        scopes: Iterable[str],
        by: By,
        *,
        at: datetime,
        days: float | None = None,
        per_minute: int | None = None,
    ) -> tuple[str, str]:
        """A new key, which is shown this once, and its id.

        Raises:
            BadInput: no name, no scopes, or one that does not exist.
        """
        made = keys.new()
        row = _row(made, name, scopes, by, at=at, days=days, per_minute=per_minute)
        with self._ledger.begin() as connection:
            connection.execute(sa.insert(schema.API_KEYS), row)
            self._note(connection, "keys.create", by, {"key": row["id"], "name": name, "scopes": row["scopes"]}, at)
        return made, row["id"]

    def listed(self) -> list[dict[str, Any]]:
        """Every key that there ever was, oldest first, without its hash."""
        with self._ledger.begin() as connection:
            found = connection.execute(sa.select(*(COLUMN[name] for name in SHOWN)).order_by(COLUMN.created_at))
            return [named(row) for row in found]

    def revoke(self, key_id: str, by: By, *, at: datetime) -> None:
        """From within a few seconds on it opens nothing. Doing it again changes nothing.

        Raises:
            NotFound: no such key.
        """
        with self._ledger.begin() as connection:
            row = _found(connection, key_id)
            if row["revoked_at"] is None:
                connection.execute(
                    sa.update(schema.API_KEYS).where(COLUMN.id == row["id"]).values(revoked_at=written(at))
                )
                self._note(connection, "keys.revoke", by, {"key": row["id"], "name": row["name"]}, at)

    def rotate(self, key_id: str, by: By, *, at: datetime, overlap: timedelta) -> tuple[str, str]:
        """A new key in the place of one, with the same name and scopes; the old one opens for the overlap still.

        Raises:
            NotFound: no such key.
            BadInput: it was revoked.
        """
        with self._ledger.begin() as connection:
            old = _found(connection, key_id)
            if old["revoked_at"]:
                raise BadInput(f"key {old['id']} was revoked; create a new one")
            made = keys.new()
            days = _days(old)
            new = _row(made, old["name"], old["scopes"].split(), by, at=at, days=days, per_minute=old["per_minute"])
            ends = min(filter(None, [written(at + overlap), old["expires_at"]]))
            connection.execute(sa.insert(schema.API_KEYS), new)
            connection.execute(
                sa.update(schema.API_KEYS).where(COLUMN.id == old["id"]).values(expires_at=ends, rotated_to=new["id"])
            )
            told = {"key": old["id"], "name": old["name"], "to": new["id"], "until": ends}
            self._note(connection, "keys.rotate", by, told, at)
        return made, new["id"]

    def install(self, key: str, by: By, *, at: datetime) -> None:
        """Let the key of whoever owns this installation in, and none that it had before."""
        with self._ledger.begin() as connection:
            mine = sa.select(COLUMN.hash).where(COLUMN.name == keys.INSTALLATION, COLUMN.revoked_at.is_(None))
            known = set(connection.execute(mine).scalars())
            if known == {keys.digest_of(key)}:
                return
            stale = (COLUMN.name == keys.INSTALLATION) & COLUMN.revoked_at.is_(None)
            connection.execute(sa.update(schema.API_KEYS).where(stale).values(revoked_at=written(at)))
            row = _row(key, keys.INSTALLATION, [keys.ADMIN], by, at=at, days=None, per_minute=None)
            again = sa.select(COLUMN.id).where(COLUMN.hash == row["hash"])
            if there := connection.execute(again).scalar():
                connection.execute(sa.update(schema.API_KEYS).where(COLUMN.id == there).values(revoked_at=None))
            else:
                connection.execute(sa.insert(schema.API_KEYS), row)
            self._note(connection, "keys.install", by, {"key": there or row["id"]}, at)

    def used(self, last: Mapping[str, str]) -> None:
        """When keys were last used, by id; what is newer stays."""
        with self._ledger.begin() as connection:
            for key_id, at in sorted(last.items()):
                older = COLUMN.last_used_at.is_(None) | (COLUMN.last_used_at < at)
                connection.execute(sa.update(schema.API_KEYS).where(COLUMN.id == key_id, older).values(last_used_at=at))

    def _note(self, connection: sa.Connection, act: str, by: By, about: dict[str, Any], at: datetime) -> None:
        notices.changed(connection)
        self._chain.append(connection, act, by, about, at=at)


def _row(
    key: str, name: str, scopes: Iterable[str], by: By, *, at: datetime, days: float | None, per_minute: int | None
) -> dict[str, Any]:
    wanted = sorted(set(scopes), key=lambda scope: keys.SCOPES.index(scope) if scope in keys.SCOPES else -1)
    if unknown := [scope for scope in wanted if scope not in keys.SCOPES]:
        raise BadInput(f"scopes: {', '.join(unknown)} is none; there are {', '.join(keys.SCOPES)}")
    if not name.strip() or not wanted:
        raise BadInput("a key needs a name that says whose it is, and at least one scope")
    return {
        "id": secrets.token_hex(6),
        "name": name.strip(),
        "hash": keys.digest_of(key),
        "scopes": " ".join(wanted),
        "per_minute": per_minute,
        "created_at": written(at),
        "created_by": by.actor,
        "expires_at": written(at + timedelta(days=days)) if days is not None else None,
    }


def _found(connection: sa.Connection, key_id: str) -> Mapping[str, Any]:
    row = connection.execute(sa.select(schema.API_KEYS).where(COLUMN.id == key_id)).one_or_none()
    if row is None:
        raise NotFound(f"no API key has the id {key_id}; `forewarn keys list` shows them")
    return named(row)


def _days(row: Mapping[str, Any]) -> float | None:
    """A rotated key is good for as long as the one before it was to be."""
    if row["expires_at"] is None:
        return None
    whole = datetime.fromisoformat(row["expires_at"]) - datetime.fromisoformat(row["created_at"])
    return whole.total_seconds() / 86400


def installation_key(settings: Settings) -> str:
    """The key of whoever owns this installation, which opens from now on.

    Raises:
        CannotStart: the key given is short enough to be guessed.
        LedgerUnavailable: it cannot be let in now.
    """
    key = keys.local(settings.local_key, given=settings.api_key.get_secret_value())
    with closing(Ledger.open(settings)) as ledger:
        Doors.of(settings, ledger).install(key, By(actor=settings.whoami), at=datetime.now(UTC))
    return key

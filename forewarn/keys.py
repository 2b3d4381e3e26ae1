"""API keys: random, shown once, kept as hashes only; each may do what its scopes say."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from forewarn import state
from forewarn.errors import CannotStart, NotAllowed, NotAuthenticated

PREFIX = "fw_"
MIN_LENGTH = 20
SCOPES = ("predict", "feedback", "decide", "read", "approve", "operate", "admin")
ADMIN = "admin"
INSTALLATION = "installation"


@dataclass(frozen=True, kw_only=True)
class Key:
    """What is known of a key: never the key itself.

    Attributes:
        id: by which lines in the ledger and logs name it.
        hash: SHA-256, hex. A key is 256 random bits: there is nothing to guess that a slow hash would protect.
        scopes: of `SCOPES`; whoever has `admin` may do everything.
        per_minute: requests; None: as many as the installation's quota says.
        expires_at: as `databases.written`.
    """

    id: str
    name: str
    hash: str
    scopes: frozenset[str]
    per_minute: int | None = None
    expires_at: str | None = None

    def may(self, scopes: Iterable[str]) -> bool:
        """Whether it has one of these."""
        return ADMIN in self.scopes or not self.scopes.isdisjoint(scopes)


class KeyRing:
    """The keys that this installation accepts."""

    def __init__(self, keys: Iterable[Key]):
        self._keys = tuple(keys)

    def check(self, key: str | None, *, at: str) -> Key:
        """Whose it is. Every hash is compared, so the time taken tells nothing.

        Raises:
            NotAuthenticated: no key was sent.
            NotAllowed: the key is not one of these, or has expired.
        """
        if not key:
            raise NotAuthenticated("no API key; send it in the header X-API-Key")
        digest = digest_of(key)
        owners = [known for known in self._keys if hmac.compare_digest(known.hash, digest)]
        if not owners:
            raise NotAllowed("invalid API key; ask the operator of this installation for one")
        if owners[0].expires_at and owners[0].expires_at <= at:
            raise NotAllowed(f"this API key expired on {owners[0].expires_at[:10]}; ask for a new one")
        return owners[0]


def new() -> str:
    """A key that nobody has."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(key: str) -> str:
    """What is kept of it."""
    return hashlib.sha256(key.encode()).hexdigest()


def local(secret: Path, *, given: str = "") -> str:
    """The key of whoever owns this installation: the one given, else one made on the first call.

    One that was made lies in a file of mode 0600 for its owner's own use, like an SSH key; the service reads
    hashes only.

    Raises:
        CannotStart: the key is short enough to be guessed.
    """
    if not given and (not secret.exists() or not secret.read_text().strip()):
        state.write(secret, new())
    key = given or secret.read_text().strip()
    if len(key) < MIN_LENGTH:
        raise CannotStart(f"an API key of {len(key)} characters can be guessed; give one of at least {MIN_LENGTH}")
    return key

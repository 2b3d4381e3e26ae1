"""API keys: random, shown once, kept as hashes only."""

import hashlib
import hmac
import secrets
from pathlib import Path

from forewarn import state
from forewarn.errors import CannotStart, NotAllowed, NotAuthenticated

PREFIX = "fw_"
MIN_LENGTH = 20


class KeyRing:
    """The keys that this installation accepts.

    A key is 256 random bits, so one SHA-256 keeps it: there is nothing to guess that a slow hash would protect.
    """

    def __init__(self, hashes: dict[str, str]):
        self._hashes = hashes

    @classmethod
    def load(cls, path: Path) -> "KeyRing":
        """Read the hashes; an installation without a file accepts no key."""
        return cls(state.read_json(path))

    def check(self, key: str | None) -> str:
        """The name of the key's owner. Every hash is compared, so the time taken tells nothing.

        Raises:
            NotAuthenticated: no key was sent.
            NotAllowed: the key is not one of these.
        """
        if not key:
            raise NotAuthenticated("no API key; send it in the header X-API-Key")
        digest = _digest(key)
        owners = [name for name, known in self._hashes.items() if hmac.compare_digest(known, digest)]
        if not owners:
            raise NotAllowed("invalid API key; ask the operator of this installation for one")
        return owners[0]


def installation_key(hashes: Path, secret: Path, *, given: str = "") -> str:
    """The key of whoever owns this installation: the one given, else one made on the first call.

    One that was made lies in a file of mode 0600 for its owner's own use, like an SSH key; the service reads
    hashes only.

    Raises:
        CannotStart: the key is short enough to be guessed.
    """
    if not given and (not secret.exists() or not secret.read_text().strip()):
        state.write(secret, PREFIX + secrets.token_urlsafe(32))
    key = given or secret.read_text().strip()
    if len(key) < MIN_LENGTH:
        raise CannotStart(f"an API key of {len(key)} characters can be guessed; give one of at least {MIN_LENGTH}")
    known = state.read_json(hashes)
    if known.get("installation") != _digest(key):
        state.write_json(hashes, {**known, "installation": _digest(key)})
    return key


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()

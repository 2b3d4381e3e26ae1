"""API keys: random, shown once, kept as hashes only."""

import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path

from forewarn.errors import NotAllowed, NotAuthenticated

PREFIX = "fw_"


class KeyRing:
    """The keys that this installation accepts.

    A key is 256 random bits, so one SHA-256 keeps it: there is nothing to guess that a slow hash would protect.
    """

    def __init__(self, hashes: dict[str, str]):
        self._hashes = hashes

    @classmethod
    def load(cls, path: Path) -> "KeyRing":
        """Read the hashes; an installation without a file accepts no key."""
        return cls(json.loads(path.read_text()) if path.exists() else {})

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


def installation_key(hashes: Path, secret: Path) -> str:
    """The key of whoever owns this installation, made on the first call.

    It lies in a file of mode 0600 for its owner's own use, like an SSH key; the service reads hashes only.
    """
    if not secret.exists():
        _write_private(secret, PREFIX + secrets.token_urlsafe(32))
    key = secret.read_text().strip()
    known = json.loads(hashes.read_text()) if hashes.exists() else {}
    if known.get("installation") != _digest(key):
        _write_private(hashes, json.dumps({**known, "installation": _digest(key)}, indent=1))
    return key


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)

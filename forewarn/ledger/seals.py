"""What only this installation may read: AES-256-GCM."""

import os
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from forewarn.errors import StateDamaged

NONCE_BYTES = 12


class Seal:
    """Seals values under the first of its keys, and opens what was sealed under any of them."""

    def __init__(self, keys: Sequence[bytes]):
        self._ciphers = [AESGCM(key) for key in keys]

    def shut(self, value: Any) -> str:
        """Text that tells nothing but how long the value is."""
        nonce = os.urandom(NONCE_BYTES)
        return b64encode(nonce + self._ciphers[0].encrypt(nonce, orjson.dumps(value), None)).decode()

    def open(self, text: str) -> Any:
        """The value.

        Raises:
            StateDamaged: none of the keys is the one, or the text was changed.
        """
        held = b64decode(text)
        for cipher in self._ciphers:
            try:
                return orjson.loads(cipher.decrypt(held[:NONCE_BYTES], held[NONCE_BYTES:], None))
            except InvalidTag:
                continue
        raise StateDamaged("a sealed value cannot be opened; its key was retired, or it was changed")

"""What only this installation may read: AES-256-GCM."""

import os
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from forewarn.errors import StateDamaged

NONCE_BYTES = 12
DRAWN_AT_ONCE = 256


class Seal:
    """Seals values under the first of its keys, for one thread; opens what was sealed under any of them."""

    def __init__(self, keys: Sequence[bytes]):
        self._ciphers = [AESGCM(key) for key in keys]
        self._nonces = _random()

    def shut(self, value: Any) -> str:
        """Text that tells nothing but how long the value is."""
        nonce = next(self._nonces)
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


def _random() -> Iterator[bytes]:
    """96 random bits each. Drawn 256 at a time: one by one the kernel takes up to 20 µs for each."""
    while True:
        drawn = os.urandom(NONCE_BYTES * DRAWN_AT_ONCE)
        yield from (drawn[start : start + NONCE_BYTES] for start in range(0, len(drawn), NONCE_BYTES))

"""Ids of people as they may touch a disk: HMAC'd under the installation's own secret, so that none is guessed back."""

import hmac
import os
import secrets
from pathlib import Path
from typing import Any

from forewarn import state
from forewarn.errors import BadInput, StateDamaged

SECRET_BYTES = 32


class IdKey:
    """The secret under which this installation's ids are hidden. Without it, what is stored belongs to nobody."""

    def __init__(self, secret: bytes):
        self._secret = secret

    @classmethod
    def open(cls, path: Path) -> "IdKey":
        """The secret in the file, which is made on the first call; mode 0600.

        Raises:
            StateDamaged: the file does not hold a secret.
        """
        if not path.exists():
            _make(path)
        try:
            secret = bytes.fromhex(path.read_text().strip())
        except ValueError:
            secret = b""
        if len(secret) != SECRET_BYTES:
            raise StateDamaged(
                f"{path}: holds no secret of {SECRET_BYTES} bytes; restore it from a backup, "
                "for without it nothing that is stored about anybody can be found again"
            )
        return cls(secret)

    def pseudonym(self, use_case: str, subject: str | int) -> str:
        """What stands for the subject on a disk: 64 hex digits, other ones in each use case.

        Raises:
            BadInput: this is no id.
        """
        text = text_of(subject)
        if text is None:
            raise BadInput(f"{use_case}: an id is a text that is not blank, or a whole number")
        told = f"{use_case}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._secret, told, "sha256").hex()


def text_of(subject: Any) -> str | None:
    """An id as text, so that 7 and "7" are one subject; None for what is no id."""
    if isinstance(subject, str):
        return subject.strip() or None
    # Python refuses to write out a number of more than 4300 digits.
    if isinstance(subject, int) and not isinstance(subject, bool) and subject.bit_length() <= 256:
        return str(subject)
    return None


def _make(path: Path) -> None:
    """Write a secret; where two processes do so at once, the first one's stays."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    state.write(aside, secrets.token_hex(SECRET_BYTES))
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        aside.unlink()

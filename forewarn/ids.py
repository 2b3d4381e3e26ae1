"""Ids of people as they may touch a disk: HMAC'd under the installation's own secret, so that none is guessed back.

The secret may be changed: new lines go under the new one, and what lies under those before is found for as long as they
are kept. To drop one forgets, at once and for good, whose all the lines under it were.
"""

import hmac
import os
import secrets
from pathlib import Path
from typing import Any

from forewarn import state
from forewarn.errors import BadInput, StateDamaged

SECRET_BYTES = 32


class IdKey:
    """The secrets under which this installation's ids are hidden. Without them, what is stored belongs to nobody."""

    def __init__(self, *known: bytes):
        self._known = known

    @classmethod
    def open(cls, path: Path, given: str = "") -> "IdKey":
        """The secrets given, in hex with commas between, the one in force first; else those in the file, a line each,
        which is made on the first call; mode 0600.

        Raises:
            StateDamaged: there is no secret in it.
        """
        if not given and not path.exists():
            _make(path)
        try:
            known = [bytes.fromhex(text) for text in (given.replace(",", "\n") or path.read_text()).split()]
        except ValueError:
            known = []
        if not known or any(len(secret) != SECRET_BYTES for secret in known):
            where = "the secret in the environment" if given else f"{path}"
            raise StateDamaged(
                f"{where}: holds no secret of {SECRET_BYTES} bytes; restore it from a backup, "
                "for without it nothing that is stored about anybody can be found again"
            )
        return cls(*known)

    def pseudonym(self, use_case: str, subject: str | int) -> str:
        """What stands for the subject on a disk: 64 hex digits, other ones in each use case.

        Raises:
            BadInput: this is no id.
        """
        return _hidden(self._known[0], _told(use_case, subject))

    def pseudonyms(self, use_case: str, subject: str | int) -> list[str]:
        """Under every secret, the one in force first.

        Raises:
            BadInput: this is no id.
        """
        told = _told(use_case, subject)
        return [_hidden(secret, told) for secret in self._known]

    def derived(self, purpose: str) -> list[bytes]:
        """Keys for another purpose, of 32 bytes, the one in force first."""
        return [hmac.digest(secret, f"\0{purpose}".encode(), "sha256") for secret in self._known]


def rotate(path: Path) -> int:
    """Put a new secret in force, before those that the file holds; how many these were."""
    before = path.read_text().split() if path.exists() else []
    state.write(path, "\n".join([secrets.token_hex(SECRET_BYTES), *before]))
    return len(before)


def retire(path: Path) -> int:
    """Drop every secret but the one in force; how many that were."""
    known = path.read_text().split()
    state.write(path, known[0])
    return len(known) - 1


def text_of(subject: Any) -> str | None:
    """An id as text, so that 7 and "7" are one subject; None for what is no id."""
    if isinstance(subject, str):
        return subject.strip() or None
    # Python refuses to write out a number of more than 4300 digits.
    if isinstance(subject, int) and not isinstance(subject, bool) and subject.bit_length() <= 256:
        return str(subject)
    return None


def _hidden(secret: bytes, told: bytes) -> str:
    return hmac.digest(secret, told, "sha256").hex()


def _told(use_case: str, subject: str | int) -> bytes:
    text = text_of(subject)
    if text is None:
        raise BadInput(f"{use_case}: an id is a text that is not blank, or a whole number")
    return f"{use_case}\0{text}".encode("utf-8", "surrogatepass")


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

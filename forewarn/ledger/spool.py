"""Lines on their way to the ledger: on disk before the answer goes out, so that a killed process loses none.

    spools/<process>/owner       locked for as long as the process lives
    spools/<process>/current     what it appends to
    spools/<process>/000007      closed, for the shipper

A line is in the kernel's hands when `append` returns: it survives the process, and not the machine's loss of power.
"""

import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from forewarn.errors import NotRecorded
from forewarn.locks import Lock

log = logging.getLogger(__name__)

OWNER, CURRENT = "owner", "current"
# A closed segment is removed once it is shipped, and read in one piece.
SEGMENT_BYTES = 4 * 2**20
WARN_SHARE = 0.5
ENDED = orjson.OPT_APPEND_NEWLINE


class Spool:
    """One process's own. Only for one thread."""

    def __init__(self, spools: Path, *, most_bytes: int):
        self._folder = spools / secrets.token_hex(8)
        self._folder.mkdir(parents=True, mode=0o700)
        self._owner = Lock(self._folder / OWNER)
        self._owner.take()
        self._most = most_bytes
        self._file: int | None = None
        self._written = self._closed = 0
        self.waiting_bytes = 0
        self._warned = False

    def refuse_full(self) -> None:
        """Before anything is done for an answer that could not be written down.

        Raises:
            NotRecorded: it takes no more.
        """
        if self.waiting_bytes >= self._most:
            raise NotRecorded(
                f"{self.waiting_bytes} bytes of predictions wait for the ledger, which does not take them; "
                "nothing more is answered until it does"
            )

    def append(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Write them down.

        Raises:
            NotRecorded: the disk or the spool is full; none of them is written.
        """
        if lines:
            self._write(b"".join([orjson.dumps(line, option=ENDED) for line in lines]))

    def _write(self, told: bytes) -> None:
        self.refuse_full()
        try:
            if self._file is None:
                self._file = os.open(self._folder / CURRENT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._whole(told)
        except OSError as error:
            raise NotRecorded(
                f"the prediction cannot be written down ({error.strerror}); make space, or ask again"
            ) from error
        self._written += len(told)
        self.waiting_bytes += len(told)
        if self._written >= SEGMENT_BYTES:
            self.turn()

    def _whole(self, told: bytes) -> None:
        """All of it, or nothing: what a full disk took of it is taken back."""
        assert self._file is not None
        done = os.write(self._file, told)
        if done < len(told):
            os.ftruncate(self._file, self._written)
            raise OSError(0, "the disk is full")

    def turn(self) -> None:
        """Close what was written, for the shipper. To be called about every second."""
        if self._file is not None:
            os.close(self._file)
            self._closed += 1
            (self._folder / CURRENT).rename(self._folder / f"{self._closed:06}")
            self._file, self._written = None, 0
        self._look()

    def close(self) -> None:
        """The last lines, and no more."""
        self.turn()
        self._owner.free()

    def _look(self) -> None:
        """How much still waits; said once when that becomes much."""
        self.waiting_bytes = sum(_size(file) for file in segments(self._folder))
        much = self.waiting_bytes > WARN_SHARE * self._most
        if much and not self._warned:
            log.warning("%d bytes of predictions wait for the ledger; at %d none is answered any more",
                        self.waiting_bytes, self._most)  # fmt: skip
        self._warned = much


def segments(folder: Path) -> list[Path]:
    """Closed ones, oldest first."""
    return sorted(file for file in folder.iterdir() if file.name.isdigit())


def owned(folder: Path) -> bool:
    """Whether the process that writes here lives."""
    lock = Lock(folder / OWNER)
    taken = lock.take()
    lock.free()
    return not taken


def adopt(folder: Path) -> None:
    """Close what a dead process left open."""
    left = folder / CURRENT
    if left.exists():
        number = max((int(file.name) for file in segments(folder)), default=0) + 1
        left.rename(folder / f"{number:06}")


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # shipped meanwhile
        return 0

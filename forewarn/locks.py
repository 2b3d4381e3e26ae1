"""Locks between processes of one machine: whoever dies lets go of them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Lock:
    """A file that one process at a time may hold."""

    def __init__(self, path: Path):
        self._path = path
        self._held: int | None = None

    def take(self, *, wait: bool = False) -> bool:
        """Whether it is ours now."""
        if self._held is not None:
            return True
        found = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(found, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(found)
            return False
        self._held = found
        return True

    def free(self) -> None:
        """Let go of it."""
        if self._held is not None:
            os.close(self._held)
            self._held = None


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Alone, for the length of the block."""
    lock = Lock(path)
    lock.take(wait=True)
    try:
        yield
    finally:
        lock.free()

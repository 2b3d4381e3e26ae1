"""Processes that run beside the cluster for as long as `forewarn up` does: each is begun again should it end."""

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)
AGAIN_SECONDS = 5.0


class KeptUp:
    """One of them, watched by a thread."""

    def __init__(self, module: str):
        self._module, self._over = module, threading.Event()
        self.process = self._begun()
        self._watching = threading.Thread(target=self._watch, daemon=True, name=f"keeps {module} up")
        self._watching.start()

    def stop(self) -> None:
        """For good."""
        self._over.set()
        while self._watching.is_alive():  # it may be beginning the next one just now
            self.process.terminate()
            self._watching.join(timeout=0.1)

    def _begun(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", self._module]  # a module of ours, named in the code
        return subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603

    def _watch(self) -> None:
        while True:
            code = self.process.wait()
            if self._over.is_set():
                return
            log.error("%s ended with %s; begun again in %g s", self._module, code, AGAIN_SECONDS)
            if self._over.wait(AGAIN_SECONDS):
                return
            self.process = self._begun()


@contextmanager
def kept_up(module: str) -> Iterator[KeptUp]:
    """`python -m module`, for the length of the block."""
    kept = KeptUp(module)
    try:
        yield kept
    finally:
        kept.stop()

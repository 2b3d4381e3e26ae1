"""A run of the schedule as a process: in a session of its own, with a log of its own, and a time limit."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from jobs.due import Due, Entry

# Ctrl-C first, upon which a command takes down what it has started, such as a Ray of its own.
END = timedelta(seconds=20)
MOST_SAID = 2000
# Of a log, where its last line is looked for.
TAIL_BYTES = 256 * 2**10


class Errand:
    """One of them, under way or over."""

    def __init__(self, entry: Entry, due: Due, process: subprocess.Popen[bytes], log: Path, began: datetime):
        self.entry, self.due, self.process = entry, due, process
        self._log, self._began = log, began
        self.ended: datetime | None = None
        self._asked: datetime | None = None
        self._why = ""
        self._cut = False

    @classmethod
    def begin(
        cls, entry: Entry, due: Due, program: Sequence[str], environment: Mapping[str, str], folder: Path, at: datetime
    ) -> "Errand":
        """Start it; all that it prints goes to NAME-DUE.log, for its owner alone.

        Raises:
            OSError: it cannot be started.
        """
        log = folder / f"{due.name.replace(':', '.')}-{due.due:%Y%m%dT%H%M%SZ}.log"
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as out:
            process = subprocess.Popen(  # noqa: S603 - words of schedule.yaml, and no shell
                [*program, *entry.words], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                start_new_session=True, env=dict(environment), preexec_fn=_heeds_ctrl_c,
            )  # fmt: skip
        return cls(entry, due, process, log, at)

    def tend(self, *, at: datetime) -> None:
        """End it where it has taken too long; kill it, and what is left of it, where it was asked to end."""
        if at - self._began > self.entry.limit:
            minutes = self.entry.limit.total_seconds() / 60
            self.stop(f"ended after {minutes:g} minutes, the most it may take", at=at)
        if self._asked and self.ended is None and (self.over or at - self._asked > END):
            self.kill()
        if self.ended is None and self.over:
            self.ended = at

    def stop(self, why: str, *, at: datetime, cut: bool = False) -> None:
        """Ask it to end, once.

        Args:
            cut: the fault is not its own, so that it may be run again.
        """
        if self._asked is None and self.process.poll() is None:
            self._asked, self._why, self._cut = at, why, cut
            self._signal(signal.SIGINT)

    def kill(self) -> None:
        """Without asking, and whatever it has started in its session."""
        self._signal(signal.SIGKILL)

    @property
    def over(self) -> bool:
        """Whether it has ended, of itself or not."""
        return self.process.poll() is not None

    @property
    def good(self) -> bool:
        """Whether it came to an end that the schedule takes for one."""
        return self.process.returncode in self.entry.good_codes

    @property
    def cut(self) -> bool:
        """Whether it was ended before it could come to one, for no fault of its own."""
        return self._cut and not self.good

    @property
    def code(self) -> int | None:
        """To be noted; none where it was cut short."""
        return None if self.cut else self.process.returncode

    def said(self) -> str:
        """Why it was ended, or the last line that it printed; of a good one the last that is JSON."""
        if self._why and not self.good:
            return self._why
        told = [line.strip() for line in self._tail().splitlines() if line.strip()]
        results = [line for line in told if line.startswith("{")] if self.good else []
        return (results or told or [""])[-1][:MOST_SAID]

    def _tail(self) -> str:
        """A database keeps no NUL, and the log may have been cleared away."""
        try:
            with self._log.open("rb") as log:
                log.seek(max(0, self._log.stat().st_size - TAIL_BYTES))
                return log.read().decode(errors="replace").replace("\0", "")
        except OSError:
            return ""

    def _signal(self, number: signal.Signals) -> None:
        """To the whole session, as a terminal does it."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def _heeds_ctrl_c() -> None:
    """Whoever starts a scheduler in the background of a shell starts it with Ctrl-C ignored, and its children inherit
    that: nothing could end them but a kill.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)

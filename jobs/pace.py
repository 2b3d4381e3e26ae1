"""How a batch job gets on: what it shows meanwhile, and how fast it was."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic, time

import pyarrow as pa
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from jobs import terminal
from jobs.stream import since_of

SAY_SECONDS = 10.0

Tell = Callable[[int], None]


class Pace:
    """How long a job took. Ray and its actors take longer to start than a million rows, so the work is told apart."""

    def __init__(self) -> None:
        self._began = self._connected = self._ended = time()
        self._worked = math.inf
        self._rows = 0

    def connected(self) -> None:
        """Ray is there."""
        self._connected = time()

    def noting(self, blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The actors' blocks, and note since when the first of them works. They are handed on in order, and may have
        been done long before, so when one comes tells nothing.
        """
        for block in blocks:
            self._worked = min(self._worked, since_of(block))
            yield block

    def ended(self, rows: int) -> None:
        """So many rows, and the output is whole."""
        self._ended, self._rows = time(), rows

    @property
    def seconds(self) -> float:
        """From the first to the last."""
        return self._ended - self._began

    def told(self) -> dict[str, float]:
        """In seconds, and rows per second: with all it takes to start, and since an actor began with its first part
        until the output was whole.
        """
        worked = min(self._worked, self._ended)  # where an earlier attempt had done all the work
        return {
            "seconds": round(self.seconds, 3),
            "seconds_to_connect": round(self._connected - self._began, 3),
            "seconds_to_start": round(worked - self._began, 3),
            "rows_per_second": round(self._rows / self.seconds, 1),
            "rows_per_second_once_started": round(self._rows / max(self._ended - worked, 1e-3), 1),
        }


@contextmanager
def progress(before: int = 0) -> Iterator[Tell]:
    """Rows so far and rows per second; a line now and then where there is no terminal to draw on. `before`: rows that
    an earlier attempt did.
    """
    shown = TextColumn("Scoring: {task.completed:,.0f} rows, {task.fields[rate]:,.0f}/s")
    began = said = monotonic()
    with Progress(SpinnerColumn(), shown, TimeElapsedColumn(), console=terminal.console, transient=True) as progress:
        bar = progress.add_task("score", total=None, rate=0.0)

        def tell(rows: int) -> None:
            nonlocal said
            now = monotonic()
            progress.update(bar, completed=rows, rate=(rows - before) / (now - began))
            if not terminal.console.is_terminal and now - said >= SAY_SECONDS:
                said = now
                terminal.console.print(f"  {rows:,} rows, {(rows - before) / (now - began):,.0f}/s")

        yield tell

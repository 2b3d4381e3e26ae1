"""How a batch job gets on: what it shows meanwhile, and how fast it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from jobs import terminal

SAY_SECONDS = 10.0

Tell = Callable[[int], None]


class Pace:
    """When rows came. Starting takes as long as a million rows, so it is told apart."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._began = self._connected = self._ended = monotonic()
        self._came: list[tuple[int, float]] = []

    def connected(self) -> None:
        """Ray is there."""
        self._connected = monotonic()

    def came(self, rows: int) -> None:
        """So many are written by now."""
        self._came = [*self._came[: self._workers], (rows, monotonic())]

    def ended(self) -> None:
        """The output is whole."""
        self._ended = monotonic()

    @property
    def seconds(self) -> float:
        """From the first to the last."""
        return self._ended - self._began

    def told(self) -> dict[str, float | None]:
        """In seconds, and rows per second: of all, and of those that were begun after the first ones came, for that is
        what a longer file has; null where there were none.
        """
        first, last = self._came[0], self._came[-1]
        begun = self._came[: self._workers][-1]
        steady = (last[0] - begun[0]) / (self._ended - first[1])
        return {
            "seconds": round(self.seconds, 3),
            "seconds_to_connect": round(self._connected - self._began, 3),
            "seconds_to_first_rows": round(first[1] - self._began, 3),
            "rows_per_second": round(last[0] / self.seconds, 1),
            "rows_per_second_once_started": round(steady, 1) or None,
        }


@contextmanager
def progress() -> Iterator[Tell]:
    """Rows so far and rows per second; a line now and then where there is no terminal to draw on."""
    shown = TextColumn("Scoring: {task.completed:,.0f} rows, {task.fields[rate]:,.0f}/s")
    began = said = monotonic()
    with Progress(SpinnerColumn(), shown, TimeElapsedColumn(), console=terminal.console, transient=True) as progress:
        bar = progress.add_task("score", total=None, rate=0.0)

        def tell(rows: int) -> None:
            nonlocal said
            now = monotonic()
            progress.update(bar, completed=rows, rate=rows / (now - began))
            if not terminal.console.is_terminal and now - said >= SAY_SECONDS:
                said = now
                terminal.console.print(f"  {rows:,} rows, {rows / (now - began):,.0f}/s")

        yield tell

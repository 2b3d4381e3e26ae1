"""What people see while they wait: one line a step, a bar for the search, one sentence for an error."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import typer
from pydantic import ValidationError as SettingsError
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from forewarn.errors import CannotStart, ForewarnError

# Progress goes to stderr, so that stdout carries results alone and can be piped.
console = Console(stderr=True, highlight=False)
out = Console(highlight=False)


class Watch:
    """Shows a training as it goes: a tick a step, a bar for the search."""

    @contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """A spinner while it lasts, then a tick with the seconds it took."""
        began = monotonic()
        with console.status(f"{doing} …"):
            yield
        console.print(f"[green]✓[/] {doing} [dim]({monotonic() - began:.0f} s)[/]")

    @contextmanager
    def searching(self, metric: str, trials: int, *, larger_is_better: bool) -> Iterator[Callable[[float, bool], None]]:
        """Trials ended, the best so far, the time spent; a line a trial where there is no terminal to draw on."""
        best: list[float] = []
        wins = max if larger_is_better else min
        with _bar(metric) as progress:
            bar = progress.add_task("search", total=trials, best="–")

            def tell(score: float, whole: bool) -> None:
                best[:] = [wins([score, *best])] if whole else best
                progress.update(bar, advance=1, best=f"{best[0]:.3f}" if best else "–")
                if not console.is_terminal:
                    console.print(f"  trial ended: {metric} {score:.4f}{'' if whole else ', stopped early'}")

            yield tell
            done, seconds = progress.tasks[0].completed, progress.tasks[0].elapsed or 0
        console.print(f"[green]✓[/] Searching: {done:.0f} trials [dim]({seconds:.0f} s)[/]")


def _bar(metric: str) -> Progress:
    best = TextColumn(f"trials, best {metric} {{task.fields[best]}}")
    columns = (
        SpinnerColumn(),
        TextColumn("Searching"),
        BarColumn(),
        MofNCompleteColumn(),
        best,
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True)


def complain(error: ForewarnError) -> None:
    """One sentence, no traceback."""
    console.print(f"[bold red]✗[/] {escape(str(error))}", soft_wrap=True)


def command(function: Callable[..., None]) -> None:
    """Run one command as a program of its own: `python -m jobs.train …`."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(function)
    run(app)


def run(app: typer.Typer) -> None:
    """Run a command line; what Forewarn says no to becomes one sentence and exit code 1."""
    try:
        app()
    except ForewarnError as error:
        complain(error)
        sys.exit(1)
    except SettingsError as error:
        first = error.errors()[0]
        complain(
            CannotStart(f"FOREWARN_{'_'.join(map(str, first['loc'])).upper()}: {first['msg']}, got {first['input']!r}")
        )
        sys.exit(1)

"""Whether people who are asked about now are still like those that the champion learned from.

    forewarn drift USE_CASE --days 7 --output reports/drift

Three windows of the ledger's rows, of seven days and a day apart, are held against the package's own reference. What
has moved in the newest and in another of them is an alarm; what has moved once is to be watched. An alarm goes out over
the channels of docs/alerts.md, and the report to MLflow beside the versions. Exits 3 on an alarm, for a scheduler to
see.
"""

import sys
from collections import Counter
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import orjson
import typer
from rich.table import Table

from forewarn import scoring, sources, usecases
from forewarn.errors import BadInput
from forewarn.ledger import windows
from forewarn.ledger.records import Recorder
from forewarn.ledger.store import Ledger
from forewarn.package import ModelPackage
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from jobs import evidently_report, pages, terminal, versions, watching
from jobs.pages import ONE, OTHER

if TYPE_CHECKING:
    from forewarn.drift import Comparison, Shift

ALARM_EXIT = 3
WINDOWS, LEAST = 3, 2
# Fewer rows say nothing of forty fields.
MIN_ROWS = 30
SHOWN = 8
COLOURS = {"drift": "red", "watch": "yellow", "none": "green"}


def drift(
    use_case: Annotated[str, typer.Argument(help="Which use case; `forewarn status` lists them.")],
    days: Annotated[
        float, typer.Option(min=1e-4, help="How long a window is; three are looked at, a seventh apart.")
    ] = 7.0,
    data: Annotated[str | None, typer.Option(help="Rows of a file or URI instead of the ledger's.")] = None,
    version: Annotated[str | None, typer.Option(help="Whose reference; else the champion's.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for the page and its JSON.")] = Path("reports/drift"),
    watch: Annotated[float, typer.Option(min=0, help="Index from which on a field is to be watched.")] = 0.1,
    limit: Annotated[float, typer.Option(min=0, help="Index from which on a field has drifted.")] = 0.25,
    further: Annotated[
        str, typer.Option("--report", help="evidently: its report too, beside --reference (extra [monitor]).")
    ] = "",
    reference: Annotated[str, typer.Option(help="For Evidently: the rows to compare with, a file or URI.")] = "",
) -> None:
    """Hold the newest rows against what the champion learned from, and say which fields have moved.

    Example: forewarn drift USE_CASE --days 7 --output reports/drift
    """
    case, settings, now = usecases.get(use_case), Settings(), datetime.now(UTC)
    _refuse_other(further, reference)
    package = versions.open_version(case, version, settings)
    windows = Windows(package, settings, (watch, limit))
    found = windows.of_file(data) if data else windows.of_ledger(days, now)
    if not found:
        _nothing(case, days)
        return
    told = report(package, found, now) | {"rejected": windows.rejected}
    files = write(told, found[-1], output)
    if further:
        files.append(evidently_report.write(case, reference, windows.newest, output))
    _show(told)
    if not data:  # somebody's file is no state of the service
        watching.drifted(case, settings, told, files, at=now)
    terminal.console.print(f"[green]✓[/] {', '.join(map(str, files))}", soft_wrap=True)
    print(orjson.dumps({**told, "files": [str(file) for file in files]}).decode())
    if told["alarms"]:
        sys.exit(ALARM_EXIT)


def report(package: ModelPackage, found: "list[Comparison]", now: datetime) -> dict[str, Any]:
    """The newest window, field by field, and which of the fields are an alarm."""
    from forewarn.drift import is_alarm  # SciPy takes half a second to import

    newest = found[-1]
    alarms = [one.field for one in newest.moved if is_alarm(_moved(found, one.field), of=WINDOWS, least=LEAST)]
    if len(found) == 1:  # a file is a window of its own, and there is none to wait for
        alarms = [one.field for one in newest.moved if one.level == "drift"]
    made_of = _made_of(package)
    alarms = [name for name in alarms if not made_of.get(name, set()).intersection(alarms)]  # told by these already
    return {
        "use_case": package.case.name,
        "title": package.case.title,
        "version": package.version,
        "written": now.isoformat(timespec="seconds"),
        "rows": newest.rows,
        "reference_rows": newest.reference_rows,
        "windows": [_told(one) for one in found],
        "level": newest.level,
        "alarms": alarms,
        "fields": [asdict(one) for one in _ordered(newest)],
        "broken": {one.field: list(one.broken) for one in newest.every if one.broken},
    }


def _told(window: "Comparison") -> dict[str, Any]:
    return {"rows": window.rows, "level": window.level, "moved": [one.field for one in window.moved]}


def write(told: dict[str, Any], newest: "Comparison", folder: Path) -> list[Path]:
    """A page that needs nothing else, and the same as JSON."""
    base = folder / f"drift-{told['use_case']}-{told['written'][:10]}"
    return pages.write("drift.html.jinja", told, base, picture=picture(newest))


def picture(newest: "Comparison") -> str:
    """The fields that moved most, what was expected beside what was found; base64 PNG."""
    shown = _ordered(newest)[:SHOWN]
    figure, grid = pages.canvas(4, 2, (13, 6))
    for axes, one in zip(grid.flat, shown, strict=False):
        places = range(len(one.bins))
        axes.bar([place - 0.2 for place in places], one.expected, width=0.4, color=OTHER, label="learned from")
        axes.bar([place + 0.2 for place in places], one.found, width=0.4, color=ONE, label="now")
        axes.set_xticks(list(places), [name[:14] for name in one.bins], rotation=70, fontsize=7)
        axes.set_title(f"{one.field[:28]}\nPSI {one.psi:.3f}, chance {one.floor:.3f}: {one.level}", fontsize=9)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    grid.flat[0].legend(frameon=False, fontsize=8)
    return pages.png(figure)


class Windows:
    """Stretches of rows, each held against the package's reference.

    Attributes:
        newest: the validated rows of the newest; rejected: why rows of a file could not be read, and how many.
    """

    def __init__(self, package: ModelPackage, settings: Settings, limits: tuple[float, float]):
        self._package, self._settings, self._limits = package, settings, limits
        self.newest: list[Any] = []
        self.rejected: dict[str, int] = {}

    def of_ledger(self, days: float, now: datetime) -> "list[Comparison]":
        """Windows of so many days, a seventh of that apart, the newest last; one of too few rows is none."""
        case, found = self._package.case, []
        recorder, length = Recorder.of(case, self._settings), timedelta(days=days)
        with closing(Ledger.open(self._settings)) as ledger:
            late = now - max(length, timedelta(days=case.horizon_days)) - length
            labels = [one.label for one in windows.known(ledger, recorder, case, since=late, until=now, at=now)]
            for back in reversed(range(WINDOWS)):
                until = now - back * length / 7
                rows, scores, _ = windows.answered(ledger, recorder, case, since=until - length, until=until)
                if len(rows) >= MIN_ROWS:
                    found.append(self._compared(rows, scores, labels if not back else []))
        return found

    def of_file(self, data: str) -> "list[Comparison]":
        """One window; with its labels, where the file has them.

        Raises:
            BadInput: too few rows are valid.
        """
        case = self._package.case
        raw = sources.load(data, case)
        rows, wrong = scoring.sift(case, raw)
        reasons = Counter(str(error).splitlines()[0] for error in wrong.values())
        self.rejected = dict(reasons.most_common(SHOWN))
        if len(rows.values) < MIN_ROWS:
            raise BadInput(f"--data: {len(rows.values)} of {len(raw)} rows are valid; give at least {MIN_ROWS}")
        labels = [case.task.outcome(row[case.target]) for row in raw if row.get(case.target) is not None]
        return [self._compared(rows.values, scoring.score(self._package, rows.values).values, labels)]

    def _compared(self, rows: list[Any], scores: Any, labels: list[float]) -> "Comparison":
        from forewarn.drift import Limits, compare

        package, (watch, limit) = self._package, self._limits
        self.newest = rows
        told = np.array(labels) if len(labels) >= MIN_ROWS else None
        derived = package.features.derived_of(package.features.matrix(rows))
        importance = dict(package.evidence.get("importance", {}))
        importance |= {name: max((importance.get(one, 0.0) for one in parts), default=0.0)
                       for name, parts in _made_of(package).items()}  # fmt: skip
        return compare(package.case, package.reference, rows, scores, importance, derived=derived, labels=told,
                       limits=Limits(watch=watch, drift=limit))  # fmt: skip


def _made_of(package: ModelPackage) -> dict[str, set[str]]:
    """Feature → the fields that it is derived of."""
    features, spec = package.features, package.case.spec
    told = {
        name: {spec[one].wire for one in parts} for name, parts in zip(features.names, features.sources, strict=True)
    }
    return {name: told[name] for name in features.derived}


def _nothing(case: UseCase, days: float) -> None:
    """That nobody asked is no failure of a job that runs every day."""
    why = f"fewer than {MIN_ROWS} rows were answered in {days:g} days; look at a longer time with --days, or at a file"
    terminal.console.print(f"[bold]{case.name}[/]: {why}", soft_wrap=True)
    print(orjson.dumps({"use_case": case.name, "level": "unknown", "why": why}).decode())


def _refuse_other(further: str, reference: str) -> None:
    if further not in ("", "evidently"):
        raise BadInput(f"--report {further}: there is evidently, or none")
    if further and not reference:
        raise BadInput("--reference: Evidently compares rows with rows, and a package keeps none; name the file that "
                       "it was trained on")  # fmt: skip
    if further:
        evidently_report.refuse_missing()


def _moved(found: "list[Comparison]", field: str) -> list[bool]:
    return [field in {one.field for one in window.moved} for window in found]


def _ordered(newest: "Comparison") -> "list[Shift]":
    """What moved first, the most important of it before the others; then the rest by its index."""
    rest = [one for one in newest.every if one.level == "none"]
    return [*newest.moved, *sorted(rest, key=lambda one: -one.psi)]


def _show(told: dict[str, Any]) -> None:
    title = f"{told['use_case']} {told['version']}, {told['rows']:,} rows"
    table = Table("field", "PSI", "chance", "importance", "", title=title)
    for one in told["fields"][:SHOWN]:
        alarm = " [bold]alarm[/]" if one["field"] in told["alarms"] else ""
        state = f"[{COLOURS[one['level']]}]{one['level']}[/]{alarm}"
        table.add_row(one["field"], f"{one['psi']:.3f}", f"{one['floor']:.3f}", f"{one['importance']:.0%}", state)
    terminal.console.print(table)
    for reason, count in told["rejected"].items():
        terminal.console.print(f"  {count} rows rejected: {reason}", markup=False, soft_wrap=True)
    for field, said in told["broken"].items():
        terminal.console.print(f"  {field}: {'; '.join(said)}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    terminal.command(drift)

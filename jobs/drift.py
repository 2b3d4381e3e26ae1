"""Whether people who are asked about now are still like those that the champion learned from.

    forewarn drift USE_CASE --days 7 --output reports/drift

Three windows of the ledger's rows, a day apart, are held against the package's own reference. What has moved in the
newest and in another of them is an alarm; what has moved once is to be watched. Exits 3 on an alarm, for a scheduler to
see.
"""

import io
import sys
from base64 import b64encode
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.table import Table

from forewarn import scoring, sources, usecases
from forewarn.errors import BadInput
from forewarn.ledger import windows
from forewarn.ledger.records import Recorder
from forewarn.ledger.store import Ledger
from forewarn.package import ModelPackage
from forewarn.settings import Settings
from jobs import evaluate, terminal

if TYPE_CHECKING:
    from forewarn.drift import Comparison, Shift

HERE = Path(__file__).parent
ALARM_EXIT = 3
WINDOWS, LEAST = 3, 2
# Fewer rows say nothing of forty fields.
MIN_ROWS = 30
SHOWN = 8
ONE, OTHER = "#b2182b", "#2166ac"
COLOURS = {"drift": "red", "watch": "yellow", "none": "green"}


def drift(
    use_case: Annotated[str, typer.Argument(help="Which use case; `forewarn status` lists them.")],
    days: Annotated[float, typer.Option(min=0.01, help="How long a window is.")] = 7.0,
    data: Annotated[str | None, typer.Option(help="Rows of a file or URI instead of the ledger's.")] = None,
    version: Annotated[str | None, typer.Option(help="Whose reference; else the champion's.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for the page and its JSON.")] = Path("reports/drift"),
) -> None:
    """Hold the newest rows against what the champion learned from, and say which fields have moved.

    Example: forewarn drift USE_CASE --days 7 --output reports/drift
    """
    case, settings, now = usecases.get(use_case), Settings(), datetime.now(UTC)
    package = evaluate.open_version(case, version, settings)
    found = _of_file(package, data) if data else _of_ledger(package, settings, days, now)
    told = report(package, found, now)
    files = write(told, found[-1], output)
    _show(told)
    terminal.console.print(f"[green]✓[/] {', '.join(map(str, files))}", soft_wrap=True)
    print(orjson.dumps({**told, "files": [str(file) for file in files]}).decode())
    if told["alarms"]:
        sys.exit(ALARM_EXIT)


def report(package: ModelPackage, found: "list[Comparison]", now: datetime) -> dict[str, Any]:
    """The newest window, field by field, and which of the fields are an alarm."""
    from forewarn.drift import is_alarm  # SciPy takes half a second to import

    newest = found[-1]
    alarms = [one.field for one in newest.moved if is_alarm(_windows(found, one.field), of=WINDOWS, least=LEAST)]
    if len(found) == 1:  # a file is a window of its own, and there is none to wait for
        alarms = [one.field for one in newest.moved if one.level == "drift"]
    return {
        "use_case": package.case.name,
        "title": package.case.title,
        "version": package.version,
        "written": now.isoformat(timespec="seconds"),
        "rows": newest.rows,
        "reference_rows": newest.reference_rows,
        "windows": [
            {"rows": one.rows, "level": one.level, "moved": [shift.field for shift in one.moved]} for one in found
        ],
        "level": newest.level,
        "alarms": alarms,
        "fields": [asdict(one) for one in _ordered(newest)],
        "broken": {one.field: list(one.broken) for one in newest.fields if one.broken},
    }


def _told(window: "Comparison") -> dict[str, Any]:
    return {"rows": window.rows, "level": window.level, "moved": [one.field for one in window.moved]}


def write(told: dict[str, Any], newest: "Comparison", folder: Path) -> list[Path]:
    """A page that needs nothing else, and the same as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / f"drift-{told['use_case']}-{told['written'][:10]}"
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("drift.html.jinja").render(r=told, picture=picture(newest))
    files = {base.with_suffix(".html"): page.encode(), base.with_suffix(".json"): orjson.dumps(told)}
    for file, content in files.items():
        file.write_bytes(content)
    return list(files)


def picture(newest: "Comparison") -> str:
    """The fields that moved most, what was expected beside what was found; base64 PNG."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    shown = _ordered(newest)[:SHOWN]
    figure, grid = plt.subplots(2, 4, figsize=(13, 6), layout="constrained")
    for axes, one in zip(grid.flat, shown, strict=False):
        places = range(len(one.bins))
        axes.bar([place - 0.2 for place in places], one.expected, width=0.4, color=OTHER, label="learned from")
        axes.bar([place + 0.2 for place in places], one.found, width=0.4, color=ONE, label="now")
        axes.set_xticks(list(places), [name[:14] for name in one.bins], rotation=70, fontsize=7)
        axes.set_title(f"{one.field[:28]}\nPSI {one.psi:.3f}, chance {one.floor:.3f}: {one.level}", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    grid.flat[0].legend(frameon=False, fontsize=8)
    held = io.BytesIO()
    figure.savefig(held, dpi=100)
    plt.close(figure)
    return b64encode(held.getvalue()).decode()


def _of_ledger(package: ModelPackage, settings: Settings, days: float, now: datetime) -> "list[Comparison]":
    """Windows of so many days, a day apart, the newest last; one of too few rows is none."""
    recorder, length = Recorder.of(package.case, settings), timedelta(days=days)
    found = []
    with closing(Ledger.open(settings)) as ledger:
        for back in reversed(range(WINDOWS)):
            until = now - timedelta(days=back)
            rows, scores, _ = windows.answered(ledger, recorder, package.case, since=until - length, until=until)
            if len(rows) >= MIN_ROWS:
                found.append(_compared(package, rows, scores))
    if not found:
        raise BadInput(
            f"{package.case.name}: fewer than {MIN_ROWS} rows were answered in {days:g} days; look at a longer time "
            "with --days, or at a file with --data"
        )
    return found


def _of_file(package: ModelPackage, data: str) -> "list[Comparison]":
    raw = sources.load(data, package.case)
    rows, _ = scoring.sift(package.case, raw)
    if len(rows.values) < MIN_ROWS:
        raise BadInput(f"--data: {len(rows.values)} of {len(raw)} rows are valid; give at least {MIN_ROWS}")
    return [_compared(package, rows.values, scoring.score(package, rows.values).values)]


def _compared(package: ModelPackage, rows: list[Any], scores: Any) -> "Comparison":
    from forewarn.drift import compare

    importance = package.evidence.get("importance", {})
    return compare(package.case, package.reference, rows, scores, importance)


def _windows(found: "list[Comparison]", field: str) -> list[bool]:
    return [field in {one.field for one in window.moved} for window in found]


def _ordered(newest: "Comparison") -> "list[Shift]":
    """What moved first, the most important of it before the others; then the rest by its index."""
    rest = [one for one in (*newest.fields, newest.score) if one.level == "none"]
    return [*newest.moved, *sorted(rest, key=lambda one: -one.psi)]


def _show(told: dict[str, Any]) -> None:
    title = f"{told['use_case']} {told['version']}, {told['rows']:,} rows"
    table = Table("field", "PSI", "chance", "importance", "", title=title)
    for one in told["fields"][:SHOWN]:
        alarm = " [bold]alarm[/]" if one["field"] in told["alarms"] else ""
        state = f"[{COLOURS[one['level']]}]{one['level']}[/]{alarm}"
        table.add_row(one["field"], f"{one['psi']:.3f}", f"{one['floor']:.3f}", f"{one['importance']:.0%}", state)
    terminal.console.print(table)
    for field, said in told["broken"].items():
        terminal.console.print(f"  {field}: {'; '.join(said)}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    terminal.command(drift)

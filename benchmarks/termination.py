"""Year by year beside the years that a version learned from: what moved, what the version is estimated to be worth, and
what it turned out to be worth.

    python -m benchmarks.termination mfg_termination.csv --learn 2006-2010

The public set "MFG 10-year termination" has a row for each employee and year. Until 2010 most who leave retire; from
2011 on young people resign, and in 2014 layoffs begin: the rows hardly change, and what they mean does.
"""

import csv
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import orjson
import typer
from rich.console import Console
from rich.table import Table

from forewarn import degradation, scoring, usecases
from forewarn.drift import Comparison, compare, is_alarm
from forewarn.package import ModelPackage
from forewarn.registry import Registry
from forewarn.settings import PROJECT, Settings
from jobs import cluster, pages, realised, train

if TYPE_CHECKING:
    from forewarn.usecase import UseCase

CASES = Path(__file__).parent / "use_cases"
PICTURE = PROJECT / "docs" / "pictures" / "drift-by-year.png"
YEAR = "STATUS_YEAR"
Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Year:
    """One year's rows beside the version."""

    year: int
    learned: bool
    comparison: Comparison
    standing: degradation.Standing
    alarms: tuple[str, ...]

    @property
    def alarmed(self) -> bool:
        """Whether somebody is told."""
        return bool(self.alarms) or self.standing.level == "degraded"

    @property
    def auc(self) -> degradation.Compared:
        """The metric in question."""
        return self.standing.metrics[0]


def main(
    file: Annotated[Path, typer.Argument(help="mfg_termination.csv, or another file of its columns.")],
    learn: Annotated[str, typer.Option(help="Years to learn from.")] = "2006-2010",
    trials: Annotated[int, typer.Option(help="Trials of the search.")] = 40,
    seconds: Annotated[float, typer.Option(help="Its budget.")] = 60.0,
    picture: Annotated[bool, typer.Option(help="Draw docs/pictures/drift-by-year.png anew.")] = False,
) -> None:
    """Learn from some years, and look at each."""
    years, first, last = by_year(file), *map(int, learn.split("-"))
    case = further_case()
    raw = [row for year in sorted(years) if first <= year <= last for row in years[year]]
    with TemporaryDirectory() as home:
        package = trained(case, raw, Settings(home=Path(home)), trials=trials, seconds=seconds)
    found = look(case, package, years, learned=range(first, last + 1))
    show(found)
    if picture:
        draw(found, PICTURE)
    print(orjson.dumps([told(one) for one in found]).decode())


def further_case() -> "UseCase":
    """The use case of this file beside those that are shipped."""
    os.environ["FOREWARN_USE_CASES"] = str(CASES)
    usecases.every.cache_clear()
    return usecases.get("termination")


def by_year(file: Path) -> dict[int, Rows]:
    """The rows of each year."""
    found: dict[int, Rows] = defaultdict(list)
    with file.open(newline="", encoding="utf-8-sig") as lines:
        for row in csv.DictReader(lines):
            found[int(row[YEAR])].append(row)
    return dict(found)


def trained(case: "UseCase", raw: Rows, settings: Settings, *, trials: int, seconds: float) -> ModelPackage:
    """A version that learned from these rows."""
    with cluster.connected(settings):
        made = train.run(
            case, raw, {"name": "mfg_termination"}, settings, train.Wishes(trials=trials, budget_s=seconds)
        )
    train.say(made)
    return ModelPackage.load(case, Registry(settings).fetch(case, made.version), version=made.version)


def look(case: "UseCase", package: ModelPackage, years: Mapping[int, Rows], *, learned: Sequence[int]) -> list[Year]:
    """Each year as a window; a field is an alarm where it moved in two of three."""
    found: list[Year] = []
    for year in sorted(years):
        known = scoring.labelled(case, years[year])
        scores = scoring.score(package, known.rows).values
        derived = package.features.derived_of(package.features.matrix(known.rows))
        comparison = compare(case, package.reference, known.rows, scores, package.evidence["importance"],
                             derived=derived, labels=known.labels)  # fmt: skip
        windows = [*(one.comparison for one in found), comparison]
        alarms = [one.field for one in comparison.moved
                  if is_alarm([one.field in {m.field for m in window.moved} for window in windows])]  # fmt: skip
        found.append(Year(year=year, learned=year in learned, comparison=comparison, alarms=tuple(alarms),
                          standing=_standing(package, known.labels, scores)))  # fmt: skip
    return found


def _standing(package: ModelPackage, labels: Any, scores: Any) -> degradation.Standing:
    baseline = {name: found["mean"] for name, found in package.metadata["metrics"].items()}
    case = package.case
    compared = degradation.compare_to_baseline(
        case.task, baseline, realised.measured(package, labels, scores), realised.estimated(package, scores)
    )
    return degradation.check_thresholds(case.task, compared, case.watching, outcomes=len(labels))


def told(one: Year) -> dict[str, Any]:
    """As JSON."""
    realised_, estimated = one.auc.realised, one.auc.estimated
    return {
        "year": one.year,
        "learned": one.learned,
        "moved": [shift.field for shift in one.comparison.moved],
        "alarms": list(one.alarms),
        "level": one.standing.level,
        "alarm": one.alarmed,
        "baseline": one.auc.baseline,
        "realised": realised_ and realised_.value,
        "estimated": estimated and estimated.value,
        "error": realised_ and estimated and estimated.value - realised_.value,
    }


def show(found: Sequence[Year]) -> None:
    """A line a year."""
    table = Table("year", "rows", "gone", "moved (PSI)", "estimated", "realised", "error", "standing", "alarm")
    for one in found:
        said = told(one)
        moved = ", ".join(f"{shift.field} {shift.psi:.2f}" for shift in one.comparison.moved) or "–"
        gone = one.comparison.label.found[1] if one.comparison.label else float("nan")
        figures = [f"{said[name]:.3f}" if said[name] is not None else "–" for name in ("estimated", "realised")]
        error = f"{said['error']:+.3f}" if said["error"] is not None else "–"
        table.add_row(f"{one.year}{' (learned)' if one.learned else ''}", f"{one.comparison.rows:,}", f"{gone:.1%}",
                      moved, *figures, error, one.standing.level, "alarm" if one.alarmed else "")  # fmt: skip
    Console(width=150).print(table)
    first = next((one.year for one in found if one.alarmed), None)
    Console().print(f"first alarm: {first or 'none'}, written {datetime.now(UTC):%Y-%m-%d}")


def draw(found: Sequence[Year], path: Path) -> None:
    """What was estimated and what came true, over the years."""
    figure, grid = pages.canvas(1, 1, (8, 3.6))
    axes, years = grid[0, 0], [one.year for one in found]
    for name, colour, label in (
        ("realised", pages.ONE, "by outcomes"),
        ("estimated", pages.OTHER, "estimated without"),
    ):
        some = [(one.year, getattr(one.auc, name)) for one in found if getattr(one.auc, name)]
        values = np.array([[one.value, one.value - one.low, one.high - one.value] for _, one in some]).T
        axes.errorbar([year for year, _ in some], values[0], yerr=values[1:], color=colour, marker="o", label=label)
    axes.axhline(found[0].auc.baseline, color="black", linewidth=0.8, linestyle="--", label="in training")
    for one in found:
        if one.alarmed:
            axes.axvspan(one.year - 0.5, one.year + 0.5, color="#fddbc7", zorder=0)
    axes.set_xticks(years)
    axes.set_ylabel("ROC-AUC")
    axes.legend(frameon=False, loc="lower left")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    typer.run(main)

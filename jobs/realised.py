"""How good the versions that answered turned out to be, by the outcomes that are known; and how good they probably are
where none is. Beside it whether they treat groups alike, by what they said and by what came true.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from forewarn.errors import BadInput, NotFound
from forewarn.evidence import Estimate
from forewarn.ledger import windows
from forewarn.ledger.records import Recorder
from forewarn.ledger.store import Ledger
from forewarn.ledger.windows import Outcomes
from forewarn.package import ModelPackage
from forewarn.settings import Settings
from forewarn.tasks import Classification, Vector
from forewarn.usecase import UseCase
from jobs import pages, versions

SEED = 0
LEVELS = ("good", "unknown", "watch", "degraded")


def report(case: UseCase, settings: Settings, *, days: float, at: datetime) -> dict[str, Any]:
    """Every version that answered in so many days, the newest last.

    Raises:
        NotFound: none did.
        LedgerUnavailable, StateDamaged.
    """
    since, recorder = at - timedelta(days=days), Recorder.of(case, settings)
    with closing(Ledger.open(settings)) as ledger:
        known = windows.by_version(windows.known(ledger, recorder, case, since=since, until=at, at=at))
        found, gone = [], []
        for version in windows.versions(ledger, case, since=since, until=at):
            given = windows.answered(ledger, recorder, case, since=since, until=at, version=version)
            try:
                found.append(_version(case, settings, version, given, known.get(version, Outcomes())))
            except NotFound:  # it was taken out since; the others are measured all the same
                gone.append(version)
    if not found:
        raise NotFound(f"{case.name}: nothing was answered in {days:g} days; look at a longer time with --days")
    found.sort(key=lambda one: int(one["version"].removeprefix("v")))
    level = max((one["standing"]["level"] for one in found if one["serves"]), key=LEVELS.index, default="unknown")
    return {"use_case": case.name, "title": case.title, "metric": case.task.metric, "days": days, "level": level,
            "versions": found, "gone": gone, "written": at.isoformat(timespec="seconds")}  # fmt: skip


def write(told: dict[str, Any], folder: Path) -> list[Path]:
    """A page that needs nothing else, and the same as JSON."""
    base = folder / f"performance-{told['use_case']}-{told['written'][:10]}"
    return pages.write("performance.html.jinja", told, base, picture=picture(told))


def measured(package: ModelPackage, labels: Vector, scores: Vector) -> dict[str, Estimate]:
    """The metrics of known outcomes with their intervals; none where nothing can be measured on them."""
    from forewarn import intervals  # scikit-learn takes a second to import

    if len(labels) < 2:
        return {}
    try:
        return intervals.bootstrap(package.case.task, labels, scores, package.rule, seed=SEED)
    except BadInput:  # all labels are the same
        return {}


def estimated(package: ModelPackage, scores: Vector) -> dict[str, Estimate]:
    """The same without outcomes."""
    from forewarn.estimation import estimate

    known = [(float(said), float(came)) for said, came in package.evidence.get("forecasts", [])]
    return estimate(package.case.task, scores, package.rule, known, seed=SEED) if len(scores) else {}


def _version(
    case: UseCase, settings: Settings, version: str, given: tuple[list[Any], Vector, int], known: Outcomes
) -> dict[str, Any]:
    from forewarn import degradation

    package = versions.open_version(case, version, settings)
    rows, scores, answered = given
    labels, said = np.array(known.labels), np.array(known.scores)
    baseline = {name: found["mean"] for name, found in package.metadata["metrics"].items()}
    compared = degradation.compare_to_baseline(
        case.task, baseline, measured(package, labels, said), estimated(package, scores)
    )
    standing = degradation.check_thresholds(case.task, compared, case.watching, outcomes=len(labels))
    return {
        "version": version,
        "serves": version in _serving(case, settings),
        "answered": answered,
        "outcomes": len(labels),
        "standing": standing.told(),
        "fairness": _fairness(package, rows, scores, known),
    }


def _serving(case: UseCase, settings: Settings) -> list[str]:
    from forewarn.releases import Releases

    state = Releases(settings.packages).state(case)
    return [one for one in (state.champion, state.challenger) if one]


def _fairness(package: ModelPackage, rows: list[Any], scores: Vector, known: Outcomes) -> dict[str, Any]:
    """By what was said, of all rows; by what came true, of those of which it is known (S1-23)."""
    from forewarn import fairness

    case, rule = package.case, package.rule
    said = scores
    if isinstance(case.task, Classification):
        said = (scores >= rule["threshold"]).astype(float)
    told: dict[str, Any] = {
        "said": [asdict(one) for one in fairness.before(case, rows, said, seed=SEED)] if rows else []
    }
    if len(known.rows) > case.fairness.min_rows:
        found = fairness.report(case, known.rows, np.array(known.labels), np.array(known.scores), rule, seed=SEED)
        broken = [fairness.sentence(one) for one in found.breaches]
        told |= {"gaps": [asdict(one) for one in found.after], "overall": found.overall, "broken": broken,
                 "too_small": found.too_small}  # fmt: skip
    return told


def picture(told: Mapping[str, Any]) -> str:
    """Of each version: what it was in training, what outcomes show, what is estimated without; base64 PNG."""
    versions = told["versions"]
    figure, grid = pages.canvas(1, 1, (9, 1.4 + 0.7 * len(versions)))
    axes = grid[0, 0]
    for place, one in enumerate(versions):
        main = next((m for m in one["standing"]["metrics"] if m["metric"] == told["metric"]), None)
        if main:
            _drawn(axes, place, main, first=place == 0)
    axes.set_yticks(range(len(versions)), [f"{one['version']}, {one['outcomes']:,} outcomes" for one in versions])
    axes.set_ylim(-0.6, len(versions) - 0.4)
    axes.set_xlabel(told["metric"].replace("_", " "))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return pages.png(figure)


def _drawn(axes: Any, place: int, main: Mapping[str, Any], *, first: bool) -> None:
    axes.plot(main["baseline"], place, "|", color="black", markersize=22, label="in training" if first else None)
    for name, colour, by in (("realised", pages.ONE, 0.12), ("estimated", pages.OTHER, -0.12)):
        if one := main[name]:
            label = {"realised": "by outcomes", "estimated": "estimated without"}[name]
            axes.plot([one["low"], one["high"]], [place + by] * 2, color=colour, linewidth=2)
            axes.plot(one["value"], place + by, "o", color=colour, label=label if first else None)

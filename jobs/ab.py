"""The report of a release: both versions side by side, with intervals, outcomes and a picture; HTML and JSON."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from forewarn import performance
from forewarn.errors import NotFound
from forewarn.ledger.observed import observed
from forewarn.ledger.releases import History
from forewarn.ledger.store import Ledger
from forewarn.releases import Releases, ReleaseState, judge, sequential
from forewarn.releases.arms import Arm, Observed, Pairs
from forewarn.settings import Settings
from forewarn.tasks import Classification
from forewarn.usecase import UseCase
from jobs import pages
from jobs.pages import ONE, OTHER

BEGIN = ("start", "shadow")


def write(case: UseCase, settings: Settings, release: int | None, folder: Path) -> list[Path]:
    """The report of a release, as a page and as JSON.

    Raises:
        NotFound: there was no such release.
        LedgerUnavailable.
    """
    told = report(case, settings, release, at=datetime.now(UTC))
    seen: Observed = told.pop("seen")
    base = folder / f"release-{case.name}-{told['release']}"
    return pages.write("ab.html.jinja", told, base, picture=picture(case, seen, told["measures"]))


def report(case: UseCase, settings: Settings, release: int | None, *, at: datetime) -> dict[str, Any]:
    """Everything of it, and what was observed, under `seen`."""
    with closing(Ledger.open(settings)) as ledger:
        lines = History.of(settings, ledger).listed(case, most=10_000)[::-1]
        first, last = _bounds(case, lines, release)
        state = ReleaseState.of(first["state"])
        until = last["at"] if last else ""
        seen = observed(ledger, case, state, at=at, until=until)
    measures = judge.measure(case.task, seen, case.canary)
    within = [line for line in lines if line["number"] >= first["number"] and (not last or line["at"] <= last["at"])]
    return {
        "use_case": case.name,
        "title": case.title,
        "release": first["number"],
        "mode": seen.mode,
        "from": first["at"],
        "until": until or None,
        "share": state.share,
        "cohorts": state.told()["cohorts"],
        "arms": [_arm(case, seen.challenger, "challenger" if seen.mode == "canary" else "shadow"),
                 _arm(case, seen.champion, "champion")],
        "pairs": _pairs(case, seen.pairs),
        "outcomes": _outcomes(case, seen, Releases(settings.packages)),
        "measures": [asdict(one) for one in measures],
        "verdict": _verdict(case, seen) if last is None else _ended(last),
        "history": [{name: line[name] for name in ("number", "at", "actor", "act", "why")} for line in within],
        "written": at.isoformat(timespec="seconds"),
        "seen": seen,
    }  # fmt: skip


def _bounds(
    case: UseCase, lines: list[dict[str, Any]], release: int | None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The line that began the release, and the one that ended it; None while it goes on."""
    began = [line for line in lines if line["act"] in BEGIN and (release in (None, line["number"]))]
    began = [line for line in began if line["state"]["challenger"] or line["state"]["shadow"]]
    if not began:
        raise NotFound(f"{case.name}: no release {release or ''} has begun; `forewarn release history` lists them")
    first = began[-1]
    role = "challenger" if first["state"]["challenger"] else "shadow"
    later = [line for line in lines if line["number"] > first["number"]]
    ended = (line for line in later if line["state"][role] != first["state"][role])
    return first, next(ended, None)


def _arm(case: UseCase, arm: Arm, role: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "role": role,
        "version": arm.version,
        "answered": arm.answered,
        "failed": arm.failed,
        "error_rate": _share(arm.failed, arm.asked),
    }
    if len(arm.scores):
        told["mean_score"] = _mean(arm.scores)
        told["latency_ms"] = {str(q): float(np.quantile(arm.latency_ms, q)) for q in (0.5, 0.95, 0.99)}
    if len(arm.events) and isinstance(case.task, Classification):
        told["events"] = _share(int(arm.events.sum()), len(arm.events))
    return told


def _pairs(case: UseCase, pairs: Pairs) -> dict[str, Any]:
    """How far they agree on rows of which both have said something."""
    if len(pairs.one) < 2:
        return {"rows": len(pairs.one)}
    told: dict[str, Any] = {"rows": len(pairs.one), "mean_difference": _mean(pairs.one - pairs.other)}
    if pairs.one.std() > 0 and pairs.other.std() > 0:
        told["correlation"] = float(np.corrcoef(pairs.one, pairs.other)[0, 1])
    if isinstance(case.task, Classification):
        told["agreement"] = _share(int((pairs.one_events == pairs.other_events).sum()), len(pairs.one))
    return told


def _outcomes(case: UseCase, seen: Observed, releases: Releases) -> dict[str, Any]:
    """Metrics of both on the same rows, once their outcomes are known."""
    labels, pairs = seen.truth.labels, seen.truth.pairs
    told: dict[str, Any] = {"rows": seen.truth.rows}
    if len(labels) < 2 or (isinstance(case.task, Classification) and len(set(labels.tolist())) < 2):
        return told
    for role, version, scores in (("one", seen.challenger.version, pairs.one),
                                  ("other", seen.champion.version, pairs.other)):  # fmt: skip
        rule = releases.card(case, version)["rule"]
        told[role] = {"version": version, **performance.measure(case.task, labels, scores, rule)}
    return told


def _verdict(case: UseCase, seen: Observed) -> dict[str, Any]:
    verdict = judge.decide(case.task, seen, case.canary)
    return {"action": verdict.action, "why": verdict.why}


def _ended(last: Mapping[str, Any]) -> dict[str, Any]:
    return {"action": last["act"], "why": f"{last['actor']}: {last['why']}"}


def _share(count: int, rows: int) -> dict[str, Any]:
    low, high = sequential.wilson(count, rows)
    return {"value": count / rows if rows else None, "low": low, "high": high, "rows": rows}


def _mean(values: Any) -> dict[str, Any]:
    low, high = sequential.mean_interval(values)
    return {"value": float(np.mean(values)), "low": low, "high": high, "rows": len(values)}


def picture(case: UseCase, seen: Observed, measures: list[Mapping[str, Any]]) -> str:
    """Left what each version said, right how much worse the new one is by each measure; base64 PNG."""
    figure, grid = pages.canvas(2, 1, (11, 3.6))
    _said(grid[0, 0], case, seen)
    _compared(grid[0, 1], measures)
    return pages.png(figure)


def _said(axes: Any, case: UseCase, seen: Observed) -> None:
    one, other = seen.challenger.scores, seen.champion.scores
    if len(seen.pairs.one):
        one, other = seen.pairs.one, seen.pairs.other
    if not len(other) or not len(one):
        axes.text(0.5, 0.5, "no rows yet", ha="center", va="center", transform=axes.transAxes)
        return
    ends = (0.0, 1.0) if isinstance(case.task, Classification) else (0.0, float(max(one.max(), other.max())) or 1.0)
    bins = np.linspace(*ends, 31).tolist()
    for scores, colour, version in ((other, OTHER, seen.champion.version), (one, ONE, seen.challenger.version)):
        axes.hist(scores, bins=bins, density=True, histtype="step", color=colour, label=version, linewidth=1.6)
    rows = "of the same rows" if len(seen.pairs.one) else "of its own rows"
    axes.set_xlabel(f"{'probability' if isinstance(case.task, Classification) else 'forecast'}, {rows}")
    axes.set_ylabel("density")
    axes.legend(frameon=False)


def _compared(axes: Any, measures: list[Mapping[str, Any]]) -> None:
    if not measures:
        axes.text(0.5, 0.5, "too few rows to compare", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    places = np.arange(len(measures))[::-1]
    for place, one in zip(places, measures, strict=True):
        colour = ONE if one["worse"] else OTHER
        axes.plot([one["low"], one["high"]], [place, place], color=colour, linewidth=2)
        axes.plot(one["difference"], place, "o", color=colour)
        axes.plot(one["tolerance"], place, "|", color="black", markersize=14)
    axes.axvline(0, color="#999999", linewidth=0.8)
    axes.set_yticks(places, [one["name"] for one in measures])
    axes.set_xlabel("how much worse the new version is (mark: tolerated)")

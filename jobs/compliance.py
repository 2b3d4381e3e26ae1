"""The quarterly report for auditors: JSON, and one HTML page that needs nothing else.

forewarn compliance --quarter 2026Q3 --output reports/
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from forewarn.ledger import report
from forewarn.ledger.audit import By, Chain
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings
from jobs import pages, terminal

# Of each use case's decisions on the page; the JSON has all.
MOST_SHOWN = 200
# Colours that are told apart by whoever sees red and green alike.
COLOURS = {"low": "#9ecae1", "medium": "#fdae6b", "high": "#b2182b", "amount": "#969696"}


def compliance(
    quarter: Annotated[str, typer.Option(help="Such as 2026Q3; else the one before this.")] = "",
    output: Annotated[Path, typer.Option(help="Folder for the two files.")] = Path(),
) -> None:
    """Who had access, what people decided and why, what was released, kept and forgotten, in a quarter.

    Example: forewarn compliance --quarter 2026Q3 --output reports
    """
    settings, now = Settings(), datetime.now(UTC)
    ledger = Ledger.open(settings)
    told = report.compliance(settings, ledger, quarter, now=now)
    base = output / f"compliance-{told['quarter']}"
    files = pages.write("compliance.html.jinja", told, base, **_beside(told["use_cases"]))
    with ledger.begin() as connection:
        about, by = {"quarter": told["quarter"]}, By(actor=settings.whoami)
        Chain.of(settings).append(connection, "compliance.report", by, about, at=now)
    ledger.close()
    terminal.console.print(f"[green]✓[/] {base}.html and .json", soft_wrap=True)
    print(orjson.dumps({"quarter": told["quarter"], "files": [str(file) for file in files]}).decode())


def page(told: dict[str, Any]) -> str:
    """The report as HTML."""
    return pages.page("compliance.html.jinja", told, **_beside(told["use_cases"]))


def _beside(cases: dict[str, Any]) -> dict[str, Any]:
    """What the page shows beside the figures."""
    return {
        "answered": sum(one["n"] for case in cases.values() for one in case["answered"]),
        "most": MOST_SHOWN,
        "fair": {name: fairness(case["champion"]) for name, case in cases.items()},
        "picture": _picture(cases),
    }


def fairness(champion: dict[str, Any] | None) -> str:
    """In a sentence."""
    found = (champion or {}).get("fairness")
    if not found:
        return "not measured for this version"
    broken = "; beyond a limit: " + ", ".join(found["broken"]) if found["broken"] else ", all within the limits"
    small = f"; too small to judge: {len(found['too_small'])}" if found["too_small"] else ""
    return f"{found['groups']} groups judged{broken}{small}"


def _picture(cases: dict[str, Any]) -> str:
    """Bars of the predictions of each risk level; empty where there were none."""
    levels: dict[str, dict[str, int]] = {level: {} for level in COLOURS}
    for name, case in cases.items():
        for one in case["answered"]:
            of = levels.setdefault(one["level"] or "amount", {})
            of[name] = of.get(name, 0) + one["n"]
    levels = {level: of for level, of in levels.items() if of}
    if not levels:
        return ""
    figure, grid = pages.canvas(1, 1, (9, 0.5 + 0.6 * len(cases)))
    axes = grid[0, 0]
    left = dict.fromkeys(cases, 0)
    for level, of in levels.items():
        wide, colour = [of.get(name, 0) for name in cases], COLOURS.get(level)
        axes.barh(list(cases), wide, left=list(left.values()), label=level, color=colour)
        left = {name: left[name] + of.get(name, 0) for name in cases}
    axes.set_xlabel("predictions in the quarter")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return pages.png(figure)


if __name__ == "__main__":
    terminal.command(compliance)

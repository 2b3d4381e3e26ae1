"""How good a version is: on a labelled file through the one path, or by the outcomes that came back to the ledger.

    forewarn evaluate USE_CASE --data rows.csv
    forewarn evaluate USE_CASE --from-ledger --days 90 --output reports/performance

Exits 0 when measured, 1 with one sentence if it cannot be, 2 on bad arguments, 3 where a version that serves has
degraded.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from forewarn import scoring, sources, usecases
from forewarn.errors import BadInput, NotFound
from forewarn.package import ModelPackage
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from jobs import cluster, terminal, versions

DEGRADED_EXIT = 3


def evaluate(
    use_case: Annotated[str, typer.Argument(help="Which use case; `forewarn status` lists them.")],
    data: Annotated[str, typer.Option(help="Labelled rows: a CSV or Parquet file, or a database or S3 URI.")] = "",
    query: Annotated[str, typer.Option(help="SELECT to run, where the URI is a database.")] = "",
    version: Annotated[
        str | None,
        typer.Option(help="Which version, such as v3; else the champion, or the newest before there is one."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line on stdout.")] = False,
    from_ledger: Annotated[
        bool, typer.Option("--from-ledger", help="By the outcomes of what was answered, instead of a file.")
    ] = False,
    days: Annotated[float, typer.Option(min=1e-4, help="From the ledger: how far back.")] = 90.0,
    output: Annotated[Path, typer.Option(help="From the ledger: folder for the page and its JSON.")] = Path(
        "reports/performance"
    ),
) -> None:
    """Score a labelled file and print how good it was: ROC-AUC and the majority baseline, or MAE and the median's.

    Example: forewarn evaluate USE_CASE --data employees.csv --json
    """
    case, settings = usecases.get(use_case), Settings()
    cluster.prepare_environment()
    if from_ledger:
        _of_ledger(case, settings, days, output)
        return
    if not data:
        raise BadInput("--data: give a labelled file, or --from-ledger")
    measured = measure(
        case, sources.load(data, case, query=query, labelled=True), versions.open_version(case, version, settings)
    )
    if as_json:
        print(orjson.dumps(measured).decode())
    else:
        _show(measured)


def _of_ledger(case: UseCase, settings: Settings, days: float, output: Path) -> None:
    from jobs import realised, watching  # which open versions as this does

    try:
        told = realised.report(case, settings, days=days, at=datetime.now(UTC))
    except NotFound as error:  # that nobody asked is no failure of a job that runs every week
        terminal.console.print(str(error), markup=False, soft_wrap=True)
        print(orjson.dumps({"use_case": case.name, "level": "unknown", "why": str(error)}).decode())
        return
    files = realised.write(told, output)
    for one in told["versions"]:
        reasons = "; ".join(one["standing"]["reasons"])
        terminal.console.print(
            f"[bold]{case.name} {one['version']}[/]: {one['standing']['level']}: {escape(reasons)}", soft_wrap=True
        )
    watching.degraded(case, settings, told, files)
    print(orjson.dumps({**told, "files": [str(file) for file in files]}).decode())
    if told["level"] == "degraded":
        sys.exit(DEGRADED_EXIT)


def measure(case: UseCase, raw: list[dict[str, Any]], package: ModelPackage) -> dict[str, Any]:
    """The metrics of one version on labelled rows; `rows` counts those scored, `rejected` the bad ones.

    Raises:
        BadInput: as `scoring.labelled`, or nothing can be measured on these labels.
    """
    from forewarn import performance  # scikit-learn takes a second to import, and no other command needs it

    found = scoring.labelled(case, raw)
    scores = scoring.score(package, found.rows)
    measured = performance.measure(case.task, found.labels, scores.values, scores.rule)
    rows = {"rows": len(found.rows), "rejected": len(found.rejects)}
    return {"use_case": case.name, "version": scores.version, **scores.rule, **rows, **measured}


def _show(measured: dict[str, Any]) -> None:
    head = f"{measured['use_case']} {measured['version']} on {measured['rows']} rows, {measured['rejected']} rejected"
    table = Table("metric", "value", title=head)
    for name, value in measured.items():
        if isinstance(value, float):
            table.add_row(name, f"{value:.4f}")
    terminal.out.print(table)


if __name__ == "__main__":
    terminal.command(evaluate)

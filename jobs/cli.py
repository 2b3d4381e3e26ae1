"""The `forewarn` command."""

import os
import sys
from typing import Annotated, Any

import httpx
import orjson
import typer
from rich.table import Table

from forewarn import usecases
from forewarn.ledger import doors
from forewarn.releases import Releases
from forewarn.settings import Settings
from jobs import (
    alerts,
    audit,
    cluster,
    compliance,
    demo,
    drift,
    evaluate,
    keys,
    machine,
    refresh_features,
    release,
    retention,
    retrain,
    schedule,
    score,
    subject,
    terminal,
    train,
    up,
)

app = typer.Typer(
    help="Warns early: who may leave, which customers may go, how many hours will be lost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(up.up)
app.command()(up.down)
app.command()(train.train)
app.command()(evaluate.evaluate)
app.command()(score.score)
app.command()(drift.drift)
app.command()(retrain.retrain)
app.command()(refresh_features.refresh_features)
app.add_typer(release.app, name="release")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")
app.add_typer(subject.app, name="subject")
app.add_typer(alerts.app, name="alerts")
app.add_typer(schedule.app, name="schedule")
app.command()(retention.retention)
app.command()(compliance.compliance)
app.command()(demo.demo)


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="One JSON line on stdout.")] = False) -> None:
    """Say what runs from this home, and which version of each use case is champion."""
    settings = Settings()
    releases = Releases(settings.packages)
    found = cluster.running(settings)
    state = {
        "home": str(settings.home),
        "running": bool(found),
        "url": found.get("url"),
        "dashboard": found.get("dashboard"),
        "health": _health(found["url"]) if found else None,
        "use_cases": {
            name: {"champion": releases.champion(case), "versions": releases.versions(case)}
            for name, case in usecases.every().items()
        },
    }
    if as_json:
        print(orjson.dumps(state).decode())
    else:
        _show(state)


@app.command()
def key() -> None:
    """Print this installation's API key; made on the first call, kept in the home for its owner alone."""
    settings = Settings()
    print(doors.installation_key(settings))


@app.command()
def mlflow(port: Annotated[int, typer.Option(help="Where to listen, on this machine only.")] = 5000) -> None:
    """Open MLflow's pages on this home's experiments and versions, until Ctrl-C."""
    settings = Settings()
    settings.make_home()
    machine.refuse_taken_port(port, f"choose another: forewarn mlflow --port {port + 1}")
    # One process of 0.5 GB instead of fifteen of 2.7 GB: nothing here runs MLflow's own jobs.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    cluster.prepare_environment()
    server = [sys.executable, "-m", "mlflow", "server", "-w", "1", "--host", "127.0.0.1", "--port", str(port)]
    os.execv(server[0], [*server, "--backend-store-uri", settings.mlflow_uri])  # noqa: S606


def main() -> None:
    """Entry point of the `forewarn` command."""
    terminal.run(app)


def _health(url: str) -> str:
    try:
        return str(httpx.get(f"{url}/health", timeout=2).json()["status"])
    except (httpx.HTTPError, ValueError, KeyError):
        return "not answering"


def _show(state: dict[str, Any]) -> None:
    where = (
        f"up at {state['url']}, {state['health']}" if state["running"] else "not running; start it with `forewarn up`"
    )
    terminal.out.print(f"{state['home']}: {where}", soft_wrap=True)
    table = Table("use case", "champion", "versions")
    for name, case in state["use_cases"].items():
        table.add_row(name, case["champion"] or "–", ", ".join(case["versions"]) or "–")
    terminal.out.print(table)

"""`forewarn alerts`: what somebody is to look at, whether the channels work, and saying that something is over."""

from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape

from forewarn.alerts import Alert, Notice, Severity, Told, channels
from forewarn.alerts.plan import Plan
from forewarn.databases import written
from forewarn.errors import BadInput, ForewarnError, NotFound
from forewarn.ledger.alerts import NOT_OPEN, Alerts
from forewarn.ledger.audit import By, Chain
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings
from jobs import terminal

app = typer.Typer(help="Alerts: which are open, whether the channels work, what is over.", no_args_is_help=True)

AS_JSON = Annotated[bool, typer.Option("--json", help="One JSON line on stdout.")]
COLOURS = {"critical": "red", "warning": "yellow", "info": "default"}


@app.command(name="list")
def show(
    use_case: Annotated[str, typer.Option(help="One use case; else all.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="Those that were resolved too.")] = False,
    as_json: AS_JSON = False,
) -> None:
    """What is open, the worst first: since when, seen how often, and when somebody was last told."""
    settings = Settings()
    with closing(Ledger.open(settings)) as ledger:
        alerts = Alerts(ledger, ())
        found = alerts.every(use_case) if all_ else alerts.open(use_case)
    if as_json:
        print(orjson.dumps(found).decode())
        return
    for row in found:
        _line(row)
    if not found:
        terminal.out.print("nothing is open")


def _line(row: dict[str, Any]) -> None:
    """What it is; below, its text with the figures, and since when."""
    mark = f"[{COLOURS[row['severity']]}]{row['severity']}[/]" if not row["resolved_at"] else "[green]resolved[/]"
    terminal.out.print(f"{mark}  {escape(row['use_case'] or '–')}  [bold]{escape(row['name'])}[/]", soft_wrap=True)
    told = f"told {_short(row['told_at'])}" if row["told_at"] else "not told to all who hear of it"
    over = f", over {_short(row['resolved_at'])}" if row["resolved_at"] else ""
    since = f"since {_short(row['opened_at'])}, seen {row['times']} times, last {_short(row['seen_at'])}, {told}{over}"
    terminal.out.print(f"  {escape(row['text'])}\n  {since}", soft_wrap=True, style="dim")


@app.command(name="test")
def try_(
    severity: Annotated[Severity, typer.Option(help="How bad it is to look; every channel hears of it.")] = "critical",
    over: Annotated[bool, typer.Option("--over", help="Say that it is over: PagerDuty's incident is closed.")] = False,
) -> None:
    """Send a made-up alert over every channel, and say which of them took it. Exits 1 if one did not.

    Example: forewarn alerts test && forewarn alerts test --over
    """
    plan, now = Plan.read(Settings()), written(datetime.now(UTC))
    if not plan.channels:
        raise BadInput("there are no channels; write them into alerts.yaml in the home, as docs/alerts.md shows")
    text = "This is a test of the channels; nothing is wrong."
    alert = Alert(use_case="", name="test", severity=severity, text=text)
    told = channels.tell(plan.channels, Notice(
        alert=alert, at=now, since=now, over=over, installation=plan.installation, runbook=plan.runbook,
    ))  # fmt: skip
    _say(told)
    print(orjson.dumps(_counted(told)).decode())
    if told.failed:
        raise ForewarnError(f"{len(told.failed)} of {len(plan.channels)} channels did not take it")


@app.command()
def resolve(
    use_case: Annotated[str, typer.Argument(help="Which use case; '' for what concerns the whole installation.")],
    name: Annotated[str, typer.Argument(help="As `forewarn alerts list` shows it, such as drift:MonthlyIncome.")],
    why: Annotated[str, typer.Option(help="In a sentence; the channels are told, and the audit log keeps it.")],
) -> None:
    """Say that an alert is over. If what caused it is still so, the next run opens it anew.

    Example: forewarn alerts resolve USE_CASE drift:MonthlyIncome --why "The yearly rise; the limit is too low."
    """
    if not why.strip():
        raise BadInput("why is empty; say in a sentence why it is over")
    settings = Settings()
    with closing(Ledger.open(settings)) as ledger:
        signed = Chain.of(settings), By(actor=settings.whoami)
        told = Alerts.of(settings, ledger).resolve(use_case, name, at=datetime.now(UTC), why=why, signed=signed)
    if told.suppressed == NOT_OPEN:
        raise NotFound(f"{use_case or 'the installation'} has no open alert {name}; `forewarn alerts list` shows them")
    terminal.console.print(f"[green]✓[/] {escape(name)} is over", soft_wrap=True)
    _say(told)
    print(orjson.dumps({"use_case": use_case, "name": name, **_counted(told)}).decode())


def _say(told: Told) -> None:
    for name in told.sent:
        terminal.console.print(f"[green]✓[/] {escape(name)} took it", soft_wrap=True)
    for name, reason in told.reasons.items():
        terminal.console.print(f"[yellow]![/] {escape(name)}: {escape(reason)}", soft_wrap=True)


def _counted(told: Told) -> dict[str, Any]:
    return {"sent": dict(told.sent), "failed": dict(told.failed), "reasons": dict(told.reasons),
            "suppressed": told.suppressed}  # fmt: skip


def _short(moment: str) -> str:
    """To the minute."""
    return moment[:16].replace("T", " ")

"""`forewarn keys`: who may come in over HTTP, and for what."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from forewarn.keys import SCOPES
from forewarn.ledger.audit import By
from forewarn.ledger.doors import Doors
from forewarn.settings import Settings
from jobs import terminal

app = typer.Typer(help="API keys: made, listed, rotated, revoked.", no_args_is_help=True)

KEY = Annotated[str, typer.Argument(help="The key's id, as `forewarn keys list` shows it.")]
AS_JSON = Annotated[bool, typer.Option("--json", help="One JSON line on stdout.")]
COLUMNS = ("id", "name", "scopes", "per_minute", "expires_at", "last_used_at", "revoked_at")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is, such as 'HR portal'.")],
    scope: Annotated[list[str], typer.Option(help=f"What it may do, once for each: {', '.join(SCOPES)}.")],
    days: Annotated[float | None, typer.Option(min=0, help="It expires after so many days; else never.")] = None,
    per_minute: Annotated[int | None, typer.Option(min=1, help="Requests a minute; else the service's quota.")] = None,
    as_json: AS_JSON = False,
) -> None:
    """Make a key and print it, this once: only its hash is kept.

    Example: forewarn keys create "HR portal" --scope predict --scope feedback --days 365
    """
    settings = Settings()
    doors, now = Doors.of(settings), datetime.now(UTC)
    made = doors.create(name, scope, By(actor=settings.whoami), at=now, days=days, per_minute=per_minute)
    _tell(*made, as_json=as_json)


@app.command(name="list")
def show(as_json: AS_JSON = False) -> None:
    """Every key: what it may do, until when, when it was last used."""
    found = Doors.of(Settings()).listed()
    if as_json:
        print(orjson.dumps(found).decode())
        return
    table = Table(box=None)
    for name in COLUMNS:
        table.add_column(name, no_wrap=name == "id", overflow="fold", min_width=12 if name == "id" else None)
    for key in found:
        table.add_row(*(escape(_short(key[name])) for name in COLUMNS), style="dim" if key["revoked_at"] else "")
    terminal.out.print(table)


@app.command()
def revoke(key: KEY) -> None:
    """Close every door to a key: within five seconds on all replicas."""
    settings = Settings()
    Doors.of(settings).revoke(key, By(actor=settings.whoami), at=datetime.now(UTC))
    terminal.console.print(f"[green]✓[/] {escape(key)} opens nothing any more", soft_wrap=True)


@app.command()
def rotate(
    key: KEY,
    overlap_hours: Annotated[float, typer.Option(min=0, help="For how long the old one still opens.")] = 24.0,
    as_json: AS_JSON = False,
) -> None:
    """Make a key in the place of another, with the same name and scopes; print it, this once."""
    settings = Settings()
    overlap, by = timedelta(hours=overlap_hours), By(actor=settings.whoami)
    _tell(*Doors.of(settings).rotate(key, by, at=datetime.now(UTC), overlap=overlap), as_json=as_json)


def _tell(key: str, key_id: str, *, as_json: bool) -> None:
    if as_json:
        print(orjson.dumps({"id": key_id, "key": key}).decode())
        return
    terminal.console.print(f"[green]✓[/] key {key_id}; it is shown this once:")
    print(key)


def _short(value: object) -> str:
    """A time to the minute."""
    text = "" if value is None else str(value)
    return text[:16].replace("T", " ") if text[4:5] == "-" and text.endswith("Z") else text

"""`forewarn audit`: what privileged acts there were, and whether anybody has changed the log of them."""

from typing import Annotated

import orjson
import typer
from rich.markup import escape

from forewarn.errors import ForewarnError
from forewarn.ledger import audit
from forewarn.ledger.audit import Chain
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings
from jobs import terminal

app = typer.Typer(help="The log of privileged acts: who, what, when, from which key.", no_args_is_help=True)

AS_JSON = Annotated[bool, typer.Option("--json", help="One JSON line on stdout.")]


@app.command()
def verify(
    head: Annotated[str, typer.Option(help="NUMBER:HASH noted at an earlier check; that line must still stand.")] = "",
    as_json: AS_JSON = False,
) -> None:
    """Go through the whole chain. Note the head that it prints: it proves later that nothing older was taken away.

    Exits 1 where a line was changed, added or taken away.
    """
    settings = Settings()
    found = Chain.of(settings).verify(Ledger.open(settings), head=head)
    told = {"lines": found.lines, "broken": found.broken, "why": found.why, "head": found.head}
    if as_json:
        print(orjson.dumps(told).decode())
    if found.broken is not None:
        raise ForewarnError(f"the audit log does not hold from line {found.broken} on: {found.why}")
    if not as_json:
        terminal.out.print(f"[green]✓[/] {found.lines} lines, and the chain holds; head {found.head}", soft_wrap=True)


@app.command(name="list")
def show(
    since: Annotated[str, typer.Option(help="From this time on, as 2026-11-27 or 2026-11-27T09:00.")] = "",
    until: Annotated[str, typer.Option(help="Before this time.")] = "",
    act: Annotated[str, typer.Option(help="One kind of act, such as keys.revoke.")] = "",
    most: Annotated[int, typer.Option(min=1, help="So many at most, the newest.")] = 100,
    as_json: AS_JSON = False,
) -> None:
    """The newest acts, newest first."""
    found = audit.entries(Ledger.open(Settings()), since=since, until=until, act=act, most=most)
    if as_json:
        print(orjson.dumps(found).decode())
        return
    for line in found:
        who = f"{line['actor']}{' with key ' + line['key_id'] if line['key_id'] else ''}"
        what = {**line["about"], **({"personal": line["personal"]} if line["personal"] else {})}
        told = f"{line['number']:>6}  {line['at'][:19]}  [bold]{line['act']}[/]  {escape(who)}  {escape(str(what))}"
        terminal.out.print(told, soft_wrap=True)

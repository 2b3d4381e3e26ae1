"""`forewarn subject`: people's rights. To see what is known of them, to be forgotten, not to be scored."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from forewarn.errors import BadInput
from forewarn.ledger.audit import By
from forewarn.ledger.privacy import Person, Privacy
from forewarn.settings import Settings
from jobs import terminal

app = typer.Typer(help="People's rights: export, erase, opt out; and the secret of their ids.", no_args_is_help=True)

SUBJECT = Annotated[
    str, typer.Argument(help="The id; - reads it from stdin, and leaves no trace in the shell's history.")
]
USE_CASE = Annotated[str, typer.Option(help="One use case; else all.")]
AS_JSON = Annotated[bool, typer.Option("--json", help="One JSON line on stdout.")]
OUTPUT = Annotated[Path | None, typer.Option(help="Write it to this file, for its owner alone; else to stdout.")]


@app.command()
def export(subject: SUBJECT, use_case: USE_CASE = "", output: OUTPUT = None) -> None:
    """All that is known of somebody, as JSON.

    Example: echo 4711 | forewarn subject export - --output 4711.json
    """
    privacy, person, by = _opened(subject, use_case)
    _give(privacy.export(person, by, at=datetime.now(UTC)), output)


@app.command()
def erase(subject: SUBJECT, use_case: USE_CASE = "", output: OUTPUT = None) -> None:
    """Forget somebody, everywhere; print the signed receipt.

    Example: echo 4711 | forewarn subject erase - --output receipt.json
    """
    privacy, person, by = _opened(subject, use_case)
    _give(privacy.erase(person, by, at=datetime.now(UTC)), output)


@app.command(name="opt-out")
def opt_out(subject: SUBJECT, use_case: USE_CASE = "", as_json: AS_JSON = False) -> None:
    """Neither score nor log somebody from now on, online and in batch."""
    privacy, person, by = _opened(subject, use_case)
    _count(privacy.opt_out(person, by, at=datetime.now(UTC)), "opted out, newly in", as_json)


@app.command(name="opt-in")
def opt_in(subject: SUBJECT, use_case: USE_CASE = "", as_json: AS_JSON = False) -> None:
    """Score somebody again."""
    privacy, person, by = _opened(subject, use_case)
    _count(privacy.opt_in(person, by, at=datetime.now(UTC)), "opted in again, in", as_json)


@app.command(name="verify-receipt")
def verify_receipt(receipt: Annotated[Path, typer.Argument(help="The file with the receipt.")]) -> None:
    """Exit 0 if this installation wrote the receipt just so, 1 if not."""
    try:
        told = orjson.loads(receipt.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInput(f"{receipt}: is no receipt ({error}); give the JSON that `subject erase` printed") from None
    if not isinstance(told, dict) or not Privacy(Settings()).verified(told):
        raise BadInput(f"{receipt}: was not written by this installation, or was changed since")
    terminal.console.print(f"[green]✓[/] receipt {told['id']} of {told['at']}", soft_wrap=True)


@app.command(name="rotate-secret")
def rotate_secret() -> None:
    """Put a new secret for ids in force. What lies under the old ones is still found; restart the service after it."""
    privacy, by = _keeper()
    before = privacy.rotate(by, at=datetime.now(UTC))
    terminal.console.print(f"[green]✓[/] a new secret is in force; {before} older ones are kept", soft_wrap=True)


@app.command(name="retire-secrets")
def retire_secrets(
    yes: Annotated[bool, typer.Option("--yes", help="It cannot be undone.")] = False,
) -> None:
    """Drop every secret but the one in force: what lies under them belongs to nobody then, opt-outs included."""
    privacy, by = _keeper()
    if not yes:
        raise BadInput(
            "this forgets for good whose the lines under older secrets are, and "
            f"{privacy.stranded()} opt-outs that are older than the secret in force no longer hold: enter those "
            "again first, then give --yes"
        )
    gone = privacy.retire(by, at=datetime.now(UTC))
    terminal.console.print(f"[green]✓[/] {gone} secrets are gone", soft_wrap=True)


def _keeper() -> tuple[Privacy, By]:
    """Who may change the secret: where it lies in our file."""
    settings = Settings()
    if settings.id_secret.get_secret_value():
        raise BadInput("the secret comes from FOREWARN_ID_SECRET; put a new one before it there, with a comma between")
    return Privacy(settings), By(actor=settings.whoami)


def _opened(subject: str, use_case: str) -> tuple[Privacy, Person, By]:
    settings = Settings()
    privacy = Privacy(settings)
    text = sys.stdin.readline() if subject == "-" else subject
    return privacy, privacy.person(text.strip(), use_case), By(actor=settings.whoami)


def _give(told: dict[str, Any], output: Path | None) -> None:
    written = orjson.dumps(told, option=orjson.OPT_INDENT_2).decode()
    if output is None:
        print(written)
        return
    output.touch(mode=0o600)
    output.write_text(written)
    terminal.console.print(f"[green]✓[/] written to {output}", soft_wrap=True)


def _count(number: int, said: str, as_json: bool) -> None:
    if as_json:
        print(orjson.dumps({"use_cases": number}).decode())
    else:
        terminal.console.print(f"[green]✓[/] {said} {number} use cases", soft_wrap=True)

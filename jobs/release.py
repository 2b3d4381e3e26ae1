"""Look at registered versions, and let them in or refuse them. People decide; who, when and why is kept."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
import typer
from rich.markup import escape

from forewarn import usecases
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from jobs import cluster, evaluate, terminal

if TYPE_CHECKING:
    from forewarn.approval import Standing

app = typer.Typer(help="Which versions there are, who let them in and why.", no_args_is_help=True)

USE_CASE = Annotated[str, typer.Argument(help="Which use case; `forewarn status` lists them.")]
VERSION = Annotated[str, typer.Argument(help="Which version, such as v3.")]
WHY = Annotated[str, typer.Option(help="In a sentence; it is kept with the version.")]
BY = Annotated[str, typer.Option(help="Who decides; else FOREWARN_USER, else this machine's user.")]
COLOURS = {"approved": "green", "pending_approval": "yellow", "rejected": "red"}


@app.command(name="list")
def show(
    use_case: Annotated[str | None, typer.Argument(help="One use case; else all of them.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line on stdout.")] = False,
) -> None:
    """Every registered version: its status, who decided, and why.

    Example: forewarn release list USE_CASE
    """
    approval, settings = _opened()
    cases = [usecases.get(use_case)] if use_case else list(usecases.every().values())
    found = {case.name: [asdict(one) for one in approval.standings(case, settings)] for case in cases}
    if as_json:
        print(orjson.dumps(found).decode())
        return
    for name, versions in found.items():
        for one in versions:
            _line(name, one)


def _line(name: str, one: dict[str, Any]) -> None:
    """What it is; below, who decided and why."""
    status = f"[{COLOURS.get(one['status'], 'default')}]{one['status']}[/]"
    mark = ", [bold]champion[/]" if one["champion"] else ""
    terminal.out.print(f"{name} [bold]{one['version']}[/]  {status}{mark}  {escape(one['metric'])}", soft_wrap=True)
    who = f"trained by {one['trained_by'] or 'somebody'}, decided by {one['by'] or 'nobody'} {one['at']}"
    terminal.out.print(f"  {escape(who)}: {escape(one['why'])}", soft_wrap=True, style="dim")


@app.command()
def approve(use_case: USE_CASE, version: VERSION, why: WHY, by: BY = "") -> None:
    """Let a version in that passed its gates, and make it champion.

    Example: forewarn release approve USE_CASE v2 --why "Recall is up; looked at the slices with HR."
    """
    _decide("approve", usecases.get(use_case), version, by, why, says="is champion, approved by")


@app.command()
def reject(use_case: USE_CASE, version: VERSION, why: WHY, by: BY = "") -> None:
    """Refuse a version for good.

    Example: forewarn release reject USE_CASE v2 --why "Learned from a file that lacks one site."
    """
    _decide("reject", usecases.get(use_case), version, by, why, says="is rejected by")


def _decide(way: Literal["approve", "reject"], case: UseCase, version: str, by: str, why: str, *, says: str) -> None:
    approval, settings = _opened()
    decide = {"approve": approval.approve, "reject": approval.reject}[way]
    standing = decide(case, version, settings, by=by or settings.whoami, why=why)
    tell(case, standing, settings)
    said = f"[green]✓[/] [bold]{case.name}[/] {standing.version} {says} {escape(standing.by)}"
    terminal.console.print(said, soft_wrap=True)


def tell(case: UseCase, standing: "Standing", settings: Settings) -> None:
    """The decision goes onto the version's card too."""
    from training import exports  # of a decision only the card needs it

    package = evaluate.open_version(case, standing.version, settings)
    folder = settings.exports / case.name / standing.version
    exports.retell(package, folder, status=standing.status, by=standing.by, why=standing.why)


def _opened() -> "tuple[Any, Settings]":
    """MLflow takes seconds to import."""
    cluster.prepare_environment()
    from forewarn import approval

    return approval, Settings()

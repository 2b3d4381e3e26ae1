"""Let versions in or refuse them, and bring them to people step by step. Who decided, when and why is kept."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
import typer
from pydantic import ValidationError
from rich.markup import escape

from forewarn import usecases
from forewarn.errors import BadInput
from forewarn.ledger import steps
from forewarn.ledger.audit import By
from forewarn.ledger.steps import NewStep
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from jobs import cluster, release_history, terminal
from jobs.mirror import mirror
from jobs.release_history import AS_JSON, USE_CASE, opened, roles_told
from jobs.versions import open_version

if TYPE_CHECKING:
    from forewarn.approval import Standing

app = typer.Typer(
    help="Which versions there are, which of them answers whom, who decided that and why.", no_args_is_help=True
)
for command in (release_history.status, release_history.history, release_history.judge, release_history.report):
    app.command()(command)
app.command(name="at")(release_history.then)

VERSION = Annotated[str, typer.Argument(help="Which version, such as v3.")]
WHY = Annotated[str, typer.Option(help="In a sentence; it is kept with the version.")]
BY = Annotated[str, typer.Option(help="Who decides; else FOREWARN_USER, else this machine's user.")]
COLOURS = {"approved": "green", "pending_approval": "yellow", "rejected": "red"}


@app.command(name="list")
def show(
    use_case: Annotated[str | None, typer.Argument(help="One use case; else all of them.")] = None,
    as_json: AS_JSON = False,
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
    mark = f", [bold]{one['role']}[/]" if one["role"] else ""
    terminal.out.print(f"{name} [bold]{one['version']}[/]  {status}{mark}  {escape(one['metric'])}", soft_wrap=True)
    who = f"trained by {one['trained_by'] or 'somebody'}, decided by {one['by'] or 'nobody'} {one['at']}"
    terminal.out.print(f"  {escape(who)}: {escape(one['why'])}", soft_wrap=True, style="dim")


@app.command()
def approve(use_case: USE_CASE, version: VERSION, why: WHY, by: BY = "") -> None:
    """Let a version in that passed its gates. The first one is champion at once; a later one is started, or promoted.

    Example: forewarn release approve USE_CASE v2 --why "Recall is up; looked at the slices with HR."
    """
    case = usecases.get(use_case)
    standing = _decide("approve", case, version, by, why, says="is approved by")
    where = "and champion" if standing.champion else f"and answers nobody yet: {next_steps(case, standing.version)}"
    terminal.console.print(f"  {where}", soft_wrap=True, markup=False)


@app.command()
def reject(use_case: USE_CASE, version: VERSION, why: WHY, by: BY = "") -> None:
    """Refuse a version for good.

    Example: forewarn release reject USE_CASE v2 --why "Learned from a file that lacks one site."
    """
    _decide("reject", usecases.get(use_case), version, by, why, says="is rejected by")


def _decide(
    way: Literal["approve", "reject"], case: UseCase, version: str, by: str, why: str, *, says: str
) -> "Standing":
    approval, settings = _opened()
    decide = {"approve": approval.approve, "reject": approval.reject}[way]
    standing: Standing = decide(case, version, settings, by=by or settings.whoami, why=why)
    tell(case, standing, settings)
    said = f"[green]✓[/] [bold]{case.name}[/] {standing.version} {says} {escape(standing.by)}"
    terminal.console.print(said, soft_wrap=True)
    return standing


def next_steps(case: UseCase, version: str) -> str:
    """What to type after an approval."""
    share = f"{case.canary.share:g}"
    return f"forewarn release start {case.name} {version} --share {share} --why '…', or promote it at once"


def tell(case: UseCase, standing: "Standing", settings: Settings) -> None:
    """The decision goes onto the version's card too."""
    from training import exports  # of a decision only the card needs it

    package = open_version(case, standing.version, settings)
    folder = settings.exports / case.name / standing.version
    exports.retell(package, folder, status=standing.status, by=standing.by, why=standing.why)


@app.command()
def start(
    use_case: USE_CASE,
    version: VERSION,
    why: WHY,
    share: Annotated[float | None, typer.Option(min=0, max=100, help="Percent of the subjects; else 10.")] = None,
    cohort: Annotated[
        list[str] | None, typer.Option(help="FIELD=VALUE,VALUE: these people go to it whatever the share.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Although it was rolled back by itself just now.")] = False,
    by: BY = "",
) -> None:
    """Let an approved version answer some of the subjects, the same ones throughout.

    Example: forewarn release start USE_CASE v2 --share 10 --cohort Department=Sales --why "Pilot with Sales."
    """
    _step(use_case, by, act="start", version=version, why=why, share=share, cohorts=cohorts_of(cohort), again=again)


@app.command()
def share(use_case: USE_CASE, percent: Annotated[float, typer.Argument(min=0, max=100)], why: WHY, by: BY = "") -> None:
    """Give the challenger another share; a paused one goes on.

    Example: forewarn release share USE_CASE 50 --why "A day without an error."
    """
    _step(use_case, by, act="share", share=percent, why=why)


@app.command()
def shadow(
    use_case: USE_CASE,
    why: WHY,
    version: Annotated[str, typer.Argument(help="Which version; without one the shadow ends.")] = "",
    by: BY = "",
) -> None:
    """Let a version score beside whoever answers; nobody hears it, and the history says how far they agree.

    Example: forewarn release shadow USE_CASE v2 --why "Few are asked here; let it watch first."
    """
    _step(use_case, by, act="shadow", version=version, why=why)


@app.command()
def promote(
    use_case: USE_CASE,
    why: WHY,
    version: Annotated[str, typer.Argument(help="Which version; else the challenger.")] = "",
    by: BY = "",
) -> None:
    """Make a version champion; the one before it is kept warm.

    Example: forewarn release promote USE_CASE --why "The verdict says so, and I looked at the report."
    """
    _step(use_case, by, act="promote", version=version, why=why)


@app.command()
def rollback(use_case: USE_CASE, why: WHY, by: BY = "") -> None:
    """Take the challenger back; where there is none, the version before the champion is champion again.

    Example: forewarn release rollback USE_CASE --why "Support reports odd answers."
    """
    _step(use_case, by, act="rollback", why=why)


@app.command()
def pause(use_case: USE_CASE, why: WHY, by: BY = "") -> None:
    """Let the challenger answer nobody until it gets a share again.

    Example: forewarn release pause USE_CASE --why "An incident elsewhere; one change at a time."
    """
    _step(use_case, by, act="pause", why=why)


def cohorts_of(given: list[str] | None) -> dict[str, list[str]]:
    """FIELD=VALUE,VALUE of a shell.

    Raises:
        BadInput: it is written otherwise.
    """
    found = {}
    for text in given or []:
        name, equals, values = text.partition("=")
        if not equals:
            raise BadInput(f"--cohort {text}: write it as Department=Sales,HR")
        found[name] = values.split(",")
    return found


def _step(use_case: str, by: str, **asked: Any) -> None:
    """Take it, and say how things stand then."""
    settings, case = Settings(), usecases.get(use_case)
    try:
        wanted = NewStep(**asked)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise BadInput(f"--{wrong['loc'][0]}: {wrong['msg']}") from None
    cluster.prepare_environment()
    with opened() as past:
        state = steps.take(past, case, wanted, By(actor=by or settings.whoami), at=datetime.now(UTC))
    mirror(settings)
    terminal.console.print(f"[green]✓[/] [bold]{case.name}[/]: {escape(roles_told(state))}", soft_wrap=True)


def _opened() -> "tuple[Any, Settings]":
    """MLflow takes seconds to import."""
    cluster.prepare_environment()
    from forewarn import approval

    return approval, Settings()

"""What became of releases: which version answers whom, every step and verdict, the judge's next one, the report."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape

from forewarn import usecases
from forewarn.errors import NotFound
from forewarn.ledger.releases import History
from forewarn.ledger.store import Ledger
from forewarn.releases import ReleaseState
from forewarn.settings import Settings
from jobs import cluster, terminal

USE_CASE = Annotated[str, typer.Argument(help="Which use case; `forewarn status` lists them.")]
AS_JSON = Annotated[bool, typer.Option("--json", help="One JSON line on stdout.")]


def status(use_case: USE_CASE, as_json: AS_JSON = False) -> None:
    """Which version answers whom now, and the verdict that was given last.

    Example: forewarn release status USE_CASE
    """
    with opened() as history:
        case = usecases.get(use_case)
        state = history.state(case)
        newest = next(iter(history.listed(case, most=1)), None)
    if as_json:
        print(orjson.dumps({"state": state.told(), "newest": newest}).decode())
        return
    terminal.out.print(f"[bold]{case.name}[/]: {escape(roles_told(state))}", soft_wrap=True)
    if newest:
        _print_line(newest)


def history(
    use_case: USE_CASE,
    most: Annotated[int, typer.Option(min=1, help="So many at most, the newest.")] = 20,
    as_json: AS_JSON = False,
) -> None:
    """Every step and verdict, the newest first.

    Example: forewarn release history USE_CASE
    """
    with opened() as past:
        lines = past.listed(usecases.get(use_case), most=most)
    if as_json:
        print(orjson.dumps(lines).decode())
        return
    for line in lines:
        _print_line(line)


def then(
    use_case: USE_CASE,
    moment: Annotated[str, typer.Argument(help="Such as 2026-11-27, or 2026-11-27T09:00.")],
    as_json: AS_JSON = False,
) -> None:
    """Which version served at a time.

    Example: forewarn release at USE_CASE 2026-11-27T09:00
    """
    with opened() as past:
        line = past.at(usecases.get(use_case), moment)
    if line is None:
        raise NotFound(f"{use_case}: nothing was released by {moment}")
    if as_json:
        print(orjson.dumps(line).decode())
        return
    terminal.out.print(f"at {moment}: {escape(roles_told(ReleaseState.of(line['state'])))}", soft_wrap=True)
    _print_line(line)


def judge(
    use_case: Annotated[str | None, typer.Argument(help="One use case; else all of them.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C, as `forewarn up` lets it do.")] = False,
) -> None:
    """Look at every challenger and shadow once, act on what is seen, and say it.

    Example: forewarn release judge USE_CASE
    """
    from jobs.judge import Judge, watch as watching  # noqa: I001

    settings = Settings()
    if watch:
        watching(settings)
        return
    cluster.prepare_environment()
    with closing(Ledger.open(settings)) as ledger:
        judging, told = Judge(settings, ledger), {}
        for case in [usecases.get(use_case)] if use_case else usecases.every().values():
            verdict = judging.look(case, at=datetime.now(UTC)) or judging.confirm(case, at=datetime.now(UTC))
            if verdict:
                told[case.name] = verdict.told()
                terminal.console.print(f"[bold]{case.name}[/]: {verdict.action}: {escape(verdict.why)}", soft_wrap=True)
    print(orjson.dumps(told).decode())


def report(
    use_case: USE_CASE,
    release: Annotated[int | None, typer.Option(help="Number of its first line; else the newest.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for the page and its JSON.")] = Path(),
) -> None:
    """Both versions of a release side by side, with intervals, outcomes where there are some, and a picture.

    Example: forewarn release report USE_CASE --output reports
    """
    from jobs import ab  # matplotlib takes a second to import

    files = ab.write(usecases.get(use_case), Settings(), release, output)
    terminal.console.print(f"[green]✓[/] {', '.join(map(str, files))}", soft_wrap=True)
    print(orjson.dumps({"files": [str(file) for file in files]}).decode())


def roles_told(state: ReleaseState) -> str:
    """In a line."""
    parts = [f"{role} {version}" for role, version in state.roles.items()]
    if state.challenger:
        people = [f"{name} in {', '.join(values)}" for name, values in state.cohorts.items()]
        parts.append("paused" if state.paused else " and ".join([f"{state.share:g} % of the subjects", *people]))
    return ", ".join(parts) or "nothing serves yet"


@contextmanager
def opened() -> Iterator[History]:
    """This installation's history."""
    settings = Settings()
    with closing(Ledger.open(settings)) as ledger:
        yield History.of(settings, ledger)


def _print_line(line: Mapping[str, Any]) -> None:
    who = f"{line['actor']}{' with key ' + line['key_id'] if line['key_id'] else ''}"
    terminal.out.print(
        f"{line['number']:>5}  {line['at'][:19]}  [bold]{line['act']}[/] {line['to_version'] or ''}  {escape(who)}: "
        f"{escape(line['why'])}", soft_wrap=True,
    )  # fmt: skip

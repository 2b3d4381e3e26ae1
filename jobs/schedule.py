"""`forewarn schedule`: what runs when, how it went, and who paused what.

    forewarn schedule list
    python -m jobs.schedule      the process that begins what is due; `forewarn up` keeps one up

Any number of those processes may run on any number of machines with the same ledger: one leads.
"""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from forewarn.errors import BadInput, LedgerUnavailable, NotAllowed
from forewarn.ledger.audit import By
from forewarn.ledger.runs import HAND, RAN, Pause, Run, Runs
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings
from jobs import scheduler, terminal
from jobs.due import Entry
from jobs.timetable import Plan, named

app = typer.Typer(help="What runs when by itself: looked at, run now, paused, resumed.", no_args_is_help=True)

NAME = Annotated[str, typer.Argument(help="Which run, as `forewarn schedule list` shows it.")]
AS_JSON = Annotated[bool, typer.Option("--json", help="One JSON line on stdout.")]


@app.command(name="list")
def show(as_json: AS_JSON = False) -> None:
    """Every run: when it is due next, how the last one went, who paused it and why; and who leads."""
    settings, now = Settings(), datetime.now(UTC)
    plan = Plan.read(settings)
    with opened(settings) as runs:
        told = standing(plan, plan.entries(settings, os.environ), runs, at=now)
    if as_json:
        print(orjson.dumps(told).decode())
        return
    table = Table("run", "next", "last", "", box=None)
    for one in told["runs"]:
        style = "dim" if one["waits"] or one["paused"] else ""
        table.add_row(escape(one["name"]), _next(one), escape(_last(one["last"])), escape(_state(one)), style=style)
    terminal.out.print(table)
    leader = told["leader"]
    by = f"{leader['holder']} leads" if leader else "nobody leads, so nothing begins by itself; `forewarn up` leads"
    terminal.out.print(f"\ntimes in {plan.timezone}; {escape(by)}", soft_wrap=True)


@app.command()
def run(name: NAME) -> None:
    """Run one now, whether it is paused or not, and show what it prints; the exit code is its own.

    Example: forewarn schedule run retention
    """
    settings = Settings()
    entry = named(Plan.read(settings).entries(settings, os.environ), name)
    with opened(settings) as runs:
        code = by_hand(entry, runs, settings)
    sys.exit(code if code >= 0 else 128 - code)


@app.command()
def pause(name: NAME, why: Annotated[str, typer.Option(help="In a sentence; it is kept, and shown.")]) -> None:
    """Let one begin by itself no more, or all of a name: `drift` for every use case's. What runs already runs on.

    Example: forewarn schedule pause retention --why "The auditors look at last year's rows until Friday."
    """
    settings = Settings()
    _refuse_unknown(settings, name)
    with opened(settings) as runs:
        runs.pause(name, By(actor=settings.whoami), why, at=datetime.now(UTC))
    terminal.console.print(
        f"[green]✓[/] {escape(name)} is paused; `forewarn schedule resume {name}` ends that", soft_wrap=True
    )


@app.command()
def resume(name: NAME) -> None:
    """Let it begin by itself again, from its next time on: what was due meanwhile is not made up for."""
    settings = Settings()
    if any(one.paused for one in Plan.read(settings).entries(settings, {}) if name in (one.name, one.base)):
        raise BadInput(f"{name} is paused in the schedule's file; take `paused: true` out there")
    with opened(settings) as runs:
        runs.resume(name, By(actor=settings.whoami), at=datetime.now(UTC))
    terminal.console.print(f"[green]✓[/] {escape(name)} begins by itself again", soft_wrap=True)


@app.command()
def history(
    name: Annotated[str, typer.Argument(help="One run; else all.")] = "",
    most: Annotated[int, typer.Option(min=1, help="So many at most, the newest.")] = 50,
    as_json: AS_JSON = False,
) -> None:
    """What ran, why, for how long, and what it said last; and what did not run."""
    with opened(Settings()) as runs:
        found = runs.history(name, most=most)
    if as_json:
        print(orjson.dumps([one.told() for one in found]).decode())
        return
    for one in found:
        line = f"{one.began_at:%Y-%m-%d %H:%M:%S}  [bold]{escape(one.name)}[/]  {one.cause}  {_how(one.told())}"
        terminal.out.print(line.rstrip(), soft_wrap=True)
        terminal.out.print(f"  {escape((one.said or '')[:300])}", soft_wrap=True, style="dim")


def standing(plan: Plan, entries: list[Entry], runs: Runs, *, at: datetime) -> dict[str, Any]:
    """What `list` tells."""
    leader, last, pauses = runs.leader(at=at), runs.newest(RAN), runs.pauses()
    return {
        "timezone": plan.timezone,
        "leader": {"holder": leader.holder, "until": leader.until} if leader else None,
        "runs": [_told(one, last.get(one.name), pauses, at) for one in entries],
    }


def by_hand(entry: Entry, runs: Runs, settings: Settings, *, program: tuple[str, ...] = scheduler.FOREWARN) -> int:
    """Run it in the foreground, without a time limit; its exit code.

    Raises:
        BadInput: it waits for something.
        NotAllowed: it runs already.
    """
    if entry.waits:
        raise BadInput(f"{entry.name} waits for {entry.waits}; see docs/schedule.md")
    now, holder = datetime.now(UTC), scheduler.holder_here()
    runs.present(holder, at=now)
    if not runs.claim(entry.name, now, HAND, holder, at=now):
        raise NotAllowed(f"{entry.name} runs already; `forewarn schedule history {entry.name}` says since when")
    code = None
    try:
        environment = {**os.environ, "FOREWARN_HOME": str(settings.home), scheduler.MARK: holder}
        process = subprocess.Popen([*program, *entry.words], env=environment)  # noqa: S603 - words of schedule.yaml
        code = _followed(process, lambda: runs.present(holder, at=datetime.now(UTC)))
    finally:
        runs.end(entry.name, now, code=code, said=f"run by {settings.whoami}", at=datetime.now(UTC))
        runs.leave(holder)
    return code


@contextmanager
def opened(settings: Settings) -> Iterator[Runs]:
    """This installation's runs."""
    ledger = Ledger.open(settings)
    try:
        yield Runs.of(settings, ledger)
    finally:
        ledger.close()


def _followed(process: "subprocess.Popen[bytes]", present: Callable[[], None]) -> int:
    """Wait for it, and say that somebody does. Ctrl-C is its own to answer; so is what a supervisor sends to us."""
    before = signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGINT))
    try:
        while True:
            with suppress(KeyboardInterrupt, LedgerUnavailable):
                try:
                    return process.wait(timeout=scheduler.BEAT_SECONDS)
                except subprocess.TimeoutExpired:
                    present()
    finally:
        signal.signal(signal.SIGTERM, before)


def _told(entry: Entry, last: Run | None, pauses: dict[str, Pause], at: datetime) -> dict[str, Any]:
    pause = pauses.get(entry.name) or pauses.get(entry.base)
    by_file = {"actor": "schedule.yaml", "why": "paused: true", "at": None} if entry.paused else None
    due = entry.next(at)
    return {
        "name": entry.name,
        "cron": entry.cron,
        "missed": entry.missed,
        "next": due.astimezone(entry.zone) if due else None,
        "last": {**last.told(), "good": last.code in entry.good_codes} if last else None,
        "paused": {"actor": pause.actor, "why": pause.why, "at": pause.at} if pause else by_file,
        "waits": entry.waits,
    }


def _refuse_unknown(settings: Settings, name: str) -> None:
    entries = Plan.read(settings).entries(settings, {})
    with suppress(BadInput):  # all of a name may be paused at once
        named(entries, name)


def _next(one: dict[str, Any]) -> str:
    return f"{one['next']:%Y-%m-%d %H:%M}" if one["next"] and not (one["paused"] or one["waits"]) else "–"


def _last(last: dict[str, Any] | None) -> str:
    return f"{last['began_at']:%Y-%m-%d %H:%M} UTC, {_how(last)}" if last else "–"


def _how(line: dict[str, Any]) -> str:
    """It went."""
    if line["cause"] not in RAN:
        return ""
    if line["ended_at"] is None:
        return "runs"
    return f"{line['seconds']:.0f} s, {'cut short' if line['code'] is None else 'exit code ' + str(line['code'])}"


def _state(one: dict[str, Any]) -> str:
    if one["waits"]:
        return f"waits for {one['waits']}"
    if one["paused"]:
        return f"paused by {one['paused']['actor']}: {one['paused']['why']}"
    last = one["last"]
    return "failed" if last and last["ended_at"] and not last["good"] and last["code"] is not None else ""


if __name__ == "__main__":
    os.nice(15)  # as Ray's workers are: what runs by itself must not take anything from those who wait for an answer
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    scheduler.watch(Settings())

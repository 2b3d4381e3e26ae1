"""Train a use case anew, from what came true of its predictions and the set it learned from before.

    forewarn retrain USE_CASE --data base.csv --why "a new collective agreement"
    forewarn retrain USE_CASE --if-needed

Same pipeline, gates, approval and release as a first training. With --if-needed an open alert of drift or degradation
is the cause, and a cool-down, a monthly budget and enough new outcomes are conditions. Why, from what, and what came of
it is in the ledger and on the version.

Exits 0 when a version is registered or nothing was to be done, 1 with one sentence if it cannot be, 2 on bad arguments,
3 when the version was rejected by its gates.
"""

import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.markup import escape

from forewarn import retraining, usecases
from forewarn.errors import BadInput
from forewarn.ids import IdKey
from forewarn.ledger import retrainings
from forewarn.ledger.alerts import Alerts
from forewarn.ledger.records import Recorder
from forewarn.ledger.store import Ledger
from forewarn.releases import Releases
from forewarn.retraining import Acted, Cause, Fresh
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from jobs import cluster, submit, terminal, train
from jobs.train import REJECTED_EXIT, Wishes

if TYPE_CHECKING:
    from training.order import Trained

# An open alert's name begins with this → the cause of a retraining.
CAUSES: dict[str, Cause] = {"degraded:": "degradation", "drift:": "drift"}
MADE_UP = ".sample("


def retrain(
    use_case: Annotated[str, typer.Argument(help="Which use case; `forewarn status` lists them.")],
    why: Annotated[str, typer.Option(help="In words; by hand it is mandatory, else the alert's text.")] = "",
    cause: Annotated[Cause, typer.Option(help="What asks for it.")] = "hand",
    if_needed: Annotated[bool, typer.Option("--if-needed", help="Only where an alert is open.")] = False,
    data: Annotated[
        str, typer.Option(help="The base set that is learned from beside the ledger's rows: a file or URI.")
    ] = "",
    query: Annotated[str, typer.Option(help="SELECT to run, where the URI is a database.")] = "",
    acted: Annotated[
        Acted, typer.Option(help="Rows that people acted on, whose outcomes are not what would have been.")
    ] = "leave-out",
    trials: Annotated[int | None, typer.Option(min=1, help="End the search after so many trials; else 80.")] = None,
    budget_s: Annotated[float | None, typer.Option(min=1, help="End it after so many seconds; else 75.")] = None,
    submit_job: Annotated[bool, typer.Option("--submit", help="Run as a job on the running cluster.")] = False,
) -> None:
    """Train anew, from the outcomes of the last months and the base set.

    Example: forewarn retrain USE_CASE --data employees.csv --why "a new collective agreement"
    """
    case, settings, now = usecases.get(use_case), Settings(), datetime.now(UTC)
    if submit_job:
        _submit(case, settings, why, cause, if_needed, data, query, acted, trials, budget_s)
        return
    with closing(Ledger.open(settings)) as ledger:
        found = _needed(ledger, settings, case) if if_needed else (cause, why.strip())
        if found is None:
            _nothing(case, "no alert of drift or degradation is open")
            return
        reason, said = found
        if not said:
            raise BadInput("--why: say in a sentence why it is trained anew; it is kept with the version")
        fresh = retrainings.fresh(ledger, Recorder.of(case, settings), case, at=now)
        usable = sum(not one.acted or acted == "keep" for one in fresh)
        told = retraining.decide(reason, retrainings.began(ledger, case), usable, case.watching, now=now)
        if not told.go:
            _nothing(case, told.why)
            return
        base = _base(case, settings, data, query)
        retraining.refuse_poor(case, usable + len(base), _champion_rows(case, settings))
        trained = run(ledger, settings, case, fresh, (reason, said), base, acted,
                      Wishes(trials=trials, budget_s=budget_s, by=settings.whoami))  # fmt: skip
    train.say(trained)
    train.stand(trained)
    print(orjson.dumps({**asdict(trained), "cause": reason, "why": said}).decode())
    if trained.status == "rejected":
        sys.exit(REJECTED_EXIT)


def run(
    ledger: Ledger, settings: Settings, case: UseCase, fresh: Sequence[Fresh], cause: tuple[Cause, str],
    base: Sequence[dict[str, Any]], acted: Acted, wishes: Wishes,
) -> "Trained":  # fmt: skip
    """Train, and write down why, from what, and what came of it, also where that was nothing.

    Raises:
        BadInput: the rows cannot be learned from.
    """
    id_key = IdKey.open(settings.id_key, settings.id_secret.get_secret_value())
    raw, counts = retraining.table(case, fresh, base, id_key, acted=acted)
    terminal.console.print(
        f"[bold]{case.name}[/]: {cause[0]}: {escape(cause[1])}; {counts['ledger']:,} rows of the ledger "
        f"({counts['acted_on']:,} were acted on, {counts['left_out']:,} of them left out) and {counts['base']:,} "
        "of the base set", soft_wrap=True,
    )  # fmt: skip
    digest = sha256(orjson.dumps(raw, default=str, option=orjson.OPT_SORT_KEYS)).hexdigest()
    origin = {"name": "ledger and base set", "sha256": digest, "cause": cause[0], "why": cause[1][:500],
              **{f"rows_{name}": str(count) for name, count in counts.items()}}  # fmt: skip
    known = retrainings.begin(ledger, case, *cause, counts, at=datetime.now(UTC))
    try:
        with cluster.connected(settings):
            trained = train.run(case, raw, origin, settings, wishes)
    except BaseException as error:
        retrainings.end(ledger, known, version=None, status=type(error).__name__, at=datetime.now(UTC))
        raise
    retrainings.end(ledger, known, version=trained.version, status=trained.status, at=datetime.now(UTC))
    return trained


def _needed(ledger: Ledger, settings: Settings, case: UseCase) -> tuple[Cause, str] | None:
    """The cause, where an alert is open: degradation before drift, for outcomes say more than inputs."""
    opened = Alerts.of(settings, ledger).open(case.name)
    for prefix, cause in CAUSES.items():
        for alert in opened:
            if alert["name"].startswith(prefix) and (cause == "degradation" or alert["severity"] == "critical"):
                return cause, str(alert["text"])
    return None


def _base(case: UseCase, settings: Settings, data: str, query: str) -> list[dict[str, Any]]:
    """What was learned from before: a file, or, of a version that learned from made-up rows, these again."""
    if data:
        return train.rows_of(case, data, query)[0]
    releases = Releases(settings.packages)
    champion = releases.champion(case)
    origin = releases.card(case, champion)["data"].get("name", "") if champion else ""
    return train.rows_of(case, None)[0] if MADE_UP in origin else []


def _champion_rows(case: UseCase, settings: Settings) -> int:
    releases = Releases(settings.packages)
    champion = releases.champion(case)
    return int(releases.card(case, champion)["data"].get("rows", 0)) if champion else 0


def _nothing(case: UseCase, why: str) -> None:
    terminal.console.print(f"[bold]{case.name}[/]: nothing is done: {escape(why)}", soft_wrap=True)
    print(orjson.dumps({"use_case": case.name, "status": "nothing to do", "why": why}).decode())


def _submit(
    case: UseCase, settings: Settings, why: str, cause: Cause, if_needed: bool, data: str, query: str, acted: Acted,
    trials: int | None, budget_s: float | None,
) -> None:  # fmt: skip
    given = {"--why": why, "--cause": cause, "--data": train.absolute(data) if data else "", "--query": query,
             "--acted": acted, "--trials": trials, "--budget-s": budget_s}  # fmt: skip
    named = [word for option, value in given.items() if value for word in (option, str(value))]
    submit.follow(settings, "jobs.retrain", [case.name, *named, *(["--if-needed"] if if_needed else [])])


if __name__ == "__main__":
    terminal.command(retrain)

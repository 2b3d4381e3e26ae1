"""Bring the whole of Forewarn up on this machine, say where it is, and take it down again."""

import signal
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from forewarn import usecases
from forewarn.errors import BadInput, CannotStart
from forewarn.ledger import doors, shipper
from forewarn.releases import Releases
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from jobs import cluster, machine, release, terminal, train
from jobs.deploy import CONFIG, Application
from jobs.kept_up import kept_up

if TYPE_CHECKING:
    from training.order import Trained

# On made-up rows a model is there to be looked at, and four use cases are waiting.
MADE_UP_TRIALS = 12
MADE_UP_SECONDS = 12.0


@dataclass(frozen=True, kw_only=True)
class PlannedTraining:
    """A training to do before serving, and how long its search is unless that is said; None is the preset's own."""

    case: UseCase
    raw: list[dict[str, Any]]
    origin: dict[str, str]
    trials: int | None
    seconds: float | None


def up(
    data: Annotated[
        list[str] | None,
        typer.Option(help="USE_CASE=FILE: train on this file first. May be given for several."),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials of each first training; else 80 on a file, 12 on made-up rows.")
    ] = None,
    budget_s: Annotated[
        float | None, typer.Option(min=1, help="Seconds of each search; else 75 on a file, 12 on made-up rows.")
    ] = None,
    config: Annotated[Path, typer.Option(help="How the application runs.")] = CONFIG,
) -> None:
    """Start Ray, train what has no champion, deploy, and stay until Ctrl-C.

    Example: forewarn up --data USE_CASE=rows.csv
    """
    settings = Settings()
    application = Application.read(config, settings)
    trainings = _planned(application, data or [], settings)
    cluster.refuse_running(settings)
    machine.refuse_taken_port(application.port, f"choose another: FOREWARN_PORT={application.port + 1}")
    machine.refuse_taken_port(
        settings.dashboard_port, f"choose another: FOREWARN_DASHBOARD_PORT={settings.dashboard_port + 1}"
    )
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        watch = terminal.Watch()
        with watch.step("Starting Ray"):
            found = stack.enter_context(cluster.started(settings, url=application.url))
        _stop_on_signals()
        for training in trainings:
            _train(training, settings, trials=trials or training.trials, seconds=budget_s or training.seconds)
        key = doors.installation_key(settings)
        with watch.step("Deploying"):
            application.deploy(found["dashboard"])
        for module in ("jobs.judge", "jobs.schedule"):
            stack.enter_context(kept_up(module))
        _warn_of_open_doors(found["mark"])
        _welcome(application, key, found["dashboard"])
        signal.pause()
    shipper.drain(settings)
    terminal.console.print("[green]✓[/] Stopped what was started here, and nothing else")


def _train(training: PlannedTraining, settings: Settings, *, trials: int | None, seconds: float | None) -> None:
    terminal.console.print(f"[bold]{training.case.name}[/]: training on {escape(training.origin['name'])}")
    wishes = train.Wishes(trials=trials, budget_s=seconds)
    trained = train.run(training.case, training.raw, training.origin, settings, wishes)
    train.say(trained)
    try:
        let_in(training.case, trained, settings)
    except CannotStart as error:
        if training.trials is None:
            raise
        terminal.complain(error)  # of made-up rows one model less is no reason not to start


def let_in(case: UseCase, trained: "Trained", settings: Settings) -> None:
    """Approve what passed its gates in the name of whoever started this, unless another pair of eyes is asked for.

    Raises:
        CannotStart: there is no version that may serve.
    """
    from forewarn import approval  # MLflow takes seconds to import

    if trained.status == approval.PENDING and not settings.four_eyes:
        why = "asked for by `forewarn up`, and every gate was passed"
        standing = approval.approve(case, trained.version, settings, by=settings.whoami, why=why)
        release.tell(case, standing, settings)
        trained = replace(
            trained, status=standing.status, role=standing.role, champion=trained.champion or standing.version
        )
    if trained.status == approval.APPROVED:
        if trained.role != "champion":  # who asks for it by `up` wants it to answer
            approval.bring(
                case, trained.version, settings, "promote", by=settings.whoami, why="asked for by `forewarn up`"
            )
        terminal.console.print(f"[green]✓[/] approved, and champion: {trained.version}")
        return
    train.stand(trained)
    if trained.champion is None:
        wanted = "--why '…' --by SOMEBODY-ELSE" if trained.status == approval.PENDING else ""
        remedy = (
            f"forewarn release approve {case.name} {trained.version} {wanted}"
            if wanted
            else "mend the data, or the gates"
        )
        raise CannotStart(
            f"{case.name} {trained.version} is {trained.status}, and no other version may serve: "
            f"{'; '.join(trained.reasons) or 'FOREWARN_FOUR_EYES is set'}; {remedy}"
        )


def down() -> None:
    """Stop what `forewarn up` started from this home, and nothing else."""
    settings = Settings()
    found = cluster.running(settings)
    left = cluster.leftovers(settings)
    if not found and not left:
        terminal.console.print("nothing of this home is running")
        return
    with terminal.Watch().step("Stopping"):
        cluster.stop(found, left)
    cluster.forget(settings)


def _stop_on_signals() -> None:
    """Ctrl-C and `forewarn down` end the block. Set after Ray has started, which makes a crash report of SIGTERM;
    and SIGINT too, because a shell starts background processes with it ignored."""
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, signal.default_int_handler)


def _planned(application: Application, given: list[str], settings: Settings) -> list[PlannedTraining]:
    """Read every file before anything starts: a bad one is said at once."""
    files = dict(_pair(text, application) for text in given)
    releases = Releases(settings.packages)
    cases = [usecases.get(name) for name in application.use_cases]
    wanted = [case for case in cases if case.name in files or not _has_champion(case, releases)]
    _refuse_waiting([case for case in wanted if case.name not in files], settings)
    return [_plan(case, files.get(case.name)) for case in wanted]


def _has_champion(case: UseCase, releases: Releases) -> bool:
    """Whether there is one, and it loads.

    Raises:
        PackageDamaged: it does not; train anew with --data, or put its folder back.
    """
    version = releases.champion(case)
    return version is not None and releases.load(case, version).version == version


def _refuse_waiting(cases: list[UseCase], settings: Settings) -> None:
    """Nothing is made up in the place of a version that waits to be let in.

    Raises:
        CannotStart: naming it, and how to let it in.
    """
    if not cases or not settings.has_registry:
        return
    from forewarn import approval  # MLflow takes seconds to import

    for case in cases:
        waiting = [one for one in approval.standings(case, settings) if one.status == approval.PENDING]
        if waiting:
            version = waiting[-1].version
            raise CannotStart(
                f"{case.name}: {version} waits for approval, and nothing else may serve; "
                f"forewarn release approve {case.name} {version} --why '…', or give --data {case.name}=FILE"
            )


def _plan(case: UseCase, file: str | None) -> PlannedTraining:
    raw, origin = train.rows_of(case, file)
    trials, seconds = (None, None) if file else (MADE_UP_TRIALS, MADE_UP_SECONDS)
    return PlannedTraining(case=case, raw=raw, origin=origin, trials=trials, seconds=seconds)


def _pair(text: str, application: Application) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    if not equals or not name.isidentifier() or Path(text).is_file():  # a path or a URI may hold an equals sign
        name, file = application.default_use_case, text
    if name not in application.use_cases:
        raise BadInput(f"--data {text}: this application serves {', '.join(application.use_cases)}, not {name}")
    return name, file


def _warn_of_open_doors(mark: str) -> None:
    """Ray's control plane runs whatever it is told to; nobody from elsewhere is to tell it."""
    for where in [one for process in machine.marked(mark) for one in machine.reachable(process)]:
        terminal.console.print(
            f"[bold yellow]![/] {escape(where)} can be reached from other machines; close it with a firewall, "
            "or set RAY_AUTH_MODE=token",
            soft_wrap=True,
        )


def _welcome(application: Application, key: str, dashboard: str) -> None:
    """On stdout, and unwrapped, so that the command can be pasted."""
    case = usecases.get(application.default_use_case)
    print(
        f"""
Forewarn is up.

  URL         {application.url}
  API key     {key}
  API docs    {application.url}/docs
  Ray         {dashboard}   (this machine only)
  MLflow      make mlflow, then http://127.0.0.1:5000

Ask it something:

{application.curl(case, key)}

Ctrl-C stops it."""
    )
    sys.stdout.flush()

"""Train a use case: search, prove, fit, judge, register. Prints one JSON line.

    forewarn train USE_CASE --data rows.csv
    ray job submit --working-dir . -- python -m jobs.train USE_CASE --data /absolute/rows.csv

Exits 0 when a version is registered that may serve or waits for approval, 1 with one sentence if there is none, 2 on
bad arguments, 3 when the version was rejected by its gates.
"""

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
import typer
from rich.markup import escape

from forewarn import sources, usecases
from forewarn.errors import BadInput
from forewarn.settings import Settings
from forewarn.tasks import Classification
from forewarn.usecase import UseCase
from jobs import cluster, submit, terminal

if TYPE_CHECKING:
    from training.order import Trained

GENERATED_ROWS = 1500
REJECTED_EXIT = 3

Preset = Literal["default", "grid", "random"]
Backend = Literal["auto", "in-process", "ray-train", "xgboost-ray"]
Threshold = Literal["f1", "cost", "half"]


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """How to train, as the command line says it; see `train`."""

    trials: int | None = None
    budget_s: float | None = None
    seed: int = 0
    preset: Preset = "default"
    balance: tuple[str, ...] = ("none",)
    threshold: Threshold | None = None
    backend: Backend = "auto"
    workers: int = 2
    override: str = ""
    by: str = ""

    def options(self) -> list[str]:
        """The same as command-line options, for a job."""
        given = {"--trials": self.trials, "--budget-s": self.budget_s, "--seed": self.seed, "--preset": self.preset,
                 "--threshold": self.threshold, "--backend": self.backend, "--workers": self.workers,
                 "--override-quality": self.override, "--by": self.by}  # fmt: skip
        told = [part for name, value in given.items() if value not in (None, "") for part in (name, str(value))]
        return [*told, *(part for way in self.balance for part in ("--balance", way))]


def train(
    use_case: Annotated[str, typer.Argument(help="Which use case; `forewarn status` lists them.")],
    data: Annotated[
        str | None,
        typer.Option(help="Labelled rows: a CSV or Parquet file, or a database or S3 URI. Without it: made-up ones."),
    ] = None,
    query: Annotated[str, typer.Option(help="SELECT to run, where the URI is a database.")] = "",
    trials: Annotated[
        int | None, typer.Option(min=1, help="End the search after so many trials; else 80, or all of the preset's.")
    ] = None,
    budget_s: Annotated[
        float | None, typer.Option(min=1, help="End the search after so many seconds; else 75, or never by a preset.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of folds, sampler and estimators.")] = 0,
    preset: Annotated[
        Preset, typer.Option(help="What is searched: our own way, the 108 points of S2-30, or 100 samples of S2-31.")
    ] = "default",
    balance: Annotated[
        list[str] | None,
        typer.Option(help="none, scale_pos_weight or smote, for rare events; given several times, they compete."),
    ] = None,
    threshold: Annotated[
        Threshold | None,
        typer.Option(help="Highest F1, lowest cost by the use case's costs, or 0.5; else the use case's."),
    ] = None,
    backend: Annotated[Backend, typer.Option(help="Where the final fit of trees runs.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Of a final fit that is spread over the cluster.")] = 2,
    override: Annotated[
        str, typer.Option("--override-quality", help="Why a table that the quality gate refuses is used.")
    ] = "",
    by: Annotated[str, typer.Option(help="Who asks for it; else FOREWARN_USER, else this machine's user.")] = "",
    submit_job: Annotated[bool, typer.Option("--submit", help="Run as a job on the running cluster.")] = False,
) -> None:
    """Search, prove, judge and register a model.

    Example: forewarn train USE_CASE --data employees.csv --trials 40
    """
    case, settings = usecases.get(use_case), Settings()
    wishes = Wishes(trials=trials, budget_s=budget_s, seed=seed, preset=preset, balance=tuple(balance or ("none",)),
                    threshold=threshold, backend=backend, workers=workers, override=override,
                    by=by or settings.whoami)  # fmt: skip
    if submit_job:
        where = ["--data", absolute(data)] if data else []
        more = ["--query", query] if query else []
        submit.follow(settings, "jobs.train", [case.name, *where, *more, *wishes.options()])
        return
    raw, origin = rows_of(case, data, query)
    with cluster.connected(settings):
        trained = run(case, raw, origin, settings, wishes)
    say(trained)
    stand(trained)
    print(orjson.dumps(asdict(trained)).decode())
    if trained.status == "rejected":
        sys.exit(REJECTED_EXIT)


def run(
    case: UseCase, raw: list[dict[str, Any]], origin: dict[str, str], settings: Settings, wishes: Wishes
) -> "Trained":
    """Train within a connected Ray.

    Raises:
        BadInput: the rows cannot be learned from.
    """
    from training import pipeline, recipes, tune  # Ray Tune and MLflow take seconds to import
    from training.order import Order

    plain = Order(case=deciding(case, wishes.threshold), raw=raw, origin=origin, seed=wishes.seed,
                  preset=wishes.preset, balances=recipes.check(case.task, wishes.balance), backend=wishes.backend,
                  workers=wishes.workers, override=wishes.override, by=wishes.by or settings.whoami)  # fmt: skip
    own = plain.limits
    budget = tune.Budget(trials=wishes.trials or own.trials, seconds=wishes.budget_s or own.seconds)
    return pipeline.train(replace(plain, budget=budget), settings, terminal.Watch())


def deciding(case: UseCase, threshold: Threshold | None) -> UseCase:
    """The use case with another way to choose its threshold.

    Raises:
        BadInput: it forecasts an amount.
    """
    if threshold is None:
        return case
    if not isinstance(case.task, Classification):
        raise BadInput(f"{case.name} forecasts an amount and has no threshold; leave --threshold out")
    return replace(case, task=replace(case.task, threshold=threshold))


def rows_of(case: UseCase, data: str | None, query: str = "") -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The rows to learn from, and where they are from.

    Raises:
        BadInput: the source cannot be read as a table of this use case.
    """
    if data is None:
        return case.sample(GENERATED_ROWS, seed=0), {"name": f"{case.name}.sample({GENERATED_ROWS}, seed=0)"}
    rows = sources.load(data, case, query=query, labelled=True)
    # Without its folder: model_info shows the name, and the same file is the same study wherever it lies.
    name = Path(data).name if sources.is_local(data) else sources.described(data)
    return rows, {"name": name, "sha256": sources.fingerprint(data, rows)}


def absolute(data: str) -> str:
    """A path as a job finds it, which runs in another folder; a URI as it is."""
    return data if "://" in data else str(Path(data).resolve())


def say(trained: "Trained") -> None:
    """What was learned, and from which rows."""
    show = terminal.console.print
    if trained.rejected:
        show(f"{trained.rejected} of {trained.rows + trained.rejected} rows were left out, such as")
        for reason in trained.reject_reasons:
            show(f"  {reason}", markup=False)
    for note in (*trained.notes, *(f"overridden: {violation}" for violation in trained.quality)):
        show(f"  {note}", markup=False)
    show(f"[bold]{trained.use_case} {trained.version}[/]: {_proved(trained)}", soft_wrap=True)
    if len(trained.balances) > 1:
        show(f"  balancing: {', '.join(f'{way} {score:.3f}' for way, score in trained.balances.items())}")
    show(f"  card: {trained.card}", soft_wrap=True, markup=False)


def stand(trained: "Trained") -> None:
    """Whether it may serve, and why not."""
    show = terminal.console.print
    show(_standing(trained), soft_wrap=True)
    for reason in trained.reasons:
        show(f"  {reason}", markup=False, soft_wrap=True)


def _proved(trained: "Trained") -> str:
    metric = usecases.get(trained.use_case).task.metric
    found = trained.metrics[metric]
    alone = ", ".join(f"{name} {score:.3f}" for name, score in trained.baselines.items())
    known = f", {trained.known_subjects[metric]['mean']:.3f} for known subjects" if trained.known_subjects else ""
    return f"{metric} {found['mean']:.3f} ± {found['sd']:.3f} over fresh folds{known}; beside it {alone}"


def _standing(trained: "Trained") -> str:
    name, version = trained.use_case, trained.version
    if trained.status == "rejected":
        return f"[red]✗[/] rejected by its gates, {escape(_serving(trained))}:"
    if trained.status == "approved":
        return f"[green]✓[/] approved, and {trained.role or f'answers nobody yet, {escape(_serving(trained))}'}"
    return (
        f"[yellow]●[/] pending approval, {escape(_serving(trained))}: "
        f"forewarn release approve {name} {version} --why '…'"
    )


def _serving(trained: "Trained") -> str:
    return f"{trained.champion} goes on serving" if trained.champion else "nothing serves yet"


if __name__ == "__main__":
    terminal.command(train)

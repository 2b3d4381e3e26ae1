"""Train a use case: search, prove, fit, register, promote. Prints one JSON line.

    forewarn train USE_CASE --data rows.csv
    ray job submit --working-dir . -- python -m jobs.train USE_CASE --data /absolute/rows.csv

Exits 0 when a new champion is registered, 1 with one sentence if it cannot be, 2 on bad arguments.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from forewarn import sources, usecases
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from jobs import cluster, submit, terminal

if TYPE_CHECKING:
    from training.pipeline import Trained

GENERATED_ROWS = 1500
DEFAULT_TRIALS = 80
DEFAULT_SECONDS = 75.0


def train(
    use_case: Annotated[str, typer.Argument(help="Which use case; `forewarn status` lists them.")],
    data: Annotated[
        str | None,
        typer.Option(help="Labelled rows: a CSV or Parquet file, or a database or S3 URI. Without it: made-up ones."),
    ] = None,
    query: Annotated[str, typer.Option(help="SELECT to run, where the URI is a database.")] = "",
    trials: Annotated[int, typer.Option(min=1, help="End the search after so many trials.")] = DEFAULT_TRIALS,
    budget_s: Annotated[float, typer.Option(min=1, help="End the search after so many seconds.")] = DEFAULT_SECONDS,
    seed: Annotated[int, typer.Option(help="Seed of folds, sampler and estimators.")] = 0,
    override: Annotated[
        str, typer.Option("--override-quality", help="Why a table that the quality gate refuses is used.")
    ] = "",
    submit_job: Annotated[bool, typer.Option("--submit", help="Run as a job on the running cluster.")] = False,
) -> None:
    """Search, prove, register and promote a model.

    Example: forewarn train USE_CASE --data employees.csv --trials 40
    """
    case, settings = usecases.get(use_case), Settings()
    if submit_job:
        options = ["--trials", str(trials), "--budget-s", str(budget_s), "--seed", str(seed)]
        where = ["--data", absolute(data)] if data else []
        more = [*(["--query", query] if query else []), *(["--override-quality", override] if override else [])]
        submit.follow(settings, "jobs.train", [case.name, *where, *options, *more])
        return
    raw, origin = rows_of(case, data, query)
    with cluster.connected(settings):
        trained = run(case, raw, origin, settings, trials=trials, seconds=budget_s, seed=seed, override=override)
    say(trained)
    print(orjson.dumps(asdict(trained)).decode())


def run(case: UseCase, raw: list[dict[str, Any]], origin: dict[str, str], settings: Settings, *,
        trials: int = DEFAULT_TRIALS, seconds: float = DEFAULT_SECONDS, seed: int = 0,
        override: str = "") -> "Trained":  # fmt: skip
    """Train within a connected Ray.

    Raises:
        BadInput: the rows cannot be learned from.
    """
    from training import pipeline, tune  # Ray Tune and MLflow take seconds to import

    budget = tune.Budget(trials=trials, seconds=seconds)
    order = pipeline.Order(case=case, raw=raw, origin=origin, budget=budget, seed=seed, override=override)
    return pipeline.train(order, settings, terminal.Watch())


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
    """What came of it, and which rows were left out."""
    if trained.rejected:
        terminal.console.print(f"{trained.rejected} of {trained.rows + trained.rejected} rows were left out, such as")
        for reason in trained.reject_reasons:
            terminal.console.print(f"  {reason}", markup=False)
    for violation in trained.quality:
        terminal.console.print(f"  overridden: {violation}", markup=False)
    task = usecases.get(trained.use_case).task
    found = trained.metrics[task.metric]
    alone = ", ".join(f"{name} alone {score:.3f}" for name, score in trained.baselines.items())
    trivial = f", the median alone {trained.metrics['median_mae']['mean']:.3f}" if task.metric == "mae" else ""
    terminal.console.print(
        f"[green]✓[/] [bold]{trained.use_case} {trained.version}[/] is champion: {task.metric} {found['mean']:.3f} "
        f"± {found['sd']:.3f} over 25 fresh folds, {alone}{trivial}",
        soft_wrap=True,
    )


if __name__ == "__main__":
    terminal.command(train)

"""How often drift is cried where there is none, and found where there is: Forewarn, Evidently's defaults, and the
formula printed in S2, on windows of one source.

    python -m benchmarks.drift

Windows and references are drawn anew from one source of 60,000 made-up people. "Cried": at least one of all fields,
or the score, is told as moved. "Found": of one number shifted by half a standard deviation, that this field is told.
The job `forewarn drift` raises an alarm where a field moved in two of three windows of seven days, a day apart.
"""

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from forewarn import scoring, usecases
from forewarn.drift import Comparison, compare, is_alarm
from forewarn.reference import profile
from forewarn.settings import PROJECT
from forewarn.tasks import Classification
from forewarn.usecase import UseCase
from jobs import pages

PICTURE = PROJECT / "docs" / "pictures" / "bench-drift.png"
SIZES = (50, 100, 500, 5000)
POOL, REFERENCE, REFERENCES_EACH = 60_000, 1500, 25
SHIFT = 0.5
POWER_ROWS, MANY_VALUES = 500, 10
# The promises.
MOST_CRIED, LEAST_FOUND = 0.02, 0.95
Rows = list[dict[str, Any]]
Ways = ("Forewarn, one window", "Forewarn, the job's alarm", "S2's formula", "Evidently, any column",
        "Evidently, its data set")  # fmt: skip


@cache
def pool() -> tuple[UseCase, Rows, Any, dict[str, float]]:
    """The source: validated rows with scores of a kind that any model gives, and what the fields are worth."""
    case = next(one for one in usecases.every().values() if isinstance(one.task, Classification))
    rows = scoring.validate(case, case.sample(POOL, seed=0)).values
    random = np.random.default_rng(0)
    first = np.array([row[numbers(case)[0]] for row in rows], dtype=float)
    scores = 1 / (1 + np.exp((first - first.mean()) / first.std() + random.normal(0, 1, len(rows)) + 1.5))
    return case, rows, scores, {spec.wire: 1.0 for spec in case.inputs}


def numbers(case: UseCase) -> list[str]:
    """Fields that S2's formula can be asked of."""
    return [spec.name for spec in case.inputs if spec.kind == "number"]


def moved(case: UseCase, seed: int) -> str:
    """The field that is shifted, of those with more than ten values: half a standard deviation of a rating is a step
    for some and none for others, and its index hangs on how many levels it has.
    """
    _, rows, _, _ = pool()
    many = [name for name in numbers(case) if len(np.unique(_column(rows[:5000], name))) > MANY_VALUES]
    return many[seed % len(many)]


def _drawn(random: np.random.Generator, count: int) -> tuple[Rows, Any]:
    _, rows, scores, _ = pool()
    places = random.choice(len(rows), count, replace=False)
    return [rows[place] for place in places], scores[places]


def one_run(rows: int, seed: int, *, shifted: bool) -> dict[str, bool]:
    """One reference, and the windows of one run of the job: by each of our ways, whether it was told."""
    case, _, _, worth = pool()
    random = np.random.default_rng([seed // REFERENCES_EACH, rows])
    reference = profile(case, *_drawn(random, REFERENCE))
    random = np.random.default_rng([seed, rows, 1])
    stretch, scores = _drawn(random, rows + 2 * (rows // 7))
    field = moved(case, seed)
    if shifted:
        stretch = _shifted(stretch, field)
    step = rows // 7
    windows = [compare(case, reference, stretch[start : start + rows], scores[start : start + rows], worth)
               for start in (0, step, 2 * step)]  # fmt: skip
    names = [case.spec[field].wire] if shifted else [one.field for one in windows[-1].every]
    return {
        Ways[0]: any(_has(windows[-1], name) for name in names),
        Ways[1]: any(is_alarm([_has(window, name) for window in windows]) for name in names),
    }


def _has(window: Comparison, field: str) -> bool:
    return field in {one.field for one in window.moved}


def _shifted(rows: Rows, field: str) -> Rows:
    """Half a standard deviation of the source up; of whole numbers by so many more as make that on average."""
    case, all_rows, _, _ = pool()
    moved = _column(rows, field) + SHIFT * float(np.std(_column(all_rows[:5000], field)))
    if case.spec[field].whole:
        moved = np.floor(moved + np.random.default_rng(len(rows)).random(len(rows)))
    return [{**row, field: value} for row, value in zip(rows, moved.tolist(), strict=True)]


def formula_run(rows: int, seed: int, *, shifted: bool) -> dict[str, bool]:
    """S2-52 as it is printed: each histogram over ten bins of its own range, epsilon 1e-4, above 0.1."""
    case, _, _, _ = pool()
    random = np.random.default_rng([seed, rows, 2])
    reference, window = _drawn(random, REFERENCE)[0], _drawn(random, rows)[0]
    field = moved(case, seed)
    if shifted:
        window = _shifted(window, field)
    told = [name for name in numbers(case) if _printed(_column(reference, name), _column(window, name)) > 0.1]
    return {Ways[2]: field in told if shifted else bool(told)}


def _printed(expected: Any, actual: Any) -> float:
    shares = [np.histogram(values, bins=10)[0] / len(values) + 1e-4 for values in (expected, actual)]
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))


def _column(rows: Rows, name: str) -> Any:
    return np.array([row[name] for row in rows], dtype=float)


def evidently_run(rows: int, seed: int, *, shifted: bool) -> dict[str, bool]:
    """Its preset for drift with its defaults."""
    import pandas as pd

    os.environ["DO_NOT_TRACK"] = "1"
    warnings.simplefilter("ignore")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    case, _, _, _ = pool()
    random = np.random.default_rng([seed, rows, 3])
    reference, window = _drawn(random, REFERENCE)[0], _drawn(random, rows)[0]
    field = moved(case, seed)
    window = _shifted(window, field) if shifted else window
    names = [spec.name for spec in case.inputs]
    definition = DataDefinition(numerical_columns=numbers(case),
                                categorical_columns=[name for name in names if name not in numbers(case)])  # fmt: skip
    given = [Dataset.from_pandas(pd.DataFrame(some)[names], data_definition=definition) for some in (window, reference)]
    told = Report([DataDriftPreset()]).run(*given).dict()["metrics"]
    drifted = {one["config"]["column"]: _is_drift(one) for one in told if "column" in one.get("config", {})}
    whole = next(one["value"]["share"] for one in told if isinstance(one["value"], dict) and "share" in one["value"])
    return {Ways[3]: drifted[field] if shifted else any(drifted.values()), Ways[4]: whole >= 0.5}


def _is_drift(one: dict[str, Any]) -> bool:
    """A p-value below the threshold, or a distance above it."""
    value, config = float(one["value"]), one["config"]
    small = "p_value" in str(config["method"])
    return bool(value < config["threshold"] if small else value >= config["threshold"])


def rates(run: Callable[..., dict[str, bool]], rows: int, runs: int, *, shifted: bool) -> dict[str, float]:
    """How often each way told something."""
    kind = f"{run.__name__.removesuffix('_run')}, {rows} rows, {'shifted' if shifted else 'nothing moved'}"
    with ProcessPoolExecutor(2) as workers:
        together = REFERENCES_EACH if run is one_run else 5
        told = workers.map(partial(run, rows, shifted=shifted), range(runs), chunksize=together)
        found = list(track(told, kind, total=runs, console=Console(stderr=True)))
    return {way: sum(one[way] for one in found) / runs for way in found[0]}


def main(
    runs: Annotated[int, typer.Option(help="Runs of each kind.")] = 1000,
    evidently: Annotated[int, typer.Option(help="Of Evidently, which takes seconds each; 0 leaves it out.")] = 40,
    picture: Annotated[bool, typer.Option(help="Draw docs/pictures/bench-drift.png anew.")] = False,
) -> None:
    """Print how often each way cries, and finds; exits 1 where a promise is not kept."""
    kinds: list[tuple[Callable[..., dict[str, bool]], int]] = [(one_run, runs), (formula_run, runs)]
    kinds += [(evidently_run, evidently)] if evidently else []
    columns: dict[str, dict[str, float]] = {}
    for rows in SIZES:
        columns[f"cried, {rows}"] = {way: rate for run, count in kinds
                                     for way, rate in rates(run, rows, count, shifted=False).items()}  # fmt: skip
    found = f"found, {POWER_ROWS}"
    columns[found] = {way: rate for run, count in kinds
                      for way, rate in rates(run, POWER_ROWS, count, shifted=True).items()}  # fmt: skip
    show(columns)
    if picture:
        draw(columns)
    sys.exit(0 if kept(columns) else 1)


def kept(columns: dict[str, dict[str, float]]) -> bool:
    """Whether the job's alarm keeps what is promised of it."""
    mine = {name: of[Ways[1]] for name, of in columns.items()}
    cried = all(rate <= MOST_CRIED for name, rate in mine.items() if name.startswith("cried"))
    return cried and all(rate >= LEAST_FOUND for name, rate in mine.items() if name.startswith("found"))


def show(columns: dict[str, dict[str, float]]) -> None:
    """A line for each way."""
    table = Table("", *(name for name in columns))
    for way in _ways(columns):
        table.add_row(way, *(f"{of[way]:.1%}" for of in columns.values()))
    Console(width=120).print(table)


def _ways(columns: dict[str, dict[str, float]]) -> Sequence[str]:
    return [way for way in Ways if way in next(iter(columns.values()))]


def draw(columns: dict[str, dict[str, float]]) -> None:
    """False alarms by the size of the window, and what is found."""
    figure, grid = pages.canvas(2, 1, (11, 3.6))
    colours = (pages.OTHER, "#053061", pages.GREY, pages.ONE, "#f4a582")
    for way, colour in zip(_ways(columns), colours, strict=False):
        cried = [columns[f"cried, {rows}"][way] for rows in SIZES]
        grid[0, 0].plot(SIZES, cried, marker="o", color=colour, label=way)
        grid[0, 1].barh(way, columns[f"found, {POWER_ROWS}"][way], color=colour)
    grid[0, 0].set_xscale("log")
    grid[0, 0].set_xticks(SIZES, [f"{rows:,}" for rows in SIZES])
    grid[0, 0].axhline(MOST_CRIED, color="black", linewidth=0.8, linestyle="--")
    grid[0, 0].set_xlabel("rows in a window")
    grid[0, 0].set_title("nothing moved: share of runs that told something", fontsize=10)
    grid[0, 0].legend(frameon=False, fontsize=8, loc="center right", bbox_to_anchor=(1.0, 0.38))
    grid[0, 1].set_title(f"half a standard deviation, {POWER_ROWS} rows: share that told the field", fontsize=10)
    grid[0, 1].set_xlim(0, 1)
    grid[0, 1].invert_yaxis()
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    typer.run(main)

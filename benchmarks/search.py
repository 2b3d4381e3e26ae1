"""How long until a search has found what is tuned: ours beside scikit-learn's RandomizedSearchCV(100), in one run.

The same rows, folds, space and cores. What counts as tuned is what RandomizedSearchCV's winner scores when it is done:
its mean ROC-AUC on the search's folds, and on folds cut anew, because the best of a hundred is the luckiest too. Ray is
up before the clock starts, as it is in a running Forewarn; its start is printed.

    make bench-search                                    made-up rows
    make bench-search DATA=USE_CASE=/path/to/rows.csv    your own
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, time
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from forewarn import sources, usecases
from forewarn.features import Features
from forewarn.settings import PROJECT, Settings
from forewarn.spaces import SPACES, Range
from forewarn.tasks import Classification
from forewarn.trees import Trees
from forewarn.usecase import UseCase
from jobs import cluster

ITERATIONS = 100
ROWS = 3000
CORES = 2
ALGORITHM = "xgboost"
PICTURE = PROJECT / "docs" / "pictures" / "bench-search.png"
Scale = Literal["best", "worth"]
SCALES: dict[Scale, str] = {"best": "the search's own folds", "worth": "fresh folds"}
OURS, THEIRS = "Forewarn", f"RandomizedSearchCV({ITERATIONS})"


# When it was known, its mean score on the search's folds, its parameters.
Candidate = tuple[float, float, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Who led, since when, and when the search was done; seconds since it began.

    Attributes:
        best: mean ROC-AUC of each leader on the search's own folds, rising.
        worth: the same leaders' mean ROC-AUC on fresh folds.
    """

    seconds: list[float]
    best: list[float]
    worth: list[float]
    done: float

    @classmethod
    def of(cls, found: list[Candidate], done: float, problem: "Problem") -> "Curve":
        """From every candidate that saw every fold. Leaders are tried on fresh folds now, when no clock runs."""
        leaders: list[Candidate] = []
        for one in sorted(found, key=lambda one: one[0]):
            if not leaders or one[1] > leaders[-1][1]:
                leaders.append(one)
        return cls(seconds=[second for second, _, _ in leaders], best=[score for _, score, _ in leaders],
                   worth=[problem.worth(params) for _, _, params in leaders], done=done)  # fmt: skip

    def reached(self, other: "Curve", scale: Scale) -> float:
        """When a leader first scored what the other's winner does; infinite if never."""
        wanted = getattr(other, scale)[-1]
        return next((when for when, score in zip(self.seconds, getattr(self, scale), strict=True) if score >= wanted),
                    np.inf)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What both sides search: one matrix, and folds as pairs of places."""

    case: UseCase
    matrix: Any
    labels: Any
    levels: tuple[int, ...]
    folds: list[tuple[Any, Any]]
    fresh: list[tuple[Any, Any]]

    def worth(self, params: dict[str, float]) -> float:
        """Mean ROC-AUC on the fresh folds."""
        from sklearn.metrics import roc_auc_score

        scores = []
        for train, test in self.fresh:
            trees = Trees.fit(self.matrix[train], self.labels[train], self.levels, seed=0, **params)
            scores.append(roc_auc_score(self.labels[test], trees.margins(self.matrix[test])))
        return float(np.mean(scores))

    @classmethod
    def of(cls, case: UseCase, raw: list[dict[str, Any]]) -> "Problem":
        """The folds of Forewarn's own search, the features fitted once for both."""
        from training import data

        found = data.examples(case, raw)
        features = Features.fit(case, found.rows)
        folds, fresh = ([split for _, split in data.splits(found, repeats=2, seed=seed)] for seed in (0, 1))
        return cls(case=case, matrix=features.matrix(found.rows), labels=found.labels, levels=features.levels,
                   folds=folds, fresh=fresh)  # fmt: skip


def ours(problem: Problem, seed: int) -> Curve:
    """Forewarn's default search, over the trees alone. Within a connected Ray."""
    from training import presets, tune

    task = replace(problem.case.task, algorithms=(ALGORITHM,))
    preset = presets.preset("default", task, seed=seed)
    found: list[Candidate] = []
    began = perf_counter()

    def heard(trial: "tune.Finished") -> None:
        if trial.whole:
            found.append((perf_counter() - began, trial.score, trial.params))

    with TemporaryDirectory() as folder:
        budget = tune.Budget(trials=preset.trials, seconds=preset.seconds)
        tune.search(_folds(problem), task=task, preset=preset, budget=budget, seed=seed, folder=Path(folder),
                    heard=heard)  # fmt: skip
        done = perf_counter() - began
    return Curve.of(found, done, problem)


def theirs(problem: Problem, seed: int) -> Curve:
    """scikit-learn's, each fit with one thread and as many at a time as there are cores."""
    from sklearn.model_selection import RandomizedSearchCV
    from xgboost import XGBClassifier

    kinds = ["c" if count else "q" for count in problem.levels]
    model = XGBClassifier(tree_method="hist", n_jobs=1, enable_categorical=True, feature_types=kinds,
                          max_cat_to_onehot=max((*problem.levels, 4)) + 1, random_state=seed)  # fmt: skip
    with TemporaryDirectory() as folder:
        log = Path(folder) / "scores"
        search = RandomizedSearchCV(model, space(), n_iter=ITERATIONS, cv=problem.folds, n_jobs=CORES, refit=False,
                                    random_state=seed, scoring=partial(_scored, log=log))  # fmt: skip
        began, clock = perf_counter(), time()
        search.fit(problem.matrix, problem.labels)
        done = perf_counter() - began
        lines = [line.split(maxsplit=2) for line in log.read_text().splitlines()]
    candidates: dict[str, list[tuple[float, float]]] = {}
    for when, score, params in lines:
        candidates.setdefault(params, []).append((float(when) - clock, float(score)))
    whole = [(json.loads(params), folds) for params, folds in candidates.items() if len(folds) == len(problem.folds)]
    found = [
        (max(when for when, _ in folds), float(np.mean([score for _, score in folds])), params)
        for params, folds in whole
    ]
    return Curve.of(found, done, problem)


def space() -> dict[str, Any]:
    """Forewarn's ranges as SciPy's distributions."""
    return {name: _distribution(extent) for name, extent in SPACES[ALGORITHM].items()}


def _distribution(extent: Range) -> Any:
    from scipy import stats

    if extent.whole and extent.log:
        return _WholeLog(extent)
    if extent.whole:
        return stats.randint(int(extent.low), int(extent.high) + 1)
    if extent.log:
        return stats.loguniform(extent.low, extent.high)
    return stats.uniform(extent.low, extent.high - extent.low)


class _WholeLog:
    """Whole numbers on a log scale, which SciPy has no distribution for."""

    def __init__(self, extent: Range):
        self._extent = extent

    def rvs(self, random_state: Any = None) -> int:
        low, high = np.log(self._extent.low), np.log(self._extent.high)
        return int(np.exp(random_state.uniform(low, high)))


def _scored(model: Any, matrix: Any, labels: Any, log: Path) -> float:
    """The fold's ROC-AUC, noted with the time: RandomizedSearchCV itself tells nothing before its end."""
    from sklearn.metrics import roc_auc_score

    score = float(roc_auc_score(labels, model.predict_proba(matrix)[:, 1]))
    with log.open("a") as file:
        file.write(
            f"{time()} {score} {json.dumps({name: float(model.get_params()[name]) for name in SPACES[ALGORITHM]})}\n"
        )
    return score


def _folds(problem: Problem) -> list[Any]:
    from training.data import Fold

    return [
        Fold(train=problem.matrix[train], train_labels=problem.labels[train], test=problem.matrix[test],
             test_labels=problem.labels[test], levels=problem.levels, places=test, repeat=0)
        for train, test in problem.folds
    ]  # fmt: skip


def draw(curves: dict[str, Curve], title: str, path: Path) -> None:
    """Both searches over time, on a log scale: what led, on the search's folds and on fresh ones."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), dpi=140, layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (scale, says) in zip(panels, SCALES.items(), strict=True):
        for (name, curve), colour in zip(curves.items(), ("#0072B2", "#D55E00"), strict=True):
            leaders = getattr(curve, scale)
            axes.step([*curve.seconds, curve.done], [*leaders, leaders[-1]], where="post", color=colour, label=name)
            axes.plot(curve.done, leaders[-1], "o", color=colour)
        axes.set(xscale="log", xlabel="seconds since the search began", title=f"best so far, on {says}")
        axes.grid(color="#dddddd", linewidth=0.6)
    panels[0].set_ylabel("mean ROC-AUC")
    panels[0].set_ylim(max(curve.best[-1] for curve in curves.values()) - 0.004, None)
    panels[1].legend(loc="lower right", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(path)


def show(curves: dict[str, Curve]) -> None:
    """The figures, and the ratios."""
    out, other = Console(width=110), curves[THEIRS]
    for scale, says in SCALES.items():
        table = Table("search", "done after", "winner", f"{THEIRS}'s winner matched after", title=f"On {says}")
        for name, curve in curves.items():
            table.add_row(name, f"{curve.done:.1f} s", f"{getattr(curve, scale)[-1]:.4f}",
                          f"{curve.reached(other, scale):.1f} s")  # fmt: skip
        out.print(table)
        mine = curves[OURS].reached(other, scale)
        out.print(f"{OURS} is there {other.done / mine:.1f} times sooner than {THEIRS} is done, "
                  f"and {other.reached(other, scale) / mine:.1f} times sooner than it draws its winner")  # fmt: skip


def _problem(given: str) -> tuple[Problem, str]:
    name, _, file = given.partition("=")
    first = next(case for case in usecases.every().values() if isinstance(case.task, Classification))
    case = usecases.get(name) if name else first
    if not isinstance(case.task, Classification):
        sys.exit(f"{case.name} forecasts an amount; RandomizedSearchCV is compared on events")
    raw = sources.load(file, case, labelled=True) if file else case.sample(ROWS, seed=0)
    problem = Problem.of(case, raw)
    return problem, f"{case.name}, {len(raw)} rows{' of ' + Path(file).name if file else ', made up'}, {CORES} cores"


def main() -> None:
    """Theirs first, then ours, nothing else running."""
    cluster.prepare_environment()
    given = sys.argv[1] if len(sys.argv) > 1 else ""
    problem, title = _problem(given)
    curves: dict[str, Curve] = {}
    runs: dict[str, Callable[[Problem, int], Curve]] = {THEIRS: theirs, OURS: ours}
    with TemporaryDirectory() as home:
        curves[THEIRS] = runs[THEIRS](problem, 0)
        began = perf_counter()
        with cluster.connected(Settings(home=Path(home))):
            print(f"Ray was up after {perf_counter() - began:.0f} s")
            curves[OURS] = runs[OURS](problem, 0)
    both = {name: curves[name] for name in (OURS, THEIRS)}
    show(both)
    draw(both, f"Search for the best trees: {title}", PICTURE)
    print(f"picture: {PICTURE}")


if __name__ == "__main__":
    main()

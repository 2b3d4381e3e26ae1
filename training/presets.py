"""What a search tries, and how: Forewarn's own way, or those of the requirements (S2-30, S2-31)."""

from dataclasses import dataclass
from itertools import product
from typing import Literal

from forewarn.errors import BadInput
from forewarn.tasks import Classification, Task
from training.recipes import Recipe

Name = Literal["default", "grid", "random"]

# S2-30: 4 × 3 × 3 × 3 = 108 points.
GRID: dict[str, list[float]] = {
    "max_depth": [3, 5, 7, 10],
    "learning_rate": [0.01, 0.1, 0.3],
    "n_estimators": [100, 200, 300],
    "subsample": [0.8, 0.9, 1.0],
}
# S2-31: 9,216 points by its own ranges (the text counts 12,288, C13), of which 100 are drawn.
SPACE: dict[str, list[float]] = {
    "max_depth": [3, 5, 7, 10],
    "learning_rate": [0.01, 0.05, 0.1, 0.3],
    "n_estimators": [100, 200, 300, 500],
    "subsample": [0.7, 0.8, 0.9, 1.0],
    "colsample_bytree": [0.7, 0.8, 0.9, 1.0],
    "min_child_weight": [1, 3, 5],
    "gamma": [0.0, 0.1, 0.2],
}
DRAWN = 100
# S2-34. Within a trial's training rows: see `trees.settled`.
PATIENCE = 10


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How a search goes.

    Attributes:
        metric: what trials are compared by.
        repeats: of the five folds that each trial is cross-validated on.
        points: the trials there are, in order; empty where they are proposed one by one from the results so far.
        trials, seconds: the budget unless another is given; no seconds: however long it takes.
    """

    name: Name
    metric: str
    repeats: int
    points: tuple[Recipe, ...]
    trials: int
    seconds: float


def preset(name: Name, task: Task, *, seed: int) -> Preset:
    """The preset of that name for this task.

    Raises:
        BadInput: the task's first algorithm has no trees.
    """
    if name == "default":
        return Preset(name=name, metric=task.metric, repeats=2, points=(), trials=80, seconds=75.0)
    algorithm = task.algorithms[0]
    if not algorithm.startswith("xgboost"):
        raise BadInput(f"--preset {name} searches trees, and {algorithm} has none; use --preset default")
    metric = "f1" if isinstance(task, Classification) else task.metric  # S2-32
    drawn = _grid() if name == "grid" else _drawn(seed)
    points = tuple(Recipe(algorithm=algorithm, params={**point, "early_stopping_rounds": PATIENCE}) for point in drawn)
    return Preset(name=name, metric=metric, repeats=1, points=points, trials=len(points), seconds=float("inf"))


def _grid() -> list[dict[str, float]]:
    return [dict(zip(GRID, values, strict=True)) for values in product(*GRID.values())]


def _drawn(seed: int) -> list[dict[str, float]]:
    from sklearn.model_selection import ParameterSampler  # 1 s to import

    return list(ParameterSampler(SPACE, DRAWN, random_state=seed))

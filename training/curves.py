"""What boosted trees are worth after every few rounds: growing them once tries every number of rounds there is.

Folds grow side by side and stop growing when their mean has not improved for a while, so that a recipe that overfits
after 25 rounds is not grown to 600. This is why a search draws no `n_estimators`: measured on the Telco file, one trial
found more than a hundred that drew it (docs/decisions/0012).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xgboost

from forewarn import performance
from forewarn.spaces import ROUNDS, SPACES
from forewarn.tasks import Task, Vector
from forewarn.trees import OBJECTIVES, Boosting
from training.data import Fold
from training.recipes import Recipe

# Two neighbouring numbers differ by less than one fold's noise, and looking costs as much as growing.
STEP = 5
# Rounds without a better mean, after which there are no more.
PATIENCE = 50


@dataclass(frozen=True, kw_only=True)
class Ground:
    """One fold's rows as XGBoost wants them: a fifth of a short fit is spent on making these."""

    rows: xgboost.DMatrix
    tried: xgboost.DMatrix
    labels: Vector

    @classmethod
    def of(cls, recipe: Recipe, fold: Fold, *, seed: int) -> "Ground":
        """With the recipe's made-up events, if it wants any."""
        kinds = ["c" if count else "q" for count in fold.levels]
        matrix, labels = recipe.evened(fold.train, fold.train_labels, fold.levels, seed=seed)
        rows, tried = (
            xgboost.DMatrix(part, told, feature_types=kinds, enable_categorical=True, nthread=1)
            for part, told in ((matrix, labels), (fold.test, fold.test_labels))
        )
        return cls(rows=rows, tried=tried, labels=fold.test_labels)


def applies(recipe: Recipe) -> bool:
    """Whether the recipe leaves the number of rounds open."""
    return recipe.algorithm in OBJECTIVES and ROUNDS not in recipe.params


def settled(recipe: Recipe, curves: Sequence[Vector], *, larger_is_better: bool) -> dict[str, float]:
    """The recipe's parameters, with the number of rounds at which the mean of the curves is best."""
    if not applies(recipe):
        return recipe.params
    mean = np.mean(curves, axis=0)
    place = int(mean.argmax() if larger_is_better else mean.argmin())
    return {**recipe.params, ROUNDS: int(SPACES[recipe.algorithm][ROUNDS].low) + place * STEP}


def grow(
    recipe: Recipe, folds: Sequence[Fold], grounds: Sequence[Ground], task: Task, metric: str, *, points: int, seed: int
) -> list[Vector]:
    """Each fold's selection metric after the fewest rounds of the space, and after each five more.

    Args:
        points: how many numbers of rounds are tried; 0: until the folds' mean no longer improves.
    """
    extent = SPACES[recipe.algorithm][ROUNDS]
    growing = [_planted(recipe, fold, ground, seed) for fold, ground in zip(folds, grounds, strict=True)]
    sign = 1 if task.larger_is_better else -1
    curves: list[list[float]] = [[] for _ in folds]
    done = 0
    for rounds in range(int(extent.low), int(extent.high) + 1, STEP):
        for booster, ground, curve in zip(growing, grounds, curves, strict=True):
            _grow(booster, ground, done, rounds)
            margins = booster.predict(ground.tried, output_margin=True)
            curve.append(performance.selection(task, ground.labels, margins, metric))
        done = rounds
        if len(curves[0]) == points or (not points and _over(sign * np.mean(curves, axis=0))):
            break
    return [np.array(curve) for curve in curves]


def _planted(recipe: Recipe, fold: Fold, ground: Ground, seed: int) -> xgboost.Booster:
    params = {**recipe.weighted(fold.train_labels), ROUNDS: 0}
    asked = Boosting.of(OBJECTIVES[recipe.algorithm], fold.levels, seed=seed, **params)
    return xgboost.Booster(asked.params, [ground.rows, ground.tried])


def _grow(booster: xgboost.Booster, ground: Ground, done: int, rounds: int) -> None:
    for number in range(done, rounds):
        booster.update(ground.rows, number)


def _over(means: Vector) -> bool:
    return (len(means) - 1 - int(means.argmax())) * STEP >= PATIENCE

"""One trial of a search: a recipe, cross-validated fold by fold in one thread of a worker."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ray import tune

from forewarn import performance
from forewarn.tasks import Task, Vector
from training import curves
from training.curves import Ground
from training.data import Fold
from training.proposals import FOLDS, STOPPABLE
from training.recipes import Recipe


class CrossValidation(tune.Trainable):
    """Each step sees the folds up to the next one at which the trial may be stopped.

    A class and not a function: Ray Tune runs a function in a thread of its own and looks in on it every 0.1 s, as long
    as a fold takes. The worker is used for trial after trial, and keeps its folds.
    """

    def setup(  # type: ignore[override]  # Tune passes the parameters on
        self,
        config: dict[str, Any],
        *,
        folds: list[Fold],
        task: Task,
        seed: int,
        metric: str,
        milestones: tuple[int, ...],
    ) -> None:
        """Once per worker."""
        self._folds = folds
        self._task = task
        self._seed = seed
        self._metric = metric
        self._stops = sorted({*milestones, len(folds)})
        self._grounds: dict[tuple[int, bool], Ground] = {}
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Once per trial: `curves` holds each fold's metric, at one number of rounds or at many."""
        self._recipe = recipe_of(new_config)
        self._curves: list[Vector] = []
        return True

    def step(self) -> dict[str, Any]:
        """The best mean so far, the running bests fold by fold, and the parameters that it is the best of."""
        larger = self._task.larger_is_better
        self._curves += self._tried(len(self._curves), self._next_stop())
        means = [np.mean(self._curves[:count], axis=0) for count in range(1, len(self._curves) + 1)]
        seen = [float(mean.max() if larger else mean.min()) for mean in means]
        params = curves.settled(self._recipe, self._curves, larger_is_better=larger)
        return {
            self._metric: seen[-1],
            FOLDS: len(seen),
            "seen": seen,
            "params": params,
            "done": len(seen) == len(self._folds),
        }

    def _next_stop(self) -> int:
        stops = self._stops if self._recipe.algorithm in STOPPABLE else self._stops[-1:]
        return next(stop for stop in stops if stop > len(self._curves))

    def _tried(self, start: int, end: int) -> list[Vector]:
        recipe, folds = self._recipe, self._folds[start:end]
        if not curves.applies(recipe):
            return [np.array([self._score(fold)]) for fold in folds]
        grounds = [self._ground(number) for number in range(start, end)]
        points = len(self._curves[0]) if self._curves else 0
        return curves.grow(recipe, folds, grounds, self._task, self._metric, points=points, seed=self._seed)

    def _score(self, fold: Fold) -> float:
        estimator = self._recipe.fit(fold.train, fold.train_labels, fold.levels, seed=self._seed)
        return performance.selection(self._task, fold.test_labels, estimator.margins(fold.test), self._metric)

    def _ground(self, number: int) -> Ground:
        key = (number, self._recipe.balance == "smote")
        if key not in self._grounds:
            self._grounds[key] = Ground.of(self._recipe, self._folds[number], seed=self._seed)
        return self._grounds[key]


def recipe_of(config: Mapping[str, Any]) -> Recipe:
    """The recipe in a trial's configuration."""
    return Recipe(algorithm=config["algorithm"], params=dict(config["params"]), balance=config["balance"])

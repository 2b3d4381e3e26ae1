"""Growing trees once is worth as much as fitting each number of them by itself."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from forewarn import performance, usecases
from forewarn.spaces import SPACES
from forewarn.tasks import Task
from training import curves, data
from training.curves import PATIENCE, STEP, Ground
from training.data import Fold
from training.recipes import Recipe
from training.trial import CrossValidation, recipe_of

TREES = {"max_depth": 3.0, "learning_rate": 0.2, "subsample": 0.8, "colsample_bytree": 0.5, "gamma": 0.1}
FEWEST = {algorithm: int(SPACES[algorithm]["n_estimators"].low) for algorithm in ("xgboost", "xgboost_absolute")}


@cache
def folds(name: str) -> tuple[Task, list[Fold]]:
    case = usecases.get(name)
    found = data.examples(case, case.sample(600, seed=1))
    return case.task, list(data.folds(found, repeats=1, seed=0))


def grown(name: str, recipe: Recipe, count: int = 2, points: int = 0) -> list[Any]:
    task, cut = folds(name)
    grounds = [Ground.of(recipe, fold, seed=0) for fold in cut[:count]]
    return curves.grow(recipe, cut[:count], grounds, task, task.metric, points=points, seed=0)


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("churn", Recipe(algorithm="xgboost", params=TREES)),
        ("churn", Recipe(algorithm="xgboost", params=TREES, balance="scale_pos_weight")),
        ("attrition", Recipe(algorithm="xgboost", params=TREES, balance="smote")),
        ("absenteeism", Recipe(algorithm="xgboost_absolute", params=TREES)),
    ],
    ids=["plain", "weighted", "smote", "amount"],
)
def test_each_point_is_what_a_fit_of_so_many_rounds_scores(name: str, recipe: Recipe) -> None:
    task, (fold, *_) = folds(name)
    (curve,) = grown(name, recipe, count=1, points=8)
    assert len(curve) == 8
    for place in (0, 3, 7):
        rounds = FEWEST[recipe.algorithm] + place * STEP
        fixed = replace(recipe, params={**recipe.params, "n_estimators": rounds})
        estimator = fixed.fit(fold.train, fold.train_labels, fold.levels, seed=0)
        wanted = performance.selection(task, fold.test_labels, estimator.margins(fold.test))
        assert curve[place] == pytest.approx(wanted, abs=1e-4)


def test_folds_stop_growing_together_once_their_mean_no_longer_improves() -> None:
    hasty = Recipe(algorithm="xgboost", params={**TREES, "max_depth": 8, "learning_rate": 0.3})
    one, other = grown("churn", hasty)
    mean = (one + other) / 2
    assert len(one) == len(other)
    assert len(one) - 1 - mean.argmax() == PATIENCE // STEP
    slow = Recipe(algorithm="xgboost", params={**TREES, "learning_rate": 0.01})
    assert len(grown("churn", slow)[0]) > len(one)


def test_the_rounds_are_those_at_which_the_mean_is_best() -> None:
    recipe = Recipe(algorithm="xgboost", params=TREES)
    rising = [np.array([0.1, 0.5, 0.2]), np.array([0.1, 0.2, 0.3])]
    best = curves.settled(recipe, rising, larger_is_better=True)
    assert best == {**TREES, "n_estimators": FEWEST["xgboost"] + STEP}
    least = curves.settled(recipe, rising, larger_is_better=False)
    assert least["n_estimators"] == FEWEST["xgboost"]


def test_what_says_its_rounds_or_has_none_is_fitted_as_it_says() -> None:
    assert not curves.applies(Recipe(algorithm="xgboost", params={**TREES, "n_estimators": 100}))
    assert not curves.applies(Recipe(algorithm="logistic", params={"C": 1.0}))


def trial(recipe: Recipe, milestones: tuple[int, ...] = (2,)) -> CrossValidation:
    """As Ray Tune makes one on a worker."""
    task, cut = folds("churn")
    made = CrossValidation.__new__(CrossValidation)
    config = {"number": 0, **recipe.to_json()}
    made.setup(config, folds=cut, task=task, seed=0, metric="roc_auc", milestones=milestones)
    return made


def test_a_trial_goes_on_from_one_number_of_folds_to_the_next_at_which_it_may_be_stopped() -> None:
    running = trial(Recipe(algorithm="xgboost", params=TREES))
    early, late = running.step(), running.step()
    assert (early["folds"], early["done"]) == (2, False)
    assert (late["folds"], late["done"]) == (5, True)
    assert late["seen"][:2] == pytest.approx(early["seen"])
    assert (late["roc_auc"], early["roc_auc"]) == (late["seen"][-1], early["seen"][-1])
    assert late["params"].keys() == TREES.keys() | {"n_estimators"}


def test_a_linear_trial_sees_every_fold_at_once_and_is_worth_their_mean() -> None:
    recipe = Recipe(algorithm="logistic", params={"C": 0.1})
    told = trial(recipe).step()
    task, cut = folds("churn")
    scores = [
        performance.selection(
            task, fold.test_labels, recipe.fit(fold.train, fold.train_labels, fold.levels, seed=0).margins(fold.test)
        )
        for fold in cut
    ]
    assert told["done"]
    assert told["roc_auc"] == pytest.approx(np.mean(scores))
    assert told["params"] == recipe.params


def test_a_worker_takes_up_the_next_trial_as_if_it_were_its_first() -> None:
    used = trial(Recipe(algorithm="xgboost", params={**TREES, "max_depth": 8}))
    used.step()
    following = Recipe(algorithm="xgboost", params=TREES, balance="scale_pos_weight")
    used.reset_config({"number": 1, **following.to_json()})
    assert used.step() == trial(following).step()


def test_a_trials_configuration_is_its_recipe() -> None:
    recipe = Recipe(algorithm="xgboost", params=TREES, balance="scale_pos_weight")
    assert recipe_of({"number": 7, **recipe.to_json()}) == recipe

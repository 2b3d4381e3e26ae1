from dataclasses import replace
from math import inf, prod

import numpy as np
import pytest

from forewarn import trees, usecases
from forewarn.errors import BadInput
from forewarn.tasks import Classification, Regression
from forewarn.trees import Trees
from training import data, presets
from training.data import Fold
from training.presets import Preset, preset
from training.recipes import Recipe

EVENT = Classification(event="Yes")
HOURS = Regression(unit="hours")


def points(found: Preset) -> list[dict[str, float]]:
    """Without what all of them share."""
    bare = [dict(recipe.params) for recipe in found.points]
    assert {one.pop("early_stopping_rounds") for one in bare} == {10}
    return bare


@pytest.mark.requirement("S2-30")
def test_the_grid_is_each_of_the_108_points_once() -> None:
    found = points(preset("grid", EVENT, seed=0))
    wanted = {
        (depth, rate, trees, share)
        for depth in (3, 5, 7, 10)
        for rate in (0.01, 0.1, 0.3)
        for trees in (100, 200, 300)
        for share in (0.8, 0.9, 1.0)
    }
    told = [(one["max_depth"], one["learning_rate"], one["n_estimators"], one["subsample"]) for one in found]
    assert len(told) == 108
    assert set(told) == wanted
    assert {frozenset(one) for one in found} == {frozenset({"max_depth", "learning_rate", "n_estimators", "subsample"})}


@pytest.mark.requirement("S2-31")
@pytest.mark.requirement("C13")
def test_random_draws_a_hundred_points_of_9216() -> None:
    found = points(preset("random", EVENT, seed=0))
    assert len({tuple(sorted(one.items())) for one in found}) == len(found) == 100
    assert prod(len(values) for values in presets.SPACE.values()) == 9216
    for name, wanted in {
        "max_depth": {3, 5, 7, 10},
        "learning_rate": {0.01, 0.05, 0.1, 0.3},
        "n_estimators": {100, 200, 300, 500},
        "subsample": {0.7, 0.8, 0.9, 1.0},
        "colsample_bytree": {0.7, 0.8, 0.9, 1.0},
        "min_child_weight": {1, 3, 5},
        "gamma": {0, 0.1, 0.2},
    }.items():
        assert {one[name] for one in found} == wanted


def test_random_draws_the_same_points_for_the_same_seed() -> None:
    assert preset("random", EVENT, seed=4) == preset("random", EVENT, seed=4)
    assert preset("random", EVENT, seed=4) != preset("random", EVENT, seed=5)


@pytest.mark.requirement("S2-32")
@pytest.mark.parametrize("name", ["grid", "random"])
def test_the_documents_searches_go_by_f1_over_five_folds_however_long_they_take(name: presets.Name) -> None:
    found = preset(name, EVENT, seed=0)
    assert (found.metric, found.repeats, found.seconds) == ("f1", 1, inf)
    assert found.trials == len(found.points)
    assert {recipe.algorithm for recipe in found.points} == {"xgboost"}
    hours = preset(name, HOURS, seed=0)
    assert hours.metric == "mae"
    assert {recipe.algorithm for recipe in hours.points} == {"xgboost_absolute"}


def test_the_default_proposes_as_it_goes_and_has_a_budget() -> None:
    found = preset("default", EVENT, seed=0)
    assert (found.points, found.metric, found.repeats) == ((), "roc_auc", 2)
    assert found.trials > 0
    assert found.seconds < inf
    assert preset("default", HOURS, seed=0).metric == "mae"


def test_what_has_no_trees_cannot_be_searched_by_grid() -> None:
    linear = Classification(event="Yes", algorithms=("logistic",))
    with pytest.raises(BadInput, match="--preset grid searches trees, and logistic has none; use --preset default"):
        preset("grid", linear, seed=0)
    assert preset("default", linear, seed=0).points == ()


@pytest.mark.requirement("S2-34")
@pytest.mark.parametrize("name", ["attrition", "absenteeism"])
def test_boosting_ends_early_where_it_no_longer_improves_and_only_there(name: str) -> None:
    case = usecases.get(name)
    fold = next(data.folds(data.examples(case, case.sample(400, seed=1)), repeats=1, seed=0))
    hasty, slow = (
        next(one for one in preset("grid", case.task, seed=0).points if one.params.items() >= wanted.items())
        for wanted in (
            {"max_depth": 3, "learning_rate": 0.3, "n_estimators": 300, "subsample": 1.0},
            {"max_depth": 3, "learning_rate": 0.01, "n_estimators": 100, "subsample": 1.0},
        )
    )
    patient = replace(hasty, params={k: v for k, v in hasty.params.items() if k != "early_stopping_rounds"})
    assert rounds(patient, fold) == 300
    assert rounds(hasty, fold) < 100
    assert rounds(slow, fold) == 100


def test_how_long_to_boost_is_settled_for_the_final_fit_too() -> None:
    """Ray Train is told a number of rounds; the rows that settled it are the ones that it is given."""
    matrix = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    labels = (matrix[:, 0] > 0).astype(float)
    (asked, *_) = preset("grid", EVENT, seed=0).points
    settled = trees.settled("binary:logistic", matrix, labels, (0, 0, 0), seed=0, **asked.params)
    assert settled.keys() == asked.params.keys() - {"early_stopping_rounds"}
    assert {**settled, "n_estimators": 0} == {**points(preset("grid", EVENT, seed=0))[0], "n_estimators": 0}
    assert trees.settled("binary:logistic", matrix, labels, (0, 0, 0), seed=0, **settled) == settled


def rounds(recipe: Recipe, fold: Fold) -> int:
    trees = recipe.fit(fold.train, fold.train_labels, fold.levels, seed=0)
    assert isinstance(trees, Trees)
    return int(trees.booster.num_boosted_rounds())

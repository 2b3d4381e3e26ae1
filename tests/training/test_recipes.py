from collections import Counter

import numpy as np
import pytest

from forewarn import usecases
from forewarn.errors import BadInput
from forewarn.kernels import Linear
from forewarn.tasks import Classification, Regression
from forewarn.trees import Trees
from training import data, recipes
from training.data import Fold
from training.recipes import Balance, Recipe

EVENT = Classification(event="Yes")
HOURS = Regression(unit="hours")
CASE = usecases.get("attrition")
FOLDS = list(data.folds(data.examples(CASE, CASE.sample(400, seed=1)), repeats=1, seed=0))
FOLD = FOLDS[0]
PARAMS = {"C": 0.1}


def balanced(balance: Balance, fold: Fold = FOLD, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    recipe = Recipe(algorithm="logistic", params=PARAMS, balance=balance)
    return recipe.balanced(fold.train, fold.train_labels, fold.levels, seed=seed)


@pytest.mark.requirement("S2-29")
def test_smote_makes_as_many_events_as_others_and_keeps_the_rows_there_were() -> None:
    matrix, labels, params = balanced("smote")
    others = int((FOLD.train_labels == 0).sum())
    assert Counter(labels.tolist()) == {0.0: others, 1.0: others}
    np.testing.assert_array_equal(matrix[: len(FOLD.train)], FOLD.train)
    np.testing.assert_array_equal(labels[: len(FOLD.train)], FOLD.train_labels)
    assert (matrix.dtype, labels.dtype, params) == (np.float32, np.float64, PARAMS)


@pytest.mark.requirement("S2-29")
@pytest.mark.requirement("C15")
def test_smote_makes_up_events_between_those_of_the_training_rows_and_of_no_others() -> None:
    for fold in FOLDS:
        matrix, _, _ = balanced("smote", fold)
        made, events = matrix[len(fold.train) :], fold.train[fold.train_labels == 1]
        assert (made >= events.min(axis=0) - 1e-3).all()
        assert (made <= events.max(axis=0) + 1e-3).all()


@pytest.mark.requirement("C15")
def test_smote_makes_up_only_levels_that_there_are() -> None:
    matrix, _, _ = balanced("smote")
    codes = [place for place, count in enumerate(FOLD.levels) if count]
    assert codes
    for place in codes:
        assert set(np.unique(matrix[:, place])) <= set(np.unique(FOLD.train[:, place]))


def test_smote_of_numbers_alone_needs_no_categories() -> None:
    numbers = [place for place, count in enumerate(FOLD.levels) if not count]
    matrix, labels = recipes.oversampled(FOLD.train[:, numbers], FOLD.train_labels, (0,) * len(numbers), seed=0)
    assert matrix.shape[1] == len(numbers)
    assert labels.mean() == 0.5


def test_smote_makes_do_with_few_events() -> None:
    few = np.append(np.flatnonzero(FOLD.train_labels == 1)[:3], np.flatnonzero(FOLD.train_labels == 0)[:30])
    _, labels = recipes.oversampled(FOLD.train[few], FOLD.train_labels[few], FOLD.levels, seed=0)
    assert Counter(labels.tolist()) == {0.0: 30, 1.0: 30}


def test_smote_makes_up_the_same_rows_for_the_same_seed() -> None:
    np.testing.assert_array_equal(balanced("smote", seed=3)[0], balanced("smote", seed=3)[0])
    assert not np.array_equal(balanced("smote", seed=3)[0], balanced("smote", seed=4)[0])


@pytest.mark.requirement("C15")
def test_each_event_counts_as_often_as_there_are_others_for_one() -> None:
    matrix, labels, params = balanced("scale_pos_weight")
    events = FOLD.train_labels.sum()
    assert params == {**PARAMS, "scale_pos_weight": (len(FOLD.train_labels) - events) / events}
    assert matrix is FOLD.train
    assert labels is FOLD.train_labels


def test_without_balance_nothing_changes() -> None:
    matrix, labels, params = balanced("none")
    assert matrix is FOLD.train
    assert labels is FOLD.train_labels
    assert params == PARAMS
    assert params is not PARAMS


QUICK = {"n_estimators": 20, "max_depth": 2, "learning_rate": 0.1}


@pytest.mark.parametrize("balance", ["scale_pos_weight", "smote"])
@pytest.mark.parametrize(("algorithm", "params"), [("logistic", PARAMS), ("xgboost", QUICK)])
def test_a_balanced_model_warns_of_more_and_ranks_on(
    algorithm: str, params: dict[str, float], balance: Balance
) -> None:
    from sklearn.metrics import roc_auc_score

    plain, even = (
        Recipe(algorithm=algorithm, params=params, balance=way)
        .fit(FOLD.train, FOLD.train_labels, FOLD.levels, seed=0)
        .margins(FOLD.test)
        for way in ("none", balance)
    )
    assert EVENT.scores(plain).mean() < 0.25
    assert EVENT.scores(even).mean() > EVENT.scores(plain).mean() + 0.1
    assert roc_auc_score(FOLD.test_labels, even) > roc_auc_score(FOLD.test_labels, plain) - 0.1


def test_a_recipe_makes_what_its_algorithm_names() -> None:
    kinds = {"logistic": (Linear, PARAMS), "xgboost": (Trees, QUICK)}
    for algorithm, (kind, params) in kinds.items():
        fitted = Recipe(algorithm=algorithm, params=params).fit(FOLD.train, FOLD.train_labels, FOLD.levels, seed=0)
        assert isinstance(fitted, kind)


def test_a_recipe_is_read_back_from_its_json() -> None:
    recipe = Recipe(algorithm="logistic", params=PARAMS, balance="smote")
    assert Recipe(**recipe.to_json()) == recipe


def test_ways_to_balance_are_checked_for_the_task() -> None:
    assert recipes.check(EVENT, ["smote", "none"]) == ("none", "smote")
    assert recipes.check(HOURS, ["none"]) == ("none",)
    with pytest.raises(BadInput, match="--balance rose: there is none, scale_pos_weight, smote"):
        recipes.check(EVENT, ["none", "rose"])
    with pytest.raises(BadInput, match="--balance smote is for events; amounts have no rare label"):
        recipes.check(HOURS, ["none", "smote"])

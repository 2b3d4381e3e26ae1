"""How good a version probably is, without outcomes: held against what came true."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from forewarn import estimation, performance, scoring, sources, usecases
from forewarn.estimators import FITTERS
from forewarn.features import Features
from forewarn.spaces import STARTING_POINTS
from forewarn.tasks import Classification, Regression

EVENT, RULE = Classification(event="Yes"), {"threshold": 0.35}


def drawn(rows: int, seed: int) -> tuple[Any, Any]:
    """Calibrated probabilities, and outcomes as they promise."""
    random = np.random.default_rng(seed)
    scores = random.beta(1, 3, rows)
    return scores, (random.random(rows) < scores).astype(float)


@pytest.mark.parametrize("metric", ["roc_auc", "accuracy", "recall", "precision", "brier"])
def test_of_calibrated_probabilities_the_interval_holds_what_comes_true(metric: str) -> None:
    held = 0
    for seed in range(60):
        scores, labels = drawn(400, seed)
        found = estimation.estimate(EVENT, scores, RULE, seed=seed)[metric]
        true = performance.classification(labels, scores, RULE["threshold"])[metric]
        held += found.low <= true <= found.high
    assert held >= 52, "of 60, where 57 are expected; 52 or fewer come once in 60 such tests"


def test_ties_and_single_rows_are_no_trouble() -> None:
    tied = estimation.estimate(EVENT, np.full(50, 0.4), RULE)
    assert tied["roc_auc"].value == 0.5
    assert estimation.estimate(EVENT, np.array([0.3]), RULE) == {}, "one row ranks nothing"
    assert estimation.estimate(Regression(unit="hours"), np.array([3.0]), {}) == {}, "nothing is known of its errors"


def test_an_amount_s_error_is_that_of_forecasts_of_its_size() -> None:
    """Errors grow with the forecast: a window of large ones is worth less, and the estimate says by how much."""
    random = np.random.default_rng(0)
    said = random.gamma(2, 4, 3000)
    came = said + random.normal(0, 0.5 * said)
    known = list(zip(said[:2000], came[:2000], strict=True))
    large = said[2000:] > np.quantile(said, 0.6)
    window, true = said[2000:][large], float(np.abs(came - said)[2000:][large].mean())
    found = estimation.estimate(Regression(unit="hours"), window, {}, known)["mae"]
    assert abs(found.value - true) < 0.1 * true
    assert found.low <= true <= found.high
    assert float(np.abs(came - said)[:2000].mean()) < 0.8 * true, "which training's mean error does not tell"


def test_the_estimate_on_telco_windows_is_within_two_points_of_the_truth(public_data: Path) -> None:
    """Windows of 1,000 rows, out of fold, no concept drift. Which 1,000 people are in a window moves its ROC-AUC by
    0.015 itself (standard deviation), so it is the mean error that is held to two points.
    """
    case = usecases.get("churn")
    raw = sources.load(str(public_data / "ibm_telco_churn.csv"), case, labelled=True)
    profiles = {one.name: one for one in case.profiles}
    case = profiles[scoring.profile(case, raw[0]).name]
    found = scoring.labelled(case, raw)
    scores = np.empty(len(found.labels))
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(found.labels, found.labels):
        features = Features.fit(case, [found.rows[place] for place in train])
        matrix = features.matrix([found.rows[place] for place in train])
        model = FITTERS["logistic"](matrix, found.labels[train], features.levels, seed=0,
                                    **STARTING_POINTS["logistic"][0])  # fmt: skip
        margins = model.margins(features.matrix([found.rows[place] for place in test]))
        scores[test] = case.task.scores(margins)
    order = np.random.default_rng(0).permutation(len(scores))
    errors = []
    for window in np.array_split(order, len(order) // 1000):
        told, true = estimation.estimate(case.task, scores[window], RULE), found.labels[window]
        auc = performance.roc_auc(true, scores[window])
        errors.append(told["roc_auc"].value - auc)
    assert np.abs(errors).mean() <= 0.02, errors
    assert abs(np.mean(errors)) <= 0.01, "nor is it off to one side"

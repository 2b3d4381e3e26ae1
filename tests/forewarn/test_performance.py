import numpy as np
import pytest

from forewarn import performance
from forewarn.errors import BadInput
from forewarn.tasks import Regression

LABELS = np.array([1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
SCORES = np.array([0.9, 0.8, 0.1, 0.4, 0.2, 0.1, 0.3, 0.1])


def test_metrics_of_a_worked_example() -> None:
    measured = performance.classification(LABELS, SCORES, threshold=0.5)
    assert measured["roc_auc"] == pytest.approx(11 / 12)
    assert (measured["recall"], measured["precision"], measured["f1"]) == (0.5, 0.5, 0.5)
    assert measured["accuracy"] == 0.75
    assert measured["brier"] == pytest.approx(np.mean((SCORES - LABELS) ** 2))
    assert measured["majority_accuracy"] == 0.75


def test_labels_of_one_kind_cannot_be_ranked() -> None:
    with pytest.raises(BadInput, match="all 3 labels are the same"):
        performance.classification(np.ones(3), np.array([0.1, 0.2, 0.3]), threshold=0.5)


def test_the_best_threshold_beats_every_other() -> None:
    best = performance.best_f1_threshold(LABELS, SCORES)["threshold"]
    top = performance.classification(LABELS, SCORES, best)["f1"]
    assert all(top >= performance.classification(LABELS, SCORES, other)["f1"] for other in np.linspace(0, 1, 101))


def test_folds_are_summed_up_as_mean_and_deviation() -> None:
    assert performance.over_folds([{"f1": 0.4}, {"f1": 0.6}]) == {"f1": {"mean": 0.5, "sd": pytest.approx(0.1)}}


def test_an_error_in_hours_never_stands_alone() -> None:
    labels, scores = np.array([0.0, 2.0, 4.0, 40.0]), np.array([1.0, 2.0, 6.0, 10.0])
    measured = performance.regression(labels, scores, scores - 2, scores + 2)
    assert measured["mae"] == pytest.approx((1 + 0 + 2 + 30) / 4)
    assert measured["median_mae"] == pytest.approx((3 + 1 + 1 + 37) / 4)
    assert (measured["coverage"], measured["width"]) == (0.75, 4.0)


@pytest.mark.requirement("C34")
@pytest.mark.parametrize("steady", [np.inf, 1.0], ids=["constant", "growing"])
def test_nine_of_ten_new_outcomes_lie_within_the_interval(steady: float) -> None:
    task = Regression(unit="hours", low=0, steady=steady)
    random, held = np.random.default_rng(0), []
    for _ in range(200):
        scores = random.gamma(2, 4, 400)
        labels = np.maximum(0, scores + random.exponential(3, 400) * (1 if steady == np.inf else 1 + scores) - 2)
        rule = performance.learn_rule(task, labels[:200], scores[:200])
        measured = performance.measure(task, labels[200:], scores[200:], rule)
        held.append(measured["coverage"])
    assert 0.895 <= np.mean(held) <= 0.925


def test_too_few_residuals_for_an_interval_are_counted() -> None:
    with pytest.raises(BadInput, match="38 rows are too few"):
        performance.conformal_reach(np.zeros(38))

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from forewarn import performance
from forewarn.errors import BadInput
from forewarn.tasks import Classification, Costs, Regression, Vector

EVENT = Classification(event="Yes")
LABELS = np.array([1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
SCORES = np.array([0.9, 0.8, 0.1, 0.4, 0.2, 0.1, 0.3, 0.1])


def test_metrics_of_a_worked_example() -> None:
    measured = performance.classification(LABELS, SCORES, threshold=0.5)
    assert measured["roc_auc"] == pytest.approx(11 / 12)
    assert (measured["recall"], measured["precision"], measured["f1"]) == (0.5, 0.5, 0.5)
    assert measured["accuracy"] == 0.75
    assert measured["brier"] == pytest.approx(np.mean((SCORES - LABELS) ** 2))
    assert measured["majority_accuracy"] == 0.75


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 99), threshold=st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0]))
def test_what_is_counted_here_is_what_scikit_learn_counts(seed: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    scores = random.uniform(0, 0.95, 40).round(1).clip(0.05)  # with ties
    labels = np.append((random.random(38) < scores[:38]).astype(float), [0.0, 1.0])
    found, answers = performance.classification(labels, scores, threshold), scores >= threshold
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(labels, scores))
    assert found["f1"] == pytest.approx(metrics.f1_score(labels, answers, zero_division=0))
    assert found["recall"] == pytest.approx(metrics.recall_score(labels, answers))
    assert found["precision"] == pytest.approx(metrics.precision_score(labels, answers, zero_division=0))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(labels, scores))


def test_a_certain_mistake_has_a_finite_log_loss() -> None:
    found = performance.classification(np.array([0.0, 1.0]), np.array([1.0, 1.0]), threshold=0.5)
    assert found["log_loss"] == pytest.approx(-np.log(performance.SUREST) / 2)


def test_labels_of_one_kind_cannot_be_ranked() -> None:
    with pytest.raises(BadInput, match="all 3 labels are the same"):
        performance.classification(np.ones(3), np.array([0.1, 0.2, 0.3]), threshold=0.5)


def test_the_best_threshold_beats_every_other() -> None:
    best = performance.f1_threshold(LABELS, SCORES)
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


def spent(labels: Vector, scores: Vector, threshold: float, costs: Costs) -> float:
    """What saying "event" from this probability on costs, counted row by row."""
    answers = scores >= threshold
    missed, false = ((labels == 1) & ~answers).sum(), ((labels == 0) & answers).sum()
    return float(costs.missed * missed + costs.false_alarm * false)


ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=1, max_size=30)


@settings(deadline=None)
@given(rows=ROWS, missed=st.sampled_from([0.3, 1.0, 5.0, 40.0]))
def test_no_threshold_is_cheaper_than_the_cheapest(rows: list[tuple[int, int]], missed: float) -> None:
    """Scores in steps of a tenth, so that many rows share one."""
    labels, scores = np.array(rows, dtype=np.float64).T
    costs = Costs(missed=missed)
    found = performance.cheapest_threshold(labels, scores / 10, costs)
    cheapest = min(spent(labels, scores / 10, other, costs) for other in [*np.unique(scores / 10), 1.0])
    assert spent(labels, scores / 10, found, costs) == cheapest


def test_a_dearer_miss_lowers_the_threshold() -> None:
    dear, even, cheap = (
        performance.cheapest_threshold(LABELS, SCORES, Costs(missed=missed)) for missed in (5.0, 0.9, 0.2)
    )
    assert (dear, even, cheap) == (0.4, 0.9, 0.9)
    assert spent(LABELS, SCORES, dear, Costs(missed=5.0)) == 1.0


def test_rows_of_one_score_are_never_parted() -> None:
    labels, scores = np.array([1.0, 0.0, 0.0, 0.0]), np.full(4, 0.5)
    assert performance.cheapest_threshold(labels, scores, Costs(missed=4.0)) == 0.5
    assert performance.cheapest_threshold(labels, scores, Costs(missed=2.0)) == 1.0


def test_where_every_alarm_costs_more_than_it_saves_nobody_is_warned_of() -> None:
    labels, scores = np.array([0.0, 0.0, 1.0]), np.array([0.9, 0.8, 0.1])
    assert performance.cheapest_threshold(labels, scores, Costs(missed=1.0, false_alarm=2.0)) == 1.0
    assert performance.cheapest_threshold(np.zeros(3), scores, Costs()) == 1.0


@pytest.mark.parametrize(("way", "threshold"), [("f1", 0.9), ("cost", 0.4), ("half", 0.5)])
def test_the_task_says_what_its_threshold_is_chosen_by(way: Literal["f1", "cost", "half"], threshold: float) -> None:
    """To find the event at 0.4 costs three false alarms: less than a miss, and more than F1 gains."""
    task = Classification(event="Yes", threshold=way, costs=Costs(missed=5.0))
    scores = np.array([0.9, 0.8, 0.1, 0.4, 0.6, 0.5, 0.3, 0.1])
    assert performance.learn_rule(task, LABELS, scores) == {"threshold": threshold}


def test_bins_hold_equally_many_rows_in_order_of_their_score() -> None:
    found = performance.bins(LABELS, SCORES, 4)
    assert [one.rows for one in found] == [2, 2, 2, 2]
    assert [one.score for one in found] == pytest.approx([0.1, 0.15, 0.35, 0.85])
    assert [one.outcome for one in found] == [0.0, 0.0, 0.5, 0.5]
    assert [one.rows for one in performance.bins(LABELS[:3], SCORES[:3], 10)] == [1, 1, 1]


def test_the_calibration_error_of_a_worked_example() -> None:
    """Eight rows make eight bins of one: the mean distance of each score from its label."""
    assert performance.ece(LABELS, SCORES) == pytest.approx((0.1 + 0.8 + 0.1 + 0.6 + 0.2 + 0.1 + 0.3 + 0.1) / 8)


def test_scores_that_come_true_have_a_small_calibration_error_and_boastful_ones_a_large_one() -> None:
    random = np.random.default_rng(0)
    scores = random.uniform(0, 1, 20_000)
    labels = (random.random(20_000) < scores).astype(float)
    assert performance.ece(labels, scores) < 0.02
    assert performance.ece(labels, (scores > 0.5) * 0.98 + 0.01) == pytest.approx(0.24, abs=0.02)


def test_curves_rise_from_corner_to_corner_however_few_points_they_keep() -> None:
    random = np.random.default_rng(0)
    scores = random.uniform(0, 1, 3000)
    labels = (random.random(3000) < scores).astype(float)
    found = performance.curves(labels, scores, 0.7, points=50)
    roc, recall = np.array(found["roc"]), np.array(found["precision_recall"])
    assert roc.shape == (50, 2)
    assert (np.diff(roc, axis=0) >= 0).all()
    assert (roc[0].tolist(), roc[-1].tolist()) == ([0, 0], [1, 1])
    assert recall.shape == (50, 2)
    assert (np.diff(recall[:, 0]) <= 0).all()
    assert recall[0].tolist() == [1, labels.mean()]
    assert recall[-1].tolist() == [0, 1]
    (true_negative, false_positive), (false_negative, true_positive) = found["confusion"]
    assert true_negative + false_negative == (scores < 0.7).sum()
    assert false_positive + true_positive == (scores >= 0.7).sum()
    assert false_negative + true_positive == labels.sum()


def test_a_short_curve_is_kept_whole() -> None:
    found = performance.curves(LABELS, SCORES, 0.5, points=200)
    assert found["confusion"] == [[5, 1], [1, 1]]
    assert found["precision_recall"][-1] == (0.0, 1.0)
    assert len(found["precision_recall"]) == len(np.unique(SCORES)) + 1


@pytest.mark.requirement("S2-32")
def test_a_search_by_f1_asks_what_the_half_threshold_would_answer() -> None:
    margins = np.log(SCORES / (1 - SCORES))
    assert performance.selection(EVENT, LABELS, margins, "f1") == pytest.approx(0.5)
    assert performance.selection(EVENT, LABELS, margins) == pytest.approx(11 / 12)
    assert performance.selection(EVENT, LABELS, margins - 10, "f1") == 0.0
    assert performance.selection(Regression(unit="h", low=0), np.array([0.0, 2.0]), np.array([-3.0, 3.0])) == 0.5

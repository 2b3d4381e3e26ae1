import numpy as np
import pytest

from forewarn import performance
from forewarn.errors import BadInput

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
    best = performance.best_f1_threshold(LABELS, SCORES)
    top = performance.classification(LABELS, SCORES, best)["f1"]
    assert all(top >= performance.classification(LABELS, SCORES, other)["f1"] for other in np.linspace(0, 1, 101))


def test_folds_are_summed_up_as_mean_and_deviation() -> None:
    assert performance.over_folds([{"f1": 0.4}, {"f1": 0.6}]) == {"f1": {"mean": 0.5, "sd": pytest.approx(0.1)}}

"""How good scores turned out to be, once the labels are known."""

from typing import Any

import numpy as np
from sklearn import metrics

from forewarn.errors import BadInput
from forewarn.usecase import Vector


def classification(labels: Vector, probabilities: Vector, threshold: float) -> dict[str, float]:
    """The metrics that every report shows; F1, recall and precision at the threshold.

    `pr_auc` is average precision; `brier` the mean squared error of the probability; `majority_accuracy`
    what always answering the commoner label would score, to be held against `accuracy` (C37).

    Raises:
        BadInput: all labels are the same, so nothing can be ranked.
    """
    if len(np.unique(labels)) < 2:
        raise BadInput(f"all {len(labels)} labels are the same; ROC-AUC needs rows with and without the event")
    answers = probabilities >= threshold
    return {
        "roc_auc": float(metrics.roc_auc_score(labels, probabilities)),
        "pr_auc": float(metrics.average_precision_score(labels, probabilities)),
        "f1": float(metrics.f1_score(labels, answers, zero_division=0)),
        "recall": float(metrics.recall_score(labels, answers, zero_division=0)),
        "precision": float(metrics.precision_score(labels, answers, zero_division=0)),
        "accuracy": float(metrics.accuracy_score(labels, answers)),
        "brier": float(metrics.brier_score_loss(labels, probabilities)),
        "majority_accuracy": float(max(labels.mean(), 1 - labels.mean())),
    }


def roc_auc(labels: Vector, scores: Vector) -> float:
    """Chance that a row with the event scores above one without."""
    return float(metrics.roc_auc_score(labels, scores))


def best_f1_threshold(labels: Vector, probabilities: Vector) -> float:
    """The probability from which saying "event" gives the highest F1 on these rows."""
    precision, recall, thresholds = metrics.precision_recall_curve(labels, probabilities)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(thresholds[int(f1[:-1].argmax())])


def over_folds(folds: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Mean and standard deviation of each metric over cross-validation folds."""
    return {
        name: {
            "mean": float(np.mean([fold[name] for fold in folds])),
            "sd": float(np.std([fold[name] for fold in folds])),
        }
        for name in folds[0]
    }

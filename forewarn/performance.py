"""How good scores turned out to be, once the labels are known; and the rule that makes the best of them."""

from math import ceil
from typing import Any

import numpy as np
from sklearn import metrics

from forewarn.errors import BadInput
from forewarn.tasks import Classification, Rule, Task, Vector

COVERAGE = 0.9
# Fewer residuals than this cannot hold a 90 % interval open at both ends: 5 % of 39 is less than two.
MIN_RESIDUALS = 39


def measure(task: Task, labels: Vector, scores: Vector, rule: Rule) -> dict[str, float]:
    """The metrics that every report of this kind of task shows.

    Raises:
        BadInput: nothing can be measured on these labels.
    """
    if isinstance(task, Classification):
        return classification(labels, scores, rule["threshold"])
    return regression(labels, scores, *task.interval(scores, rule))


def learn_rule(task: Task, labels: Vector, scores: Vector) -> dict[str, float]:
    """The rule by which these held-out scores decide best: a threshold, or an interval's reach."""
    if isinstance(task, Classification):
        return best_f1_threshold(labels, scores)
    return conformal_reach((labels - scores) / task.spread(scores))


def classification(labels: Vector, scores: Vector, threshold: float) -> dict[str, float]:
    """F1, recall and precision are at the threshold.

    `pr_auc` is average precision; `brier` the mean squared error of the probability; `majority_accuracy`
    what always answering the commoner label would score, to be held against `accuracy` (C37).

    Raises:
        BadInput: all labels are the same, so nothing can be ranked.
    """
    if len(np.unique(labels)) < 2:
        raise BadInput(f"all {len(labels)} labels are the same; ROC-AUC needs rows with and without the event")
    answers = scores >= threshold
    return {
        "roc_auc": float(metrics.roc_auc_score(labels, scores)),
        "pr_auc": float(metrics.average_precision_score(labels, scores)),
        "f1": float(metrics.f1_score(labels, answers, zero_division=0)),
        "recall": float(metrics.recall_score(labels, answers, zero_division=0)),
        "precision": float(metrics.precision_score(labels, answers, zero_division=0)),
        "accuracy": float(metrics.accuracy_score(labels, answers)),
        "brier": float(metrics.brier_score_loss(labels, scores)),
        "majority_accuracy": float(max(labels.mean(), 1 - labels.mean())),
    }


def regression(labels: Vector, scores: Vector, low: Vector, high: Vector) -> dict[str, float]:
    """In the unit of the label. `median_mae` is what always answering these labels' own median would score: an
    MAE means nothing without it. `coverage` is the share of labels within [low, high], `width` its mean width.
    """
    return {
        "mae": float(np.abs(labels - scores).mean()),
        "median_mae": float(np.abs(labels - np.median(labels)).mean()),
        "rmse": float(np.sqrt(((labels - scores) ** 2).mean())),
        "r2": float(metrics.r2_score(labels, scores)) if len(labels) > 1 else float("nan"),
        "coverage": float(((labels >= low) & (labels <= high)).mean()),
        "width": float((high - low).mean()),
    }


def best_f1_threshold(labels: Vector, scores: Vector) -> dict[str, float]:
    """The probability from which saying "event" gives the highest F1 on these rows."""
    precision, recall, thresholds = metrics.precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return {"threshold": float(thresholds[int(f1[:-1].argmax())])}


def conformal_reach(residuals: Vector) -> dict[str, float]:
    """Split conformal on held-out residuals, each tail by itself (Lei et al. 2018; Linusson et al. 2014).

    Of n residuals the ceil((n + 1) × 0.95)-th smallest bounds the label from above, and its mirror from below, so
    that a new row from the same source falls within with probability 90 % or more.

    Raises:
        BadInput: fewer residuals than such an interval needs.
    """
    residuals, n = np.sort(residuals), len(residuals)
    if n < MIN_RESIDUALS:
        raise BadInput(f"{n} rows are too few for a 90 % interval; give at least {MIN_RESIDUALS}")
    place = ceil((n + 1) * (1 + COVERAGE) / 2)
    return {"below": float(-residuals[n - place]), "above": float(residuals[place - 1]), "coverage": COVERAGE}


def selection(task: Task, labels: Vector, margins: Vector) -> float:
    """What a search compares trials by: ROC-AUC, or mean absolute error."""
    if isinstance(task, Classification):
        return float(metrics.roc_auc_score(labels, margins))
    return float(np.abs(labels - task.scores(margins)).mean())


def better(task: Task, one: float, other: float) -> bool:
    """Whether the first selection metric beats the second."""
    return one > other if task.larger_is_better else one < other


def over_folds(folds: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Mean and standard deviation of each metric over cross-validation folds."""
    return {
        name: {
            "mean": float(np.mean([fold[name] for fold in folds])),
            "sd": float(np.std([fold[name] for fold in folds])),
        }
        for name in folds[0]
    }

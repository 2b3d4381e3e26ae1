"""How good scores turned out to be, once the labels are known; and the rule that makes the best of them."""

from math import ceil
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn import metrics

from forewarn.errors import BadInput
from forewarn.evidence import Bin
from forewarn.tasks import Classification, Costs, Rule, Task, Vector

COVERAGE = 0.9
# Fewer residuals than this cannot hold a 90 % interval open at both ends: 5 % of 39 is less than two.
MIN_RESIDUALS = 39
BINS = 10
# Probabilities of 0 and 1 have no logarithm.
SUREST = 1e-12


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
        return {"threshold": _threshold(task, labels, scores)}
    return conformal_reach((labels - scores) / task.spread(scores))


def classification(labels: Vector, scores: Vector, threshold: float) -> dict[str, float]:
    """F1, recall and precision are at the threshold.

    `pr_auc` is average precision; `brier` the mean squared error of the probability; `log_loss` in nats; `ece` the
    expected calibration error over ten bins of equally many rows (Naeini et al. 2015); `majority_accuracy` what always
    answering the commoner label would score, to be held against `accuracy` (C37).

    Raises:
        BadInput: all labels are the same, so nothing can be ranked.
    """
    if len(np.unique(labels)) < 2:
        raise BadInput(f"all {len(labels)} labels are the same; ROC-AUC needs rows with and without the event")
    # Counted here: scikit-learn checks its input for 3 ms a metric, and a bootstrap asks 200 times.
    answers, events = scores >= threshold, labels == 1
    hits, alarms = float((answers & events).sum()), float(answers.sum())
    of_truth = np.clip(np.where(events, scores, 1 - scores), SUREST, 1)
    return {
        "roc_auc": roc_auc(labels, scores),
        "pr_auc": float(metrics.average_precision_score(labels, scores)),
        "f1": 2 * hits / (alarms + float(events.sum())),
        "recall": hits / float(events.sum()),
        "precision": hits / max(alarms, 1.0),
        "accuracy": float((answers == events).mean()),
        "brier": float(((scores - labels) ** 2).mean()),
        "log_loss": float(-np.log(of_truth).mean()),
        "ece": ece(labels, scores),
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


def bins(labels: Vector, scores: Vector, count: int = BINS) -> list[Bin]:
    """Rows in order of their score, in bins of equally many: what was said, and what came true."""
    order = np.argsort(scores, kind="stable")
    parts = [part for part in np.array_split(order, min(count, len(order))) if len(part)]
    return [Bin(score=float(scores[part].mean()), outcome=float(labels[part].mean()), rows=len(part)) for part in parts]


def curves(labels: Vector, scores: Vector, threshold: float, *, points: int) -> dict[str, Any]:
    """What a picture of the ranking needs: the confusion matrix at the threshold, ROC and precision over recall."""
    false_alarms, recall, _ = metrics.roc_curve(labels, scores)
    precision, reached, _ = metrics.precision_recall_curve(labels, scores)
    return {
        "confusion": metrics.confusion_matrix(labels, scores >= threshold, labels=[0, 1]).tolist(),
        "roc": _thinned(false_alarms, recall, points),
        "precision_recall": _thinned(reached, precision, points),
    }


def _thinned(x: Vector, y: Vector, points: int) -> list[tuple[float, float]]:
    kept = np.unique(np.linspace(0, len(x) - 1, min(points, len(x))).astype(int))
    return list(zip(x[kept].tolist(), y[kept].tolist(), strict=True))


def ece(labels: Vector, scores: Vector) -> float:
    """Mean distance between what was said and what came true, over the bins."""
    return sum(found.rows * abs(found.score - found.outcome) for found in bins(labels, scores)) / len(labels)


def _threshold(task: Classification, labels: Vector, scores: Vector) -> float:
    if task.threshold == "half":
        return 0.5
    return cheapest_threshold(labels, scores, task.costs) if task.threshold == "cost" else f1_threshold(labels, scores)


def f1_threshold(labels: Vector, scores: Vector) -> float:
    """The probability from which saying "event" gives the highest F1 on these rows."""
    precision, recall, thresholds = metrics.precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(thresholds[int(f1[:-1].argmax())])


def cheapest_threshold(labels: Vector, scores: Vector, costs: Costs) -> float:
    """The probability from which saying "event" costs least on these rows (Elkan 2001, with the costs counted)."""
    order = np.argsort(-scores, kind="stable")
    missed = labels.sum() - np.cumsum(labels[order])
    false = np.cumsum(1 - labels[order])
    spent = costs.missed * missed + costs.false_alarm * false
    last_of_its_score = np.append(np.diff(scores[order]) != 0, True)
    spent = np.where(last_of_its_score, spent, np.inf)
    nobody = costs.missed * labels.sum()
    return float(scores[order][spent.argmin()]) if spent.min() <= nobody else 1.0


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


def selection(task: Task, labels: Vector, margins: Vector, metric: str = "") -> float:
    """What a search compares trials by: ROC-AUC or mean absolute error; "f1" is that of the 0.5 threshold."""
    if metric == "f1":
        return float(metrics.f1_score(labels, margins >= 0, zero_division=0))
    if isinstance(task, Classification):
        return roc_auc(labels, margins)
    return float(np.abs(labels - task.scores(margins)).mean())


def roc_auc(labels: Vector, scores: Vector) -> float:
    """The area under the ROC curve by ranks (Hanley & McNeil 1982): scikit-learn's takes 8 ms for a fold, this 0.1,
    and a search asks 100,000 times.
    """
    events = float(labels.sum())
    ranks = float(rankdata(scores)[labels == 1].sum())
    return (ranks - events * (events + 1) / 2) / (events * (len(labels) - events))


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

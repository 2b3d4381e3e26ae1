"""Names and numbers as people read them, the same in pictures, in the card and in the log."""

from dataclasses import dataclass
from math import floor, isfinite, log10
from typing import Any, Literal, Protocol

from forewarn.evidence import Estimate
from forewarn.tasks import Regression, Task

# Stands where there is no figure.
NONE = "–"
Form = Literal["figure", "share", "amount"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric's name for people, what it says, and whether it is a bare figure, a share or an amount."""

    label: str
    says: str = ""
    form: Form = "figure"


METRICS = {
    "roc_auc": Metric(
        label="ROC-AUC", says="chance that a row with the event is scored above one without; 0.5 is guessing"
    ),
    "pr_auc": Metric(label="Average precision", says="precision over all thresholds; guessing gives the base rate"),
    "f1": Metric(label="F1", says="harmonic mean of precision and recall at the threshold"),
    "recall": Metric(label="Recall", says="share of the events that were warned of", form="share"),
    "precision": Metric(label="Precision", says="share of the warnings that came true", form="share"),
    "accuracy": Metric(label="Accuracy", says="share of right answers; hold it against the next line", form="share"),
    "majority_accuracy": Metric(
        label="Accuracy of the commoner answer", says="accuracy of always answering it", form="share"
    ),
    "brier": Metric(label="Brier score", says="mean squared error of the probability; less is better"),
    "log_loss": Metric(label="Log loss", says="surprise at what came true; less is better"),
    "ece": Metric(
        label="Calibration error (ECE)", says="mean gap between probability and what came true", form="share"
    ),
    "calibration_gap": Metric(label="Calibration gap", says="mean probability minus share of events", form="share"),
    "false_positive_rate": Metric(
        label="False alarm rate", says="share of rows without the event that were warned of", form="share"
    ),
    "selection_rate": Metric(label="Warned of", says="share of all rows that were warned of", form="share"),
    "selection_ratio": Metric(label="Ratio of shares warned of", says="the lower share over the higher; 1 is equal"),
    "mae": Metric(label="Mean absolute error", says="how far forecasts are off, on average", form="amount"),
    "median_mae": Metric(
        label="Error of always the median", says="mean absolute error of one forecast for all", form="amount"
    ),
    "mean_error": Metric(label="Mean error", says="forecast minus outcome, on average", form="amount"),
    "rmse": Metric(label="Root mean squared error", says="large errors weigh more", form="amount"),
    "r2": Metric(label="R²", says="share of the outcomes' variance that is explained; 0 is the mean's"),
    "coverage": Metric(label="Interval coverage", says="share of outcomes within the interval", form="share"),
    "width": Metric(label="Interval width", says="how wide the interval is, on average", form="amount"),
}

BASELINES = {"majority": "Always the commoner answer", "median": "Always the median"}
ALGORITHMS = {
    "xgboost": "Gradient-boosted trees",
    "xgboost_absolute": "Gradient-boosted trees",
    "logistic": "Logistic regression",
    "svr": "Support vector regression",
}
CALIBRATIONS = {
    "none": "none: the scores are used as they are",
    "raw": "none: the scores are used as they are",
    "platt": "Platt scaling (a logistic curve)",
    "isotonic": "isotonic regression (a rising staircase)",
}


def metric(name: str) -> Metric:
    """What is known of a metric; a new one is shown under its own name."""
    return METRICS.get(name, Metric(label=name.replace("_", " ").capitalize()))


def rival(name: str) -> str:
    """What the candidate is held against: a baseline, an algorithm alone, or the champion's version."""
    alone = f"{ALGORITHMS[name]} alone" if name in ALGORITHMS else f"Champion {name}"
    return BASELINES.get(name, alone)


def algorithm(name: str) -> str:
    """An algorithm, or two that are blended."""
    return " + ".join(ALGORITHMS.get(part, part) for part in name.split("+"))


def figure(value: float, *, sign: bool = False) -> str:
    """Three digits that count, rarely more than three decimals: 0.843, 12.4, 1,235, 0.0012."""
    if not isfinite(value):
        return NONE
    most = 3 if abs(value) >= 0.01 else 4
    decimals = min(max(2 - floor(log10(abs(value))), 0), most) if value else 0
    return f"{value:{'+' if sign else ''},.{decimals}f}".replace("-", "−")


def share(value: float, *, sign: bool = False) -> str:
    """0.1234 as 12.3 %; with a sign it is a difference, and counted in points: +12.3 points."""
    return _percent(value, sign=sign) + (" points" if sign else " %") * isfinite(value)


def _percent(value: float, *, sign: bool) -> str:
    return f"{100 * value:{'+' if sign else ''}.1f}".replace("-", "−") if isfinite(value) else NONE


def shown(task: Task, name: str, value: float, *, sign: bool = False) -> str:
    """A metric's value with its unit; with a sign it is a difference."""
    return _number(name, value, sign=sign) + _suffix(task, name, sign=sign) * isfinite(value)


def _number(name: str, value: float, *, sign: bool) -> str:
    return _percent(value, sign=sign) if metric(name).form == "share" else figure(value, sign=sign)


def _suffix(task: Task, name: str, *, sign: bool) -> str:
    form = metric(name).form
    if form == "share":
        return " points" if sign else " %"
    return f" {task.unit}" if form == "amount" and isinstance(task, Regression) else ""


def unit(task: Task) -> str:
    """What follows the name of the main metric on an axis: nothing for a bare figure."""
    return f", {task.unit}" if isinstance(task, Regression) else ""


def within(task: Task) -> str:
    """The same at the end of a title."""
    return f" ({task.unit})" if isinstance(task, Regression) else ""


def brief(value: float) -> str:
    """A number without needless zeros: 20, 1.5, −0.2."""
    return f"{value:.3g}".replace("-", "−")


class Reach(Protocol):
    """Whatever has a low and a high end: an estimate, a comparison."""

    @property
    def low(self) -> float:
        """The low end."""

    @property
    def high(self) -> float:
        """The high end."""


def interval(task: Task, name: str, found: Reach, *, sign: bool = False) -> str:
    """From its low to its high end, the unit once."""
    low, high = (_number(name, end, sign=sign) for end in (found.low, found.high))
    return f"{low} to {high}{_suffix(task, name, sign=sign)}"


def estimate(task: Task, name: str, found: Estimate | None, *, sign: bool = False) -> str:
    """A value with its interval, the unit once; or a dash."""
    if found is None:
        return NONE
    low, high = (_number(name, end, sign=sign) for end in (found.low, found.high))
    return f"{shown(task, name, found.value, sign=sign)} ({low} to {high})"


def spread(task: Task, name: str, mean: float, sd: float) -> str:
    """Mean ± standard deviation, the unit once."""
    return f"{_number(name, mean, sign=False)} ± {_number(name, sd, sign=False)}{_suffix(task, name, sign=False)}"


def moment(text: str) -> str:
    """A time as metadata keeps it, in UTC, to the minute."""
    return f"{text[:16].replace('T', ' ')} UTC" if text else NONE


def count(value: Any) -> str:
    """Whole numbers with thousands; a dash where there is none."""
    return NONE if value is None else f"{int(value):,}"


def is_number(text: str) -> bool:
    """Whether a cell's text is a figure, and stands to the right."""
    return text == NONE or text.lstrip("+−± ")[:1].isdigit()

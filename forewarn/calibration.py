"""Makes probabilities mean what they say: maps a model's log-odds to log-odds that come true as often as they claim."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forewarn.tasks import Vector

METHODS = ("none", "platt", "isotonic")
# Isotonic steps may reach 0 and 1; nothing is that certain, and their log-odds would be infinite.
SUREST = 1e-3
# In nats. On scores that are calibrated already Platt would else be chosen in 1 of 5 samples of 3,000 rows.
MIN_GAIN = 0.001


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A rising, piecewise linear function of log-odds, straight on beyond its last knots if `slope` says so.

    Attributes:
        knots: (log-odds of the model, calibrated log-odds), rising; one knot and a slope make a line.
        slope: of the line beyond the knots; 0 keeps the last value.
    """

    method: str
    knots: tuple[tuple[float, float], ...]
    slope: float

    @classmethod
    def fit(cls, method: str, labels: Vector, margins: Vector) -> "Calibration":
        """Learn from held-out margins. Platt (1999): logistic regression on the margin; isotonic: Zadrozny & Elkan
        (2002), its steps joined by straight lines in log-odds.

        Raises:
            KeyError: a method that there is not.
        """
        return {"none": _none, "platt": _platt, "isotonic": _isotonic}[method](labels, margins)

    def __call__(self, margins: Vector) -> Vector:
        """Calibrated log-odds, element by element; shape as given."""
        x, y = (np.array(values) for values in zip(*self.knots, strict=True))
        beyond = np.minimum(margins - x[0], 0.0) + np.maximum(margins - x[-1], 0.0)
        return np.asarray(np.interp(margins, x, y) + self.slope * beyond, dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Python writes doubles so that they read back to the same bits."""
        return {"method": self.method, "knots": [list(knot) for knot in self.knots], "slope": self.slope}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> "Calibration":
        """The inverse of `to_json`."""
        knots = tuple((float(x), float(y)) for x, y in state["knots"])
        return cls(method=state["method"], knots=knots, slope=float(state["slope"]))


NONE = Calibration(method="none", knots=((0.0, 0.0),), slope=1.0)


def losses(folds: Sequence[tuple[Vector, Vector]]) -> dict[str, float]:
    """Each method's mean log loss over folds of (labels, margins), learned on the other ones.

    With a single fold there is nothing to learn from: every method loses as much, and the simplest is chosen.
    """
    if len(folds) < 2:
        return dict.fromkeys(METHODS, log_loss(*folds[0]))
    return {
        method: float(np.mean([_left_out(method, folds, place) for place in range(len(folds))])) for method in METHODS
    }


def chosen(losses_: dict[str, float]) -> str:
    """The method with the smallest loss, if it gains more than noise does."""
    best = min(METHODS, key=lambda method: losses_[method])
    return best if losses_[best] < losses_["none"] - MIN_GAIN else "none"


def log_loss(labels: Vector, margins: Vector) -> float:
    """Mean negative log-likelihood in nats, from log-odds: stable where probabilities round to 0 or 1."""
    return float(np.mean(np.logaddexp(0.0, margins) - labels * margins))


def _left_out(method: str, folds: Sequence[tuple[Vector, Vector]], place: int) -> float:
    others = [fold for other, fold in enumerate(folds) if other != place]
    labels, margins = (np.concatenate(part) for part in zip(*others, strict=True))
    return log_loss(folds[place][0], Calibration.fit(method, labels, margins)(folds[place][1]))


def _none(labels: Vector, margins: Vector) -> Calibration:  # noqa: ARG001
    return NONE


def _platt(labels: Vector, margins: Vector) -> Calibration:
    from sklearn.linear_model import LogisticRegression  # 1 s to import, and serving never needs it

    model = LogisticRegression(C=1e6).fit(margins[:, None], labels)
    slope = float(model.coef_[0, 0])
    if slope <= 0:  # the model ranks upside down; turning it round is not calibration's business
        return NONE
    return Calibration(method="platt", knots=((0.0, float(model.intercept_[0])),), slope=slope)


def _isotonic(labels: Vector, margins: Vector) -> Calibration:
    from scipy.special import expit, logit
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=SUREST, y_max=1 - SUREST, out_of_bounds="clip").fit(expit(margins), labels)
    x, y = logit(np.clip(model.X_thresholds_, 1e-9, 1 - 1e-9)), logit(model.y_thresholds_)
    kept = np.concatenate([[True], np.diff(x) > 0])
    return Calibration(method="isotonic", knots=tuple(zip(x[kept].tolist(), y[kept].tolist(), strict=True)), slope=0.0)

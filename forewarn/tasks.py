"""What is asked of a model: whether an event will come, or how much of something there will be.

A task reads labels, turns a model's margins into scores, and scores into decisions. The rule it decides by (a
threshold, an interval) is learned in training and travels in the package.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import BadInput
from forewarn.fields import Picked

YES, NO = ("yes", "true", "1", "1.0"), ("no", "false", "0", "0.0")

Vector = NDArray[np.float64]
Rule = Mapping[str, float]
Decided = TypeVar("Decided", "Verdict", "Forecast")


@dataclass(frozen=True, kw_only=True)
class Band:
    """A risk level and where it begins.

    `at_least` is on the scale on which the decision threshold lies at 0.5, so the bands move with the
    threshold and a person above it is never called "low": see `Classification.risk_level`.
    """

    at_least: float
    level: str


LOW_MEDIUM_HIGH = (
    Band(at_least=0.0, level="low"),
    Band(at_least=0.3, level="medium"),
    Band(at_least=0.7, level="high"),
)


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a wrong answer costs, in any unit: a missed event, and a false alarm."""

    missed: float = 5.0
    false_alarm: float = 1.0

    def __post_init__(self) -> None:
        if self.missed <= 0 or self.false_alarm <= 0:
            raise ValueError(f"costs must be above 0, got {self.missed} and {self.false_alarm}")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What Forewarn says of an event. A recommendation to people, never an act.

    Attributes:
        confidence: probability of the verdict, which is below 0.5 where the threshold is.
    """

    probability: float
    event: bool
    verdict: str
    confidence: float
    risk_level: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What Forewarn says of an amount: the forecast, and the interval that holds 9 of 10 outcomes."""

    amount: float
    low: float
    high: float
    coverage: float
    version: str


def _columns(kind: type[Decided], **columns: Any) -> Decided:
    """A decision on many rows: what it says of one, as columns of what it says of each."""
    return kind(**columns)


def _refuse_odd(algorithms: tuple[str, ...]) -> None:
    if len(algorithms) not in (1, 2):
        raise ValueError(f"{algorithms}: name one algorithm, or two that may be blended")


@dataclass(frozen=True, kw_only=True)
class Classification:
    """Will the event come? Margins are log-odds, scores are probabilities.

    Attributes:
        event: the label's value that Forewarn warns of.
        verdicts: the answer's words for (no event, event).
        threshold: what the threshold is chosen by: the highest F1, the lowest cost by `costs`, or always 0.5.
    """

    event: str
    verdicts: tuple[str, str] = ("No", "Yes")
    bands: tuple[Band, ...] = LOW_MEDIUM_HIGH
    algorithms: tuple[str, ...] = ("xgboost", "logistic")
    threshold: Literal["f1", "cost", "half"] = "f1"
    costs: Costs = Costs()

    metric: ClassVar[str] = "roc_auc"
    larger_is_better: ClassVar[bool] = True
    margin_unit: ClassVar[str] = "log-odds"

    def __post_init__(self) -> None:
        starts = [band.at_least for band in self.bands]
        if starts != sorted(starts) or starts[0] != 0:
            raise ValueError(f"{self.event}: bands must rise from 0")
        _refuse_odd(self.algorithms)

    def labels(self, target: str, raw: Sequence[Any]) -> Vector:
        """1.0 where the event came true, 0.0 where not. Shape (n,).

        Raises:
            BadInput: a label that is neither the event nor its one opposite.
        """
        words = [str(value).strip() for value in raw]
        others = set(words) - {self.event}
        if len(others) > 1:
            raise BadInput(
                f"{target} holds {sorted(others)[:5]} beside {self.event!r}; "
                "mend the labels so that there is one other value"
            )
        return np.array([word == self.event for word in words], dtype=np.float64)

    def outcome(self, value: Any) -> float:
        """1.0 for the event, 0.0 for its opposite, of one value by itself: the label's word, a verdict, yes or no.

        Raises:
            BadInput: it is neither.
        """
        word = str(value).strip()
        if word in (self.event, self.verdicts[1]) or word.lower() in YES:
            return 1.0
        if word == self.verdicts[0] or word.lower() in NO:
            return 0.0
        raise BadInput(f"outcome: {word[:40]!r} is neither; send {self.verdicts[1]!r} or {self.verdicts[0]!r}, 1 or 0")

    def misread(self, target: str, value: Any) -> str:
        """Why one label cannot be used; empty if it can. A third word is told of the whole column: see `labels`."""
        return f"{target} is empty" if value is None else ""

    def scores(self, margins: Vector) -> Vector:
        """Log-odds to probabilities: 1 / (1 + exp(-m)). `expit` works element by element, so rows do not mix."""
        from scipy.special import expit  # 0.2 s and 9 MB, where scores are made alone; 0.2 µs when it is there

        return np.asarray(expit(margins), dtype=np.float64)

    def decide(self, score: float, rule: Rule, version: str) -> Verdict:
        """The verdict on a probability, by the package's threshold."""
        event = score >= rule["threshold"]
        return Verdict(
            probability=score,
            event=event,
            verdict=self.verdicts[event],
            confidence=score if event else 1.0 - score,
            risk_level=self.risk_level(score, rule["threshold"]),
            version=version,
        )

    def decide_all(self, scores: Vector, rule: Rule, version: str) -> Verdict:
        """The same of many: a verdict whose fields are columns."""
        event = scores >= rule["threshold"]
        places = event.astype(np.int32)
        return _columns(
            Verdict,
            probability=scores,
            event=event,
            verdict=Picked(self.verdicts, places),
            confidence=np.where(event, scores, 1.0 - scores),
            risk_level=self._risk_levels(scores, rule["threshold"]),
            version=version,
        )

    def _risk_levels(self, scores: Vector, threshold: float) -> Picked:
        above = 0.5 + 0.5 * (scores - threshold) / max(1.0 - threshold, 1e-12)
        below = 0.5 * np.minimum(scores, threshold) / (threshold or 1.0)
        place = np.where(scores < threshold, below, above)
        reached = np.asarray(np.sum([place >= band.at_least for band in self.bands], axis=0, dtype=np.int32))
        return Picked(tuple(band.level for band in self.bands), reached - 1)

    def says(self, decision: Verdict) -> dict[str, Any]:
        """What an answer says of it, whatever the use case."""
        return {
            "probability": decision.probability,
            "event": decision.event,
            "risk_level": decision.risk_level,
        }

    def is_calm(self, decision: Any, base: float) -> bool:  # noqa: ARG002
        """Whether there is nothing to do: the lowest risk level."""
        return bool(decision.risk_level == self.bands[0].level)

    def moved(self, margin: float) -> str:  # noqa: ARG002
        """What a contribution moved, in words; nobody thinks in log-odds."""
        return "the risk"

    def risk_level(self, probability: float, threshold: float) -> str:
        """The band of a probability, the threshold mapped piecewise linearly to 0.5 (C21)."""
        if probability < threshold:
            place = 0.5 * probability / threshold
        else:
            place = 0.5 + 0.5 * (probability - threshold) / max(1.0 - threshold, 1e-12)
        return next(band.level for band in reversed(self.bands) if place >= band.at_least)


@dataclass(frozen=True, kw_only=True)
class Regression:
    """How much will there be? Margins and scores are amounts in the unit of the label.

    Attributes:
        unit: of the label, as people say it: "hours".
        low, high: what a label may be; forecasts are held within.
        steady: where errors grow with the amount, the amount at which they begin to: the interval is then as wide as
            `steady` + forecast; infinite where they do not grow (normalised conformal, Papadopoulos et al. 2002).
    """

    unit: str
    low: float = -inf
    high: float = inf
    steady: float = inf
    algorithms: tuple[str, ...] = ("xgboost_absolute", "svr")

    metric: ClassVar[str] = "mae"
    larger_is_better: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _refuse_odd(self.algorithms)

    @property
    def margin_unit(self) -> str:
        """What contributions are counted in."""
        return self.unit

    def labels(self, target: str, raw: Sequence[Any]) -> Vector:
        """The amounts, shape (n,).

        Raises:
            BadInput: a label that is no number, or lies outside what a label may be.
        """
        if wrong := next(filter(None, (self.misread(target, value) for value in raw)), ""):
            raise BadInput(wrong)
        return np.array([float(value) for value in raw], dtype=np.float64)

    def outcome(self, value: Any) -> float:
        """The amount.

        Raises:
            BadInput: it is none, or lies outside what a label may be.
        """
        return float(self.labels("outcome", [value])[0])

    def misread(self, target: str, value: Any) -> str:
        """Why one label cannot be used; empty if it can."""
        if value is None:
            return f"{target} is empty"
        try:
            amount = float(value)
        except (TypeError, ValueError):
            amount = np.nan
        if np.isfinite(amount) and self.low <= amount <= self.high:
            return ""
        return f"{target} holds {value!r}; it must be a number of {self.unit} from {self.low:g} to {self.high:g}"

    def scores(self, margins: Vector) -> Vector:
        """The amounts, held within what can be."""
        return np.clip(margins, self.low, self.high)

    def says(self, decision: Forecast) -> dict[str, Any]:
        """What an answer says of it, whatever the use case."""
        interval = {"low": decision.low, "high": decision.high, "coverage": decision.coverage}
        return {"prediction": decision.amount, "unit": self.unit, "interval": interval}

    def is_calm(self, decision: Any, base: float) -> bool:
        """Whether there is nothing to do: no more than what all rows share."""
        return bool(decision.amount <= base)

    def moved(self, margin: float) -> str:
        """What a contribution moved, and by how much."""
        return f"the forecast by {margin:.1f} {self.unit}"

    def interval(self, scores: Vector, rule: Rule) -> tuple[Vector, Vector]:
        """Where 9 of 10 outcomes lie, by the package's residual quantiles, held within what can be."""
        spread = self.spread(scores)
        low, high = scores - rule["below"] * spread, scores + rule["above"] * spread
        return np.clip(low, self.low, scores), np.clip(high, scores, self.high)

    def spread(self, scores: Vector) -> Vector:
        """How wide an interval is at these scores, up to a factor."""
        return np.ones_like(scores) if self.steady == inf else self.steady + np.abs(scores)

    def decide(self, score: float, rule: Rule, version: str) -> Forecast:
        """The forecast with its interval."""
        low, high = self.interval(np.array([score]), rule)
        return Forecast(
            amount=score, low=float(low[0]), high=float(high[0]), coverage=rule["coverage"], version=version
        )

    def decide_all(self, scores: Vector, rule: Rule, version: str) -> Forecast:
        """The same of many: a forecast whose fields are columns."""
        low, high = self.interval(scores, rule)
        return _columns(Forecast, amount=scores, low=low, high=high, coverage=rule["coverage"], version=version)


Task = Classification | Regression
Decision = Verdict | Forecast

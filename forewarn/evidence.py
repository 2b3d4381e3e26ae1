"""What is known of a version before anybody decides on it: plain values, kept in its package as evidence.json.

Every score in here is out of fold: given to a row by a model that had not learned from it.
"""

from dataclasses import asdict, dataclass
from dataclasses import field as kept
from typing import Any

from pydantic import TypeAdapter


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The candidate against something else on the same folds.

    Attributes:
        against: "majority", "median", "logistic", "svr", or the champion's version.
        metric: the selection metric; log loss against the majority baseline, which ranks nothing.
        gain: by how much the candidate is better, in the metric's unit; negative if it is worse.
        low, high: 90 % interval of the gain by the corrected standard error (Nadeau & Bengio 2003).
        p: two-sided, of no difference.
    """

    against: str
    metric: str
    gain: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, kw_only=True)
class Slice:
    """How good the model is on a part of the rows.

    Attributes:
        field: the raw field that is sliced by, as answers name it.
        group: its level, or its band as "30 to 39".
        events: rows with the event; None for amounts.
        metrics: metric -> estimate with bootstrap interval; empty where there are too few rows to say.
    """

    field: str
    group: str
    rows: int
    events: int | None
    metrics: dict[str, Estimate] = kept(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Imbalance:
    """Pre-training bias of one group against all others (S1-22), from the labels alone.

    Attributes:
        class_imbalance: (others - group) / all rows: -1 to 1, 0 if both are equally many.
        positive_difference: share of events in the group minus that among the others; for amounts the difference
            of the means, in the label's unit.
    """

    field: str
    group: str
    rows: int
    events: int | None
    class_imbalance: float
    positive_difference: Estimate


@dataclass(frozen=True, kw_only=True)
class GroupGap:
    """Post-training fairness of one group against all others (S1-23).

    Attributes:
        metric: "recall", "false_positive_rate", "selection_rate", "selection_ratio"; for amounts "mae", "mean_error".
        group_value, others_value: the metric in the group and among the others.
        gap: group minus others; for "selection_ratio" the lower rate over the higher.
        limit: of the use case's policy; None where the metric is reported only.
        breached: whether the interval lies beyond the limit.
    """

    field: str
    group: str
    rows: int
    events: int | None
    metric: str
    group_value: float
    others_value: float
    gap: Estimate
    limit: float | None
    breached: bool


@dataclass(frozen=True, kw_only=True)
class FairnessReport:
    """Everything about groups. `too_small` names groups that are not judged, with their sizes."""

    before: list[Imbalance]
    after: list[GroupGap]
    too_small: list[str]
    # Fairlearn's own figures per protected field: demographic parity ratio, equalized odds difference, …
    overall: dict[str, dict[str, float]] = kept(default_factory=dict)

    @property
    def breaches(self) -> list[GroupGap]:
        """What a version is rejected for."""
        return [gap for gap in self.after if gap.breached]


@dataclass(frozen=True, kw_only=True)
class Direction:
    """What became of a directional test: by how much the mean score moved."""

    field: str
    low: Any
    high: Any
    effect: float
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial of the search, in the order in which they were proposed."""

    name: str
    algorithm: str
    score: float
    whole: bool


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Rows of like score: their mean score, what came true (mean label), how many they are."""

    score: float
    outcome: float
    rows: int


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The whole of it.

    Attributes:
        metrics: metric -> {"mean", "sd"} over the fresh folds.
        known_subjects: where subjects repeat, the same on folds that may know a row's subject from other rows.
        intervals: metric -> estimate by bootstrap over rows.
        baselines: "majority" or "median", and each algorithm alone -> mean selection metric over the same folds.
        balances: way to balance -> the best mean selection metric that a trial reached with it.
        calibration: "none", "platt" or "isotonic"; calibration_loss: each one's cross-validated log loss.
        reliability: bins of like score, before ("raw") and after ("chosen") calibration; for amounts "chosen" alone.
        confusion: [[true negative, false positive], [false negative, true positive]] at the threshold; [] for amounts.
        roc, precision_recall: curve points (x, y): (false positive rate, recall), (recall, precision).
        forecasts: for amounts, up to 1000 pairs (forecast, outcome).
        importance: raw field, as answers name it -> mean absolute contribution in the margin's unit, largest first.
    """

    metrics: dict[str, dict[str, float]]
    intervals: dict[str, Estimate]
    baselines: dict[str, float]
    comparisons: list[Comparison]
    fairness: FairnessReport
    slices: list[Slice]
    directions: list[Direction]
    importance: dict[str, float]
    trials: list[Trial]
    reliability: dict[str, list[Bin]]
    known_subjects: dict[str, dict[str, float]] = kept(default_factory=dict)
    balances: dict[str, float] = kept(default_factory=dict)
    calibration: str = "none"
    calibration_loss: dict[str, float] = kept(default_factory=dict)
    confusion: list[list[int]] = kept(default_factory=list)
    roc: list[tuple[float, float]] = kept(default_factory=list)
    precision_recall: list[tuple[float, float]] = kept(default_factory=list)
    forecasts: list[tuple[float, float]] = kept(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> "Evidence":
        """The inverse of `to_json`."""
        found: Evidence = TypeAdapter(cls).validate_python(state)
        return found

"""What a use case demands of a version before it may serve: how good, how fair, and who lets it in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Fairness:
    """How far a group may be from all others before a version is rejected (S1-24).

    A limit is broken where the gap is beyond it with 95 % confidence: the near end of its interval is, and not only
    its middle, so that a small group's noise rejects nothing.

    Attributes:
        recall_gap, false_alarm_gap: largest difference of recall, and of the false positive rate, 0 to 1.
        selection_ratio: smallest ratio of selection rates, lower over higher: 0.8 is the four-fifths rule. 0 reports it
            only: where groups truly differ in how often the event comes, equal selection means unequal errors.
        error_gap: for amounts: largest difference of the mean absolute error, as a share of everybody's.
        min_rows, min_events: groups with fewer are named, and not judged.
    """

    recall_gap: float = 0.2
    false_alarm_gap: float = 0.2
    selection_ratio: float = 0.0
    error_gap: float = 1.0
    min_rows: int = 50
    min_events: int = 15


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """A directional test: were everybody's `field` moved from `low` to `high`, the mean score must not fall."""

    field: str
    low: Any
    high: Any


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What a candidate must pass.

    Attributes:
        floors: metric -> the worst mean over folds that passes; a ceiling for metrics of which less is better.
        min_gain: by how much the champion must be beaten, in the selection metric. A candidate that falls short by
            no more than the noise of the comparison passes.
        max_ece: largest expected calibration error of probabilities, 0 to 1.
        max_ms: longest time for scoring one row in process, median, milliseconds.
        max_megabytes: largest package.
        approval: who lets in what passed: a `person`, or the `rule` by itself (C25).
    """

    floors: Mapping[str, float] = field(default_factory=dict)
    min_gain: float = 0.0
    max_ece: float = 0.1
    max_ms: float = 20.0
    max_megabytes: float = 50.0
    approval: Literal["person", "rule"] = "rule"


@dataclass(frozen=True, kw_only=True)
class Canary:
    """How a new version earns its traffic (S2-63, S2-74, C38, C39).

    Attributes:
        share: percent of the subjects that it answers at first.
        window_hours: no version is promoted sooner.
        min_rows: nor with fewer rows answered; no test is read before a fifth of them.
        min_labels: with fewer labels known, nothing is said of how good it is.
        alpha: chance that a version as good as the champion is rolled back, however often one looks; of all measures
            together.
        error_limit, error_min_rows: beyond this share of rows that it could not answer, of at least so many, it is
            rolled back at once.
        cooldown_hours: so long a version that was rolled back by itself is not started again.
        shift: largest change of the mean score that is no alarm: of a probability; of an amount in standard deviations.
        disagreement: largest share of rows that it decides otherwise.
    """

    share: float = 10.0
    window_hours: float = 24.0
    min_rows: int = 500
    min_labels: int = 100
    alpha: float = 0.05
    error_limit: float = 0.1
    error_min_rows: int = 50
    cooldown_hours: float = 24.0
    shift: float = 0.1
    disagreement: float = 0.2

    def __post_init__(self) -> None:
        if not (0 < self.share <= 100 and self.window_hours >= 0 and 0 < self.alpha < 1 and 0 < self.error_limit < 1):
            raise ValueError(f"share, window_hours, alpha or error_limit is out of range: {self}")


@dataclass(frozen=True, kw_only=True)
class Watching:
    """When a version that serves is to be replaced (S2-55, S2-59, C40).

    Attributes:
        fall: by how much the metric that versions are chosen by may fall below what it was in training.
        fall_of_amounts: by which share of it a mean absolute error may rise.
        min_outcomes: with fewer known, nothing is said of how good it turned out to be.
        cooldown_days: after a retraining none is begun by itself for so long; most_a_month: nor more than these.
        history_days: rows of the ledger that a retraining learns from are no older (S2-59).
        min_rows: with fewer such rows there is nothing new to learn.
    """

    fall: float = 0.04
    fall_of_amounts: float = 0.15
    min_outcomes: int = 100
    cooldown_days: float = 7.0
    most_a_month: int = 4
    history_days: float = 183.0
    min_rows: int = 200


@dataclass(frozen=True, kw_only=True)
class Retention:
    """What is kept of predictions, and for how long (C10).

    Attributes:
        purge_days: then what a row held is purged; that it was answered, when, and by which version stays. None: never.
        archive_days: then whole lines move to a Parquet archive, under their pseudonyms. None: never.
        sensitive: what becomes of protected and sensitive fields: sealed, readable with the installation's secret
            alone, for retraining and fairness; or not kept at all.
    """

    purge_days: float | None = 180
    archive_days: float | None = None
    sensitive: Literal["sealed", "dropped"] = "sealed"

    def __post_init__(self) -> None:
        for name, days in (("purge_days", self.purge_days), ("archive_days", self.archive_days)):
            if days is not None and days <= 0:
                raise ValueError(f"{name} must be above 0, got {days}")

"""Whether a model treats groups alike: before training by the labels, afterwards by its answers, each with intervals.

The protected fields never reach a model; they are here so that what it does to their groups is seen.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.evidence import Estimate, FairnessReport, GroupGap, Imbalance
from forewarn.fields import Row
from forewarn.groups import FEWEST_TOLD, groups
from forewarn.policy import Fairness
from forewarn.tasks import Classification, Rule, Task, Vector
from forewarn.usecase import UseCase

Random = np.random.Generator
Mask = NDArray[np.bool_]

# Corrected for twelve groups an interval begins at the 0.2 % quantile, which is the fourth of 2000.
RESAMPLES = 2000
# From here on resampled means are drawn from what they tend to, the normal distribution, at no cost.
MANY_ROWS = 2000
# Jeffreys' prior, per cell. With it 94 to 96 % of intervals hold the true gap from 15 events on, without it 74 to
# 93 %: resampling a group none of whose events was found would never find one either, and call that certain.
PRIOR = 0.5

# A group's confusion matrix as [calm, false alarms, misses, hits], in the last axis.
RATES: Mapping[str, Callable[[Vector], Vector]] = {
    "recall": lambda cells: cells[..., 3] / (cells[..., 2] + cells[..., 3]),
    "false_positive_rate": lambda cells: cells[..., 1] / (cells[..., 0] + cells[..., 1]),
    "selection_rate": lambda cells: (cells[..., 1] + cells[..., 3]) / cells.sum(axis=-1),
}
ERRORS: Mapping[str, Callable[[Vector], Vector]] = {"mae": np.abs, "mean_error": lambda errors: errors}
FAIRLEARN = ("selection_rate", "true_positive_rate", "false_positive_rate")
WORDS = {"mae": "mean absolute error", "selection_ratio": "selection rate"}


@dataclass(frozen=True, kw_only=True)
class _Count:
    rows: int
    events: int | None

    @classmethod
    def of(cls, task: Task, labels: Vector) -> "_Count":
        return cls(rows=len(labels), events=int(labels.sum()) if isinstance(task, Classification) else None)

    def __str__(self) -> str:
        told = self.events is not None and self.rows >= FEWEST_TOLD
        events = [] if not told else [f"{self.events} event{'' if self.events == 1 else 's'}"]
        return ", ".join([f"{self.rows} row{'' if self.rows == 1 else 's'}", *events])

    def enough(self, metric: str, policy: Fairness) -> bool:
        needed = {"recall": self.events or 0, "false_positive_rate": self.rows - (self.events or 0)}
        return self.rows >= policy.min_rows and needed.get(metric, policy.min_events) >= policy.min_events


@dataclass(frozen=True, kw_only=True)
class _Side:
    """A group, how many it is, and how many all others are."""

    field: str
    group: str
    mask: Mask
    own: _Count
    others: _Count

    @property
    def told(self) -> dict[str, Any]:
        return {"field": self.field, "group": self.group, "rows": self.own.rows, "events": self.own.events}

    def judged(self, metric: str, policy: Fairness) -> bool:
        return self.own.enough(metric, policy) and self.others.enough(metric, policy)


@dataclass(frozen=True, kw_only=True)
class _Pair:
    metric: str
    values: Vector  # of the group, and of all others
    drawn: Vector  # the same resampled, shape (2, RESAMPLES)


def before(case: UseCase, rows: Sequence[Row], labels: Vector, *, seed: int) -> list[Imbalance]:
    """Of the labels alone (S1-22): each group of each protected field against all others, in the schema's order.

    A field of which all rows are in one group has nothing to compare, and is left out; so is a group of fewer than ten
    rows, whose figures would tell of its people. Intervals as in `report`.

    Args:
        labels: 1.0 where the event came true, or amounts. Shape (len(rows),).
    """
    random = np.random.default_rng(seed)
    return [
        _imbalance(side, labels, len(sides), random)
        for sides in _fields(case, rows, labels)
        for side in sides
        if min(side.own.rows, side.others.rows) >= FEWEST_TOLD
    ]


def report(
    case: UseCase, rows: Sequence[Row], labels: Vector, scores: Vector, rule: Rule, *, seed: int
) -> FairnessReport:
    """Of the answers (S1-23), and what is beyond the use case's limits (S1-24).

    Each group of each protected field is held against all others. Intervals are percentiles of 2000 resamples, drawn
    within the group and within the others: of the four cells of their confusion matrices (Bayesian bootstrap with
    Jeffreys' prior), or of their rows' errors. They hold with 95 % confidence for all groups of one field together
    (Bonferroni); two groups are one comparison.

    Group and others are judged from `min_rows` rows each; by the recall from `min_events` events each, by the false
    positive rate from as many rows without. For amounts the limit is told in the label's unit.

    Args:
        labels, scores: shape (len(rows),); scores out of fold.
    """
    random, answers = np.random.default_rng(seed), _answers(case.task, scores, rule)
    fields, limits = _fields(case, rows, labels), _limits(case, labels, scores)
    return FairnessReport(
        before=before(case, rows, labels, seed=seed),
        after=[gap for sides in fields for gap in _gaps(case, sides, labels, answers, limits, random)],
        too_small=[line for sides in fields for side in sides if (line := _too_small(case, side))],
        overall=_overall(case, fields, labels, answers),
    )


def sentence(gap: GroupGap) -> str:
    """The reason that a person reads: "Gender = Female: recall 0.31 against 0.72 of all others, …"."""
    ratio = gap.metric == "selection_ratio"
    word = WORDS.get(gap.metric, gap.metric.replace("_", " "))
    rule = "; at least {:z.2f} is required" if ratio else "; at most {:z.2f} is allowed"
    return (
        f"{gap.field} = {gap.group}: {word} {gap.group_value:z.2f} against {gap.others_value:z.2f} of all others, "
        f"a {'ratio' if ratio else 'gap'} of {gap.gap.value:z.2f} "
        f"(95 % interval {gap.gap.low:z.2f} to {gap.gap.high:z.2f})"
        f"{'' if gap.limit is None else rule.format(gap.limit)}"
    )


def _answers(task: Task, scores: Vector, rule: Rule) -> Vector:
    return (scores >= rule["threshold"]).astype(np.float64) if isinstance(task, Classification) else scores


def _fields(case: UseCase, rows: Sequence[Row], labels: Vector) -> list[list[_Side]]:
    return [
        [
            _Side(
                field=spec.wire,
                group=group,
                mask=mask,
                own=_Count.of(case.task, labels[mask]),
                others=_Count.of(case.task, labels[~mask]),
            )
            for group, mask in groups(case, spec.name, rows).items()
        ]
        for spec in case.fields
        if spec.name in case.protected
    ]


def _imbalance(side: _Side, labels: Vector, among: int, random: Random) -> Imbalance:
    own, others = labels[side.mask], labels[~side.mask]
    draw = _means if side.own.events is None else _shares
    drawn = draw(own, random) - draw(others, random)
    return Imbalance(
        **side.told,
        class_imbalance=(side.others.rows - side.own.rows) / len(labels),
        positive_difference=_estimate(float(own.mean() - others.mean()), drawn, among),
    )


def _limits(case: UseCase, labels: Vector, scores: Vector) -> dict[str, float]:
    """Metric -> limit, in the metric's unit; of those that have one."""
    policy = case.fairness
    if not isinstance(case.task, Classification):
        return {"mae": policy.error_gap * float(np.abs(scores - labels).mean())}
    ratio = {"selection_ratio": policy.selection_ratio} if policy.selection_ratio else {}
    return {"recall": policy.recall_gap, "false_positive_rate": policy.false_alarm_gap, **ratio}


def _metrics(task: Task) -> Mapping[str, Callable[[Vector], Vector]]:
    return RATES if isinstance(task, Classification) else ERRORS


def _gaps(
    case: UseCase, sides: list[_Side], labels: Vector, answers: Vector, limits: Mapping[str, float], random: Random
) -> Iterator[GroupGap]:
    among = {name: sum(side.judged(name, case.fairness) for side in sides) for name in _metrics(case.task)}
    pairs = _pairs_of_events if isinstance(case.task, Classification) else _pairs_of_amounts
    for side in sides:
        judged = [name for name in among if side.judged(name, case.fairness)]
        for pair in pairs(judged, side.mask, labels, answers, random):
            yield _difference(side, pair, among[pair.metric], limits.get(pair.metric))
            if pair.metric == "selection_rate":
                yield _ratio(side, pair, among[pair.metric], limits.get("selection_ratio"))


def _pairs_of_events(
    metrics: list[str], mask: Mask, labels: Vector, answers: Vector, random: Random
) -> Iterator[_Pair]:
    codes = (2 * labels + answers).astype(np.intp)
    cells = np.stack([np.bincount(codes[part], minlength=4).astype(np.float64) for part in (mask, ~mask)])
    drawn = np.stack([random.dirichlet(part + PRIOR, size=RESAMPLES) for part in cells])
    for name in metrics:
        yield _Pair(metric=name, values=RATES[name](cells), drawn=RATES[name](drawn))


def _pairs_of_amounts(
    metrics: list[str], mask: Mask, labels: Vector, answers: Vector, random: Random
) -> Iterator[_Pair]:
    for name in metrics:
        errors = ERRORS[name](answers - labels)
        parts = (errors[mask], errors[~mask])
        drawn = np.stack([_means(part, random) for part in parts])
        yield _Pair(metric=name, values=np.array([part.mean() for part in parts]), drawn=drawn)


def _shares(labels: Vector, random: Random) -> Vector:
    events = labels.sum()
    return random.beta(events + PRIOR, len(labels) - events + PRIOR, size=RESAMPLES)


def _means(values: Vector, random: Random) -> Vector:
    n = len(values)
    if n >= MANY_ROWS:
        return random.normal(values.mean(), values.std() / np.sqrt(n), size=RESAMPLES)
    return np.asarray(values[random.integers(n, size=(RESAMPLES, n))].mean(axis=1))


def _difference(side: _Side, pair: _Pair, among: int, limit: float | None) -> GroupGap:
    gap = _estimate(float(pair.values[0] - pair.values[1]), pair.drawn[0] - pair.drawn[1], among)
    return _judged(side, pair, gap, limit, limit is not None and max(gap.low, -gap.high) > limit)


def _ratio(side: _Side, pair: _Pair, among: int, limit: float | None) -> GroupGap:
    low, high = sorted(pair.values)
    ratio = float(low / high) if high else 1.0  # where nobody is selected, all are treated alike
    gap = _estimate(ratio, pair.drawn.min(axis=0) / pair.drawn.max(axis=0), among)
    pair = replace(pair, metric="selection_ratio")
    return _judged(side, pair, gap, limit, limit is not None and gap.high < limit)


def _judged(side: _Side, pair: _Pair, gap: Estimate, limit: float | None, breached: bool) -> GroupGap:
    return GroupGap(
        **side.told,
        metric=pair.metric,
        group_value=float(pair.values[0]),
        others_value=float(pair.values[1]),
        gap=gap,
        limit=limit,
        breached=breached,
    )


def _estimate(value: float, drawn: Vector, among: int) -> Estimate:
    tail = 0.025 / (among if among > 2 else 1)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Estimate(value=value, low=min(float(low), value), high=max(float(high), value))


def _too_small(case: UseCase, side: _Side) -> str:
    """What is not judged, and why. Empty if all is."""
    policy, said = case.fairness, f"{side.field} = {side.group}: {side.own}"
    unjudged = [name for name in _metrics(case.task) if not side.judged(name, policy)]
    if not unjudged or side.own.rows < policy.min_rows:
        return said if unjudged else ""
    if side.others.rows < policy.min_rows:
        return f"{said}; all others are {side.others}" if side.others.rows else f"{said}; there are no others"
    return f"{said}; not judged by {' and '.join(name.replace('_', ' ') for name in unjudged)}"


def _overall(case: UseCase, fields: list[list[_Side]], labels: Vector, answers: Vector) -> dict[str, dict[str, float]]:
    """Fairlearn's figures over the groups that are judged by every metric, where they are two or more."""
    found = {}
    for sides in fields:
        judged = [side for side in sides if all(side.judged(name, case.fairness) for name in _metrics(case.task))]
        if len(judged) > 1:
            found[judged[0].field] = _fairlearn(case.task, judged, labels, answers)
    return found


def _fairlearn(task: Task, sides: list[_Side], labels: Vector, answers: Vector) -> dict[str, float]:
    # Takes 2 s; only trainings wait.
    from fairlearn import metrics

    names = np.select([side.mask for side in sides], [side.group for side in sides], default="")
    there = names != ""
    given = {"y_true": labels[there], "y_pred": answers[there], "sensitive_features": names[there]}
    if not isinstance(task, Classification):
        frame = metrics.MetricFrame(metrics=lambda y_true, y_pred: np.abs(y_true - y_pred).mean(), **given)
        return {"mae_difference": float(frame.difference())}
    frame = metrics.MetricFrame(metrics={name: getattr(metrics, name) for name in FAIRLEARN}, **given)
    apart = {name: float(value) for name, value in frame.difference().items()}
    return {
        "demographic_parity_ratio": float(frame.ratio()["selection_rate"]) if answers[there].any() else 1.0,
        "demographic_parity_difference": apart["selection_rate"],
        "equalized_odds_difference": max(apart["true_positive_rate"], apart["false_positive_rate"]),
        "recall_difference": apart["true_positive_rate"],
    }

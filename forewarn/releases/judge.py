"""Whether a new version is given more traffic, waits, or loses what it has: a pure function of what was observed.

Stage 1 reads what is known at once: errors, latency, what is said of the same rows. Stage 2 reads outcomes, once there
are enough; it goes on after a version was promoted, and may still take it back (C38).
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from forewarn.policy import Canary
from forewarn.releases import sequential
from forewarn.releases.arms import SLOW, Arm, Observed, Pairs
from forewarn.releases.sequential import Difference
from forewarn.tasks import Classification, Task, Vector

Action = Literal["extend", "promote", "rollback"]
# Evidence is read from this share of the rows on that a promotion wants.
FIRST_LOOK = 5
# A rate of errors of the champion beyond this share of the challenger's is no fault of the challenger.
SHARED_FAULT = 0.5


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One comparison, and what it shows.

    Attributes:
        difference: how much worse the challenger is; negative where it is better.
        low, high: hold the difference at every look with 95 % chance.
        tolerance: up to here it is no worse.
        evidence: that it is worse, 1 / alpha and more is enough.
        worse: whether it is.
    """

    name: str
    difference: float
    low: float
    high: float
    tolerance: float
    evidence: float
    rows: int
    worse: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is to be done, and why, in words and numbers."""

    action: Action
    reasons: tuple[str, ...]
    measures: tuple[Measure, ...] = ()

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @property
    def why(self) -> str:
        """In one line."""
        return "; ".join(self.reasons)


def decide(task: Task, seen: Observed, rules: Canary) -> Verdict:
    """What is to become of a challenger or a shadow."""
    if reason := broken(seen, rules):
        return Verdict(action="rollback", reasons=(reason,))
    measures = measure(task, seen, rules)
    if worse := [one for one in measures if one.worse]:
        return Verdict(action="rollback", reasons=tuple(_said(one) for one in worse), measures=measures)
    if waiting := tuple(_wanting(seen, rules)):
        return Verdict(action="extend", reasons=waiting, measures=measures)
    good = f"{_amount(seen)} after {seen.hours:.1f} hours, and in none of {len(measures)} measures is it worse"
    return Verdict(action="promote", reasons=(good,), measures=measures)


def confirm(task: Task, seen: Observed, rules: Canary) -> Verdict:
    """Whether a version that was promoted may stay, once outcomes are known: stage 2 alone."""
    if seen.truth.rows < rules.min_labels:
        waits = f"{seen.truth.rows} of {rules.min_labels} outcomes are known"
        return Verdict(action="extend", reasons=(waits,))
    measures = tuple(_measured(_by_truth(task, seen), rules))
    worse = [one for one in measures if one.worse]
    if worse:
        return Verdict(action="rollback", reasons=tuple(_said(one) for one in worse), measures=measures)
    good = f"by {seen.truth.rows} outcomes it is in none of {len(measures)} measures worse than the version before"
    return Verdict(action="promote", reasons=(good,), measures=measures)


def measure(task: Task, seen: Observed, rules: Canary) -> tuple[Measure, ...]:
    """Every comparison for which there are enough rows. Together they err with chance `rules.alpha`."""
    found: list[tuple[str, Difference, float, float]] = []
    least = rules.min_rows / FIRST_LOOK
    if seen.mode == "canary" and min(seen.challenger.asked, seen.champion.asked) >= least:
        found += _by_service(seen)
    if len(seen.pairs.one) >= least:
        found += _by_pairs(task, seen.pairs, rules)
    if seen.truth.rows >= rules.min_labels:
        found += _by_truth(task, seen)
    return tuple(_measured(found, rules))


def _measured(found: "list[tuple[str, Difference, float, float]]", rules: Canary) -> Iterator[Measure]:
    for name, difference, tolerance, scale in found:
        evidence = sequential.e_value(difference, tolerance=tolerance, scale=scale)
        low, high = sequential.interval(difference, scale=scale, alpha=rules.alpha)
        yield Measure(
            name=name, difference=difference.mean, low=low, high=high, tolerance=tolerance, evidence=evidence,
            rows=difference.rows, worse=evidence >= len(found) / rules.alpha,
        )  # fmt: skip


def _by_service(seen: Observed) -> "list[tuple[str, Difference, float, float]]":
    """Name, difference, tolerance, and the size of a difference that one would want to see."""
    one, other = seen.challenger, seen.champion
    found = [("error rate", sequential.of_shares((one.failed, one.asked), (other.failed, other.asked)), 0.0, 0.05)]
    if len(one.latency_ms) and len(other.latency_ms):
        limit = SLOW * float(np.quantile(other.latency_ms, 0.95))
        slow = sequential.of_shares(_above(one, limit), _above(other, limit))
        found.append((f"share of answers slower than {limit:.0f} ms", slow, 0.05, 0.1))
    return found


def _by_pairs(task: Task, pairs: Pairs, rules: Canary) -> "list[tuple[str, Difference, float, float]]":
    shift, unit = pairs.one - pairs.other, 1.0
    if not isinstance(task, Classification):
        unit = float(pairs.other.std()) or 1.0
    found = [(f"mean score, {way}", sequential.of_pairs(sign * shift / unit), rules.shift, 0.1)
             for way, sign in (("up", 1.0), ("down", -1.0))]  # fmt: skip
    found.append(("disagreement", sequential.of_pairs(_apart(task, pairs, unit)), rules.disagreement, 0.1))
    if isinstance(task, Classification):
        expected = _expected_wrong(pairs.one, pairs.one_events) - _expected_wrong(pairs.other, pairs.other_events)
        found.append(("estimated share of wrong decisions", sequential.of_pairs(expected), 0.05, 0.05))
    return found


def _by_truth(task: Task, seen: Observed) -> "list[tuple[str, Difference, float, float]]":
    labels, pairs = seen.truth.labels, seen.truth.pairs
    if not isinstance(task, Classification):
        unit = float(np.abs(labels - pairs.other).mean()) or 1.0
        worse = (np.abs(labels - pairs.one) - np.abs(labels - pairs.other)) / unit
        return [("mean absolute error, in the champion's", sequential.of_pairs(worse), 0.0, 0.1)]
    events = labels == 1
    brier = np.square(pairs.one - labels) - np.square(pairs.other - labels)
    found = [("Brier score", sequential.of_pairs(brier), 0.0, 0.02)]
    if events.sum() > 1:
        missed = pairs.other_events[events].astype(float) - pairs.one_events[events]
        found.append(("recall lost", sequential.of_pairs(missed), 0.0, 0.05))
    return found


def _expected_wrong(scores: Vector, events: Any) -> Vector:
    """By its own calibrated probabilities (confidence-based estimation, CBPE): no outcome is needed."""
    return np.asarray(np.where(events, 1 - scores, scores))


def _apart(task: Task, pairs: Pairs, unit: float) -> Vector:
    """1 where the two decide otherwise; for amounts, where they are a standard deviation apart."""
    if isinstance(task, Classification):
        return np.asarray(pairs.one_events != pairs.other_events, dtype=float)
    return np.asarray(np.abs(pairs.one - pairs.other) > unit, dtype=float)


def broken(seen: Observed, rules: Canary) -> str:
    """Why a version is to be taken back at once (S2-74): there is nothing to be tested. Empty where all is well."""
    one, other = seen.challenger, seen.champion
    if one.asked < rules.error_min_rows or one.failed <= rules.error_limit * one.asked:
        return ""
    if seen.mode == "canary" and other.asked and other.failed / other.asked > SHARED_FAULT * one.failed / one.asked:
        return ""  # what both cannot answer is the pipeline's fault; a shadow is asked only what was answered
    return (
        f"it could not answer {one.failed} of {one.asked} rows, {one.failed / one.asked:.1%}; "
        f"{rules.error_limit:.0%} is the limit (the champion: {other.failed} of {other.asked})"
    )


def _wanting(seen: Observed, rules: Canary) -> Iterator[str]:
    if seen.hours < rules.window_hours:
        yield f"{seen.hours:.1f} of {rules.window_hours:g} hours have passed"
    rows = seen.challenger.asked if seen.mode == "canary" else len(seen.pairs.one)
    if rows < rules.min_rows:
        slow = "; where so few are asked, let it be a shadow" if seen.mode == "canary" and _is_late(seen, rules) else ""
        yield f"{rows} of {rules.min_rows} rows were answered{slow}"


def _is_late(seen: Observed, rules: Canary) -> bool:
    return seen.hours >= rules.window_hours


def _amount(seen: Observed) -> str:
    if seen.mode == "canary":
        return f"{seen.challenger.asked} rows answered, {seen.challenger.failed} not"
    return f"{len(seen.pairs.one)} rows scored beside the champion"


def _above(arm: Arm, limit: float) -> tuple[int, int]:
    return int((arm.latency_ms > limit).sum()), len(arm.latency_ms)


def _said(one: Measure) -> str:
    return (
        f"{one.name}: worse by {one.difference:.3f} (from {one.low:.3f} to {one.high:.3f}, {one.tolerance:g} is "
        f"tolerated) over {one.rows} rows"
    )

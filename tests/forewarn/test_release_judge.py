"""The judge of releases: a pure function of what was observed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from forewarn.policy import Canary
from forewarn.releases import judge, sequential
from forewarn.releases.arms import Arm, Observed, Pairs, Truth
from forewarn.releases.sequential import Difference
from tests.conftest import CASES

RULES = Canary()


def task(kind: str) -> Any:
    return next(case.task for case in CASES if type(case.task).__name__ == kind)


CLASSIFIED, FORECAST = task("Classification"), task("Regression")


def seen(**changes: Any) -> Observed:
    """A canary of a day, with nothing wrong."""
    rng = np.random.default_rng(0)
    scores = rng.beta(1, 3, 1000)
    events = scores >= 0.3
    pairs = Pairs(one=scores, other=scores, one_events=events, other_events=events)
    arms = {
        "challenger": Arm(version="v2", answered=1000, failed=0, scores=scores, latency_ms=rng.lognormal(2, 0.5, 1000)),
        "champion": Arm(version="v1", answered=9000, failed=2, scores=scores, latency_ms=rng.lognormal(2, 0.5, 9000)),
    }
    return Observed(mode="canary", hours=25, pairs=pairs, **(arms | changes))


def verdict(observed: Observed, kind: Any = CLASSIFIED) -> judge.Verdict:
    return judge.decide(kind, observed, RULES)


def broken(failed: int, asked: int) -> Arm:
    return Arm(version="v2", answered=asked - failed, failed=failed)


def test_what_is_as_good_after_a_day_is_promoted() -> None:
    found = verdict(seen())
    assert (found.action, len(found.measures)) == ("promote", 6)
    assert "1000 rows answered" in found.why


@pytest.mark.requirement("S2-63")
def test_before_its_day_is_over_it_waits() -> None:
    found = verdict(replace(seen(), hours=3))
    assert (found.action, found.why) == ("extend", "3.0 of 24 hours have passed")


@pytest.mark.requirement("C39")
def test_too_few_rows_are_no_reason_to_promote_and_a_shadow_is_advised() -> None:
    found = verdict(seen(challenger=broken(0, 50)))
    assert (found.action, found.why) == (
        "extend",
        "50 of 500 rows were answered; where so few are asked, let it be a shadow",
    )


@pytest.mark.requirement("S2-74")
def test_more_than_a_tenth_of_errors_ends_it_at_once() -> None:
    found = verdict(replace(seen(challenger=broken(15, 50)), hours=0.01))
    assert found.action == "rollback"
    assert "could not answer 15 of 50 rows, 30.0%" in found.why
    assert verdict(replace(seen(challenger=broken(14, 49)), hours=0.01)).action == "extend", "too few to say so"
    assert verdict(replace(seen(challenger=broken(5, 50)), hours=0.01)).action == "extend", "a tenth is not more"


def test_what_both_cannot_answer_is_no_fault_of_the_challenger() -> None:
    found = verdict(
        replace(seen(challenger=broken(30, 100), champion=Arm(version="v1", answered=700, failed=300)), hours=1)
    )
    assert found.action == "extend"


def test_a_shadow_is_asked_only_what_was_answered_so_its_errors_are_its_own() -> None:
    found = verdict(
        replace(
            seen(challenger=broken(30, 100), champion=Arm(version="v1", answered=700, failed=300)),
            hours=1, mode="shadow",
        )
    )  # fmt: skip
    assert (found.action, "30 of 100 rows" in found.why) == ("rollback", True)


@pytest.mark.requirement("C38")
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("error rate", {"challenger": Arm(version="v2", answered=960, failed=40)}),
        ("slower", {"challenger": Arm(version="v2", answered=1000, latency_ms=np.full(1000, 500.0))}),
    ],
)
def test_errors_and_slowness_are_told_by_name_and_number(name: str, changes: dict[str, Any]) -> None:
    found = verdict(seen(**changes))
    assert (found.action, name in found.why) == ("rollback", True), found.why


def moved(by: float, flip: float = 0.0) -> Observed:
    observed = seen()
    rng = np.random.default_rng(1)
    one = np.clip(observed.pairs.one + by, 0, 1)
    events = observed.pairs.one_events ^ (rng.random(1000) < flip)
    return replace(observed, pairs=replace(observed.pairs, one=one, one_events=events))


@pytest.mark.parametrize(
    ("by", "flip", "name"), [(0.2, 0, "mean score, up"), (-0.2, 0, "mean score, down"), (0, 0.4, "disagreement")]
)
def test_a_version_that_says_something_else_is_taken_back(by: float, flip: float, name: str) -> None:
    found = verdict(moved(by, flip))
    assert found.action == "rollback"
    assert name in found.why
    assert verdict(moved(by / 4, flip / 4)).action == "promote", "a little is tolerated"


def with_outcomes(drop: float, rows: int = 6000) -> Observed:
    rng = np.random.default_rng(3)
    scores = rng.beta(0.8, 2.5, rows)
    labels = (rng.random(rows) < scores).astype(float)
    events = scores >= 0.3
    lost = events & (rng.random(rows) < drop)
    pairs = Pairs(one=np.where(lost, 0.29, scores), other=scores, one_events=events & ~lost, other_events=events)
    return replace(seen(), pairs=pairs, truth=Truth(labels=labels, pairs=pairs))


def test_outcomes_that_show_lost_recall_take_a_version_back_also_after_its_promotion() -> None:
    assert verdict(with_outcomes(0.0)).action == "promote"
    found = judge.confirm(CLASSIFIED, with_outcomes(0.06), RULES)
    assert (found.action, "recall lost" in found.why) == ("rollback", True)
    assert judge.confirm(CLASSIFIED, with_outcomes(0.0), RULES).action == "promote"
    few = judge.confirm(CLASSIFIED, with_outcomes(0.06, rows=99), RULES)
    assert (few.action, few.why) == ("extend", "99 of 100 outcomes are known")


def test_amounts_are_judged_by_their_absolute_error() -> None:
    rng = np.random.default_rng(4)
    labels = rng.gamma(2, 4, 2000)
    other = labels + rng.normal(0, 2, 2000)
    worse, same = other + rng.normal(0, 2, 2000), other + rng.normal(0, 0.01, 2000)
    for one, action in ((worse, "rollback"), (same, "promote")):
        pairs = Pairs(one=one, other=other)
        observed = replace(seen(), pairs=pairs, truth=Truth(labels=labels, pairs=pairs))
        assert verdict(observed, FORECAST).action == action


def test_a_shadow_is_judged_by_what_it_says_beside_the_champion() -> None:
    shadow = replace(seen(challenger=Arm(version="v2", answered=1000)), mode="shadow")
    found = verdict(shadow)
    assert (found.action, "1000 rows scored beside the champion" in found.why) == ("promote", True)
    assert "error rate" not in {one.name for one in found.measures}


def test_evidence_grows_with_rows_and_never_from_what_is_within_the_tolerance() -> None:
    def value(mean: float, rows: int) -> float:
        found = Difference(mean=mean, variance=0.25 / rows, rows=rows)
        return sequential.e_value(found, tolerance=0.1, scale=0.05)

    assert value(0.2, 100) < value(0.2, 1000) < value(0.2, 10_000)
    assert value(0.2, 10**9) > 1e300, "and it is a number whatever the rows"
    assert max(value(0.1, rows) for rows in (10, 1000, 100_000)) <= 1
    assert value(0.05, 10_000) < 1e-3


def test_intervals_hold_the_estimate_and_shrink() -> None:
    found = Difference(mean=0.03, variance=0.0001, rows=100)
    low, high = sequential.interval(found, scale=0.05, alpha=0.05)
    assert low < 0.03 < high
    narrow = sequential.interval(replace(found, variance=0.00001), scale=0.05, alpha=0.05)
    assert narrow[0] > low
    assert sequential.wilson(0, 0) == (0.0, 1.0)
    assert sequential.wilson(0, 100)[1] == pytest.approx(0.037, abs=0.001)


def test_no_pair_that_differs_is_not_taken_for_certainty() -> None:
    same = sequential.of_pairs(np.zeros(50))
    assert (same.mean, same.variance > 0) == (0.0, True)
    shares = sequential.of_shares((0, 50), (0, 500))
    assert shares.variance > 0

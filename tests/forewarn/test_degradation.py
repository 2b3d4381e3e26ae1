"""Whether a version still does what it did: a pure function of what was measured."""

import pytest

from forewarn.degradation import Standing, check_thresholds, compare_to_baseline
from forewarn.evidence import Estimate
from forewarn.policy import Watching
from forewarn.tasks import Classification, Regression

EVENT, AMOUNT, RULES = Classification(event="Yes"), Regression(unit="hours"), Watching()


def about(value: float, reach: float) -> Estimate:
    return Estimate(value=value, low=value - reach, high=value + reach)


def standing(realised: Estimate | None, estimated: Estimate | None = None, *, outcomes: int = 500) -> Standing:
    now = {"roc_auc": realised} if realised else {}
    beside = {"roc_auc": estimated} if estimated else {}
    compared = compare_to_baseline(EVENT, {"roc_auc": 0.85, "accuracy": 0.89}, now, beside)
    return check_thresholds(EVENT, compared, RULES, outcomes=outcomes)


@pytest.mark.requirement("S2-56")
def test_as_good_as_in_training_is_good() -> None:
    found = standing(about(0.84, 0.02))
    assert (found.level, found.metrics[0].fall) == ("good", pytest.approx(0.01))


@pytest.mark.requirement("S2-55")
def test_a_fall_that_outcomes_show_is_degradation_and_told_in_numbers() -> None:
    found = standing(about(0.78, 0.02))
    assert found.level == "degraded"
    assert found.reasons == ("roc_auc is 0.780 (0.760 to 0.800) by outcomes, and was 0.850; a fall of 0.04 is allowed",)


def test_what_may_be_chance_is_watched_only() -> None:
    assert standing(about(0.78, 0.05)).level == "watch"


def test_with_few_outcomes_it_is_watched_and_said_how_many_there_are() -> None:
    found = standing(about(0.6, 0.02), outcomes=40)
    assert (found.level, found.reasons[0]) == ("watch", "40 of 100 outcomes are known")


def test_an_estimate_alone_is_never_degradation() -> None:
    found = standing(None, about(0.6, 0.02), outcomes=0)
    assert (found.level, "as estimated without outcomes" in found.reasons[1]) == ("watch", True)
    assert standing(None, about(0.86, 0.02), outcomes=0).level == "good"


def test_where_nothing_was_measured_nothing_is_said() -> None:
    assert standing(None).level == "unknown"


def test_of_amounts_a_larger_error_is_the_fall() -> None:
    def found(mae: float) -> str:
        compared = compare_to_baseline(AMOUNT, {"mae": 4.0}, {"mae": about(mae, 0.2)}, {})
        return check_thresholds(AMOUNT, compared, RULES, outcomes=500).level

    assert [found(mae) for mae in (3.0, 4.5, 4.7, 5.0)] == ["good", "good", "watch", "degraded"]

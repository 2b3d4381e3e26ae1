from dataclasses import replace
from typing import Any

import pytest

from forewarn import expectations, fairness
from forewarn.evidence import Comparison, Direction, Estimate, Evidence, FairnessReport, GroupGap
from forewarn.policy import Gates
from training.judge import Candidate, Check, judge

NOBODY = FairnessReport(before=[], after=[], too_small=[])
RISING = Direction(field="OverTime", low="No", high="Yes", effect=0.12, passed=True)


def against(name: str, *, gain: float, low: float, high: float, metric: str = "roc_auc") -> Comparison:
    return Comparison(against=name, metric=metric, gain=gain, low=low, high=high, p=0.5)


MAJORITY = against("majority", gain=0.05, low=0.03, high=0.07, metric="log_loss")


def evidence(**changed: Any) -> Evidence:
    """A sound candidate's."""
    return Evidence(
        metrics=changed.pop("metrics", {"roc_auc": {"mean": 0.84, "sd": 0.02}, "ece": {"mean": 0.03, "sd": 0.01}}),
        intervals={},
        baselines={},
        comparisons=changed.pop("comparisons", [MAJORITY]),
        fairness=changed.pop("fairness", NOBODY),
        slices=[],
        directions=changed.pop("directions", [RISING]),
        importance={},
        trials=[],
        reliability={},
        **changed,
    )


SOUND = Candidate(evidence=evidence(), champion="v3", violations=(), override="", row_ms=2.0, megabytes=1.5)
GATES = Gates(floors={"roc_auc": 0.7})


def of(gate: str, *, gates: Gates = GATES, candidate: Candidate = SOUND, **changed: Any) -> Check:
    """What the one gate of that name says, of a candidate with this evidence."""
    given = replace(candidate, evidence=evidence(**changed)) if changed else candidate
    (found,) = [check for check in judge(given, gates).checks if check.gate == gate]
    return found


def gap(low: float, high: float) -> GroupGap:
    return GroupGap(
        field="Gender", group="Female", rows=120, events=30, metric="recall", group_value=0.31, others_value=0.72,
        gap=Estimate(value=-0.41, low=low, high=high), limit=0.2, breached=high < -0.2,
    )  # fmt: skip


def test_a_sound_candidate_passes_every_gate() -> None:
    found = judge(SOUND, GATES)
    assert [check.gate for check in found.checks] == [
        "data quality",
        "floor roc_auc",
        "better than trivial",
        "fairness",
        "calibration",
        "direction",
        "latency",
        "size",
    ]
    assert found.reasons == []


@pytest.mark.requirement("S1-28")
def test_a_floor_is_held_against_the_mean() -> None:
    assert of("floor roc_auc") == Check(
        gate="floor roc_auc", passed=True, says="roc_auc 0.840; at least 0.700 is asked"
    )
    failed = of("floor roc_auc", gates=Gates(floors={"roc_auc": 0.85}))
    assert (failed.passed, failed.says) == (False, "roc_auc 0.840; at least 0.850 is asked")
    assert of("floor roc_auc", gates=Gates(floors={"roc_auc": 0.84})).passed


@pytest.mark.parametrize("metric", ["mae", "rmse", "brier", "log_loss", "ece", "width"])
def test_of_errors_a_floor_is_a_ceiling(metric: str) -> None:
    metrics = {metric: {"mean": 3.8, "sd": 0.2}}
    passed = of(f"floor {metric}", gates=Gates(floors={metric: 4.0}), metrics=metrics)
    failed = of(f"floor {metric}", gates=Gates(floors={metric: 3.5}), metrics=metrics)
    assert (passed.passed, passed.says) == (True, f"{metric} 3.800; at most 4.000 is asked")
    assert (failed.passed, failed.says) == (False, f"{metric} 3.800; at most 3.500 is asked")


def test_a_floor_of_what_was_not_measured_is_not_passed() -> None:
    failed = of("floor auroc", gates=Gates(floors={"auroc": 0.1}))
    assert (failed.passed, failed.says) == (False, "auroc was not measured; the gate names no metric")


@pytest.mark.requirement("C37")
@pytest.mark.parametrize("name", ["majority", "median"])
def test_better_than_trivial_has_to_be_shown(name: str) -> None:
    passed = of("better than trivial", comparisons=[against(name, gain=0.05, low=0.01, high=0.09)])
    assert passed.passed
    assert passed.says == f"better than the {name}: roc_auc +0.0500 (90 % interval +0.0100 to +0.0900)"
    failed = of("better than trivial", comparisons=[against(name, gain=0.05, low=-0.01, high=0.11)])
    assert not failed.passed
    assert failed.says == f"not shown to be better than the {name}: roc_auc +0.0500 (90 % interval -0.0100 to +0.1100)"
    assert not of("better than trivial", comparisons=[against(name, gain=0.0, low=0.0, high=0.0)]).passed


@pytest.mark.requirement("S1-28")
def test_worse_than_logistic_regression_has_to_be_shown() -> None:
    within = [MAJORITY, against("logistic", gain=-0.004, low=-0.02, high=0.012)]
    worse = [MAJORITY, against("logistic", gain=-0.02, low=-0.03, high=-0.01)]
    assert of("baseline", comparisons=within).says.startswith("not worse than logistic regression: roc_auc -0.0040")
    assert of("baseline", comparisons=within).passed
    failed = of("baseline", comparisons=worse)
    assert not failed.passed
    assert failed.says == "worse than logistic regression: roc_auc -0.0200 (90 % interval -0.0300 to -0.0100)"


@pytest.mark.requirement("S1-28")
@pytest.mark.requirement("S1-29")
def test_a_candidate_within_the_champions_noise_passes_and_a_worse_one_does_not() -> None:
    within = [MAJORITY, against("v3", gain=-0.003, low=-0.01, high=0.004)]
    worse = [MAJORITY, against("v3", gain=-0.02, low=-0.03, high=-0.01)]
    assert of("gain over champion", comparisons=within).passed
    failed = of("gain over champion", comparisons=worse)
    assert not failed.passed
    assert failed.says == "worse than the champion v3: roc_auc -0.0200 (90 % interval -0.0300 to -0.0100)"


def test_a_gain_that_is_asked_for_may_be_missed_by_noise_alone() -> None:
    gates = Gates(min_gain=0.01)
    comparisons = [MAJORITY, against("v3", gain=0.006, low=0.0, high=0.012)]
    passed = of("gain over champion", gates=gates, comparisons=comparisons)
    assert passed.passed
    assert passed.says.endswith("+0.0120); a gain of 0.01 is asked")
    sure = [MAJORITY, against("v3", gain=0.006, low=0.004, high=0.008)]
    assert not of("gain over champion", gates=gates, comparisons=sure).passed
    logistic = [MAJORITY, against("logistic", gain=0.0, low=-0.001, high=0.001)]
    assert of("baseline", gates=gates, comparisons=logistic).passed


def test_only_the_champion_and_the_baselines_are_held_against_a_candidate() -> None:
    others = [against(name, gain=-0.5, low=-0.6, high=-0.4) for name in ("v2", "xgboost", "svr")]
    found = judge(replace(SOUND, evidence=evidence(comparisons=[MAJORITY, *others])), GATES)
    assert found.reasons == []
    first = replace(SOUND, champion=None, evidence=evidence(comparisons=[MAJORITY, *others]))
    assert judge(first, GATES).reasons == []


@pytest.mark.requirement("S1-24")
def test_a_candidate_that_overlooks_a_group_is_rejected_in_its_own_words() -> None:
    broken, held = gap(-0.55, -0.27), gap(-0.55, -0.1)
    report = FairnessReport(before=[], after=[broken, held], too_small=[])
    found = judge(replace(SOUND, evidence=evidence(fairness=report)), GATES)
    assert found.status == "rejected"
    assert found.reasons == [fairness.sentence(broken)]
    assert found.reasons[0].startswith("Gender = Female: recall 0.31 against 0.72 of all others")
    fair = of("fairness", fairness=FairnessReport(before=[], after=[held, held], too_small=[]))
    assert (fair.passed, fair.says) == (True, "no limit is broken in 1 groups")


def test_probabilities_must_mean_what_they_say() -> None:
    metrics = {"roc_auc": {"mean": 0.84, "sd": 0.02}, "ece": {"mean": 0.12, "sd": 0.01}}
    failed = of("calibration", metrics=metrics)
    assert (failed.passed, failed.says) == (False, "expected calibration error 0.12; at most 0.1 is allowed")
    assert of("calibration").says == "expected calibration error 0.03; at most 0.1 is allowed"
    assert of("calibration", gates=Gates(max_ece=0.2), metrics=metrics).passed


@pytest.mark.requirement("C34")
def test_an_interval_must_hold_what_it_promises() -> None:
    def told(mean: float) -> Check:
        return of(
            "calibration", gates=Gates(), metrics={"mae": {"mean": 4, "sd": 0}, "coverage": {"mean": mean, "sd": 0}}
        )

    assert told(0.9).passed
    assert not told(0.8).passed
    assert told(0.8).says == "the 90 % interval holds 80.0% of held-out outcomes; at least 85% is asked"


def test_a_score_that_moves_the_wrong_way_is_told() -> None:
    falling = replace(RISING, effect=-0.02, passed=False)
    assert of("direction").passed
    failed = of("direction", directions=[falling])
    assert (failed.passed, failed.says) == (False, expectations.sentence(falling))
    both = judge(replace(SOUND, evidence=evidence(directions=[RISING, falling])), GATES)
    assert [check.passed for check in both.checks if check.gate == "direction"] == [True, False]


def test_slow_and_large_packages_are_refused_with_their_figures() -> None:
    assert of("latency").says == "scoring one row takes 2 ms; at most 20 ms is allowed"
    slow = of("latency", candidate=replace(SOUND, row_ms=31.4))
    assert (slow.passed, slow.says) == (False, "scoring one row takes 31.4 ms; at most 20 ms is allowed")
    large = of("size", candidate=replace(SOUND, megabytes=72.0))
    assert (large.passed, large.says) == (False, "the package has 72 MB; at most 50 MB is allowed")
    assert of("size", candidate=replace(SOUND, megabytes=50.0)).passed


@pytest.mark.parametrize("metric", ["roc_auc", "ece"])
def test_what_could_not_be_computed_is_not_passed(metric: str) -> None:
    metrics = {"roc_auc": {"mean": 0.84, "sd": 0.0}, "ece": {"mean": 0.03, "sd": 0.0}}
    metrics[metric] = {"mean": float("nan"), "sd": 0.0}
    assert judge(replace(SOUND, evidence=evidence(metrics=metrics)), GATES).status == "rejected"


@pytest.mark.requirement("S1-30")
@pytest.mark.requirement("C25")
def test_what_passed_waits_for_a_person_or_goes_in_by_rule() -> None:
    assert judge(SOUND, replace(GATES, approval="person")).status == "pending_approval"
    assert judge(SOUND, replace(GATES, approval="rule")).status == "approved"


@pytest.mark.requirement("S1-29")
@pytest.mark.parametrize("approval", ["person", "rule"])
def test_what_fails_is_rejected_whoever_would_let_it_in_with_every_reason(approval: Any) -> None:
    bad = replace(SOUND, row_ms=99.0, evidence=evidence(directions=[replace(RISING, effect=-1.0, passed=False)]))
    found = judge(bad, Gates(floors={"roc_auc": 0.9}, approval=approval))
    assert found.status == "rejected"
    assert [reason.split()[0] for reason in found.reasons] == ["roc_auc", "OverTime", "scoring"]
    assert found.to_json()["checks"][1] == {"gate": "floor roc_auc", "passed": False, "says": found.reasons[0]}


@pytest.mark.requirement("S2-20")
@pytest.mark.requirement("C25")
def test_an_overridden_quality_gate_puts_it_before_a_person_whatever_the_rule() -> None:
    rule = replace(GATES, approval="rule")
    doubted = replace(SOUND, violations=("Age: 9.0% of its values are missing",), override="HR is on it")
    assert judge(doubted, rule).status == "pending_approval"
    told = of("data quality", gates=rule, candidate=doubted)
    assert (told.passed, told.says) == (True, "overridden (HR is on it): Age: 9.0% of its values are missing")
    assert judge(replace(doubted, override=""), rule).status == "rejected"

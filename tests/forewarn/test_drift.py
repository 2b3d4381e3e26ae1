"""Drift that is more than chance, and chance that is not taken for drift."""

from typing import Any

import numpy as np
import pytest

from forewarn import drift, reference, scoring
from forewarn.drift import Comparison
from forewarn.package import ModelPackage
from forewarn.usecase import UseCase
from tests.conftest import CASES, fitted

# Made-up people of these are drawn one by one, so that another seed is another sample of the same.
ONE_BY_ONE = [one for one in CASES if len({row[one.spec[one.key].wire] for row in one.sample(50, seed=0)}) == 50]


def compared(package: ModelPackage, raw: list[dict[str, Any]]) -> Comparison:
    rows = scoring.validate(package.case, raw).values
    scores = scoring.score(package, rows).values
    return drift.compare(package.case, package.reference, rows, scores, {})


@pytest.mark.parametrize("case", ONE_BY_ONE, ids=lambda case: case.name)
def test_rows_from_the_same_source_have_not_moved(case: UseCase) -> None:
    package = fitted(case, seed=1)
    moved = [compared(package, case.sample(rows, seed=1000 + seed)).moved for rows in (50, 500) for seed in range(5)]
    assert [one.field for some in moved for one in some] == []


@pytest.mark.requirement("S2-54")
def test_a_field_that_moved_is_named(case: UseCase, package: ModelPackage) -> None:
    spec = next(spec for spec in case.inputs if spec.kind == "category" and len(spec.levels) > 1)
    raw, known = case.sample(500, seed=60), package.reference["fields"][spec.wire]["counts"]
    rarest = min(spec.levels, key=lambda level: known.get(str(level), known.get(level, 0)))
    for number, row in enumerate(raw):
        row.pop(case.spec[case.key].wire, None)
        row[spec.wire] = rarest if number % 5 else row[spec.wire]
    found = {one.field: one for one in compared(package, raw).fields}
    assert found[spec.wire].level == "drift"
    assert found[spec.wire].p < 1e-6


def numbers(before: Any, window: Any) -> drift.Shift:
    known = reference._profiled_numbers(list(before))
    return drift._shift("x", known, list(window), 0.5, level=0.0005, independent=len(window))


@pytest.mark.parametrize(
    "before",
    [np.array([3.0] * 920 + [4.0] * 80), np.concatenate([np.zeros(950), np.linspace(1, 40, 50)])],
    ids=["two values", "mostly zero"],
)
def test_what_one_value_in_ten_has_is_seen_to_grow(before: Any) -> None:
    rare = before[before > np.median(before)]
    window = np.concatenate([before[:300], np.random.default_rng(0).choice(rare, 150)])
    assert numbers(before, window).level == "drift"
    assert numbers(before, np.random.default_rng(1).choice(before, 400)).level == "none"


@pytest.mark.parametrize("now", [79.0, 81.0])
def test_a_constant_that_changes_is_seen(now: float) -> None:
    assert numbers(np.full(500, 80.0), np.full(100, 80.0)).level == "none"
    assert numbers(np.full(500, 80.0), np.full(100, now)).level == "drift"


@pytest.mark.requirement("S2-52")
def test_bins_are_the_reference_s_own_and_the_formula_of_the_document_sees_nothing() -> None:
    """S2 lets each histogram choose its own bins: then a shift of five standard deviations moves no bin."""
    random = np.random.default_rng(0)
    reference, window = random.normal(0, 1, 5000), random.normal(5, 1, 5000)
    own = [np.histogram(values, bins=10)[0] / len(values) + 1e-4 for values in (reference, window)]
    by_the_document = float(((own[1] - own[0]) * np.log(own[1] / own[0])).sum())
    assert by_the_document < 0.12, "hardly any drift, it says"
    found = numbers(reference, window)
    assert (found.psi > 5, found.level, found.ks) == (True, "drift", pytest.approx(1.0, abs=0.15))


def test_what_chance_reaches_falls_with_the_window_and_holds_small_ones_back() -> None:
    random = np.random.default_rng(1)
    reference = random.normal(0, 1, 2000)
    floors = [numbers(reference, random.normal(0, 1, rows)).floor for rows in (50, 100, 500, 5000)]
    assert floors == sorted(floors, reverse=True)
    assert floors[0] > 0.25 > floors[2]
    exceeding = [numbers(reference, random.normal(0, 1, 50)) for _ in range(40)]
    assert sum(one.psi > 0.1 for one in exceeding) > 20, "the usual limit cries wolf"
    assert not [one for one in exceeding if one.level != "none"]
    assert numbers(reference, random.normal(0.5, 1, 500)).level != "none", "half a standard deviation is seen"


def test_new_levels_missing_values_and_values_beyond_the_range_are_told() -> None:
    known = {"kind": "category", "missing": 0, "counts": {"a": 80, "b": 20}}
    found = drift._shift("x", known, ["a"] * 70 + ["z"] * 20 + [None] * 10, 0.1, level=0.0005, independent=100)
    assert (found.bins, found.level) == (("a", "b", "(new)", "(missing)"), "drift")
    assert found.broken == ("10% is missing, 0% was", "20% has a level that there was not")
    known = reference._profiled_numbers([float(value) for value in range(100)])
    spread = [500.0] * 10 + [50.0] * 90
    found = drift._shift("x", known, spread, 0.1, level=0.0005, independent=100)
    assert found.broken == ("10% lies beyond 0 to 99",)


@pytest.mark.parametrize(
    ("windows", "alarm"),
    [([], False), ([True], False), ([True, True], True), ([False, True], False), ([True, False, True], True),
     ([True, True, False], False), ([True, False, False, True], False)],
)  # fmt: skip
def test_one_odd_window_is_no_alarm(windows: list[bool], alarm: bool) -> None:
    assert drift.is_alarm(windows) is alarm

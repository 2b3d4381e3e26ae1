import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from forewarn import quality, scoring, usecases
from forewarn.cleaning import Cleaner, limits
from forewarn.errors import QualityRefused
from forewarn.usecase import Cleaning, UseCase

CHURN = usecases.get("churn")
VALUES = np.array([1.0, 2.0, 3.0, 4.0, 100.0])


def rows_with(**columns: list[Any]) -> list[dict[str, Any]]:
    blank = dict.fromkeys(CHURN.row.model_fields)
    needed = {"tenure_months": 10, "monthly_charges": 50.0, "contract": "One year"}
    return [{**blank, **needed, **dict(zip(columns, row, strict=True))} for row in zip(*columns.values(), strict=True)]


def cleaned(rule: Cleaning, rows: list[dict[str, Any]]) -> Cleaner:
    return Cleaner.fit(dataclasses.replace(CHURN, cleaning=rule), rows)


@pytest.mark.requirement("S2-15")
@pytest.mark.parametrize(("strategy", "fill"), [("median", 3.0), ("mean", 22.0)])
def test_a_missing_number_gets_the_median_or_the_mean(strategy: Any, fill: float) -> None:
    rows = rows_with(support_calls=[1, 2, 3, 4, 100])
    cleaner = cleaned(Cleaning(numbers=strategy), rows)
    assert cleaner.columns(rows_with(support_calls=[None]))["support_calls"].tolist() == [fill]


@pytest.mark.requirement("S2-15")
def test_a_missing_category_gets_the_commonest_level() -> None:
    cleaner = cleaned(Cleaning(), rows_with(internet_service=["Fiber", "DSL", "Fiber", None]))
    assert cleaner.columns(rows_with(internet_service=[None]))["internet_service"].tolist() == ["Fiber"]


@pytest.mark.requirement("S2-15")
def test_a_column_that_is_mostly_missing_is_dropped() -> None:
    cleaner = cleaned(Cleaning(), rows_with(support_calls=[1, None, None, None], age=[20, 30, None, None]))
    assert cleaner.state.dropped["support_calls"] == 0.75
    assert "support_calls" not in cleaner.columns(rows_with(support_calls=[5]))


@pytest.mark.requirement("S2-17")
@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("none", (-np.inf, np.inf)),
        ("iqr", (2 - 1.5 * 2, 4 + 1.5 * 2)),
        ("zscore", (22 - 3 * VALUES.std(), 22 + 3 * VALUES.std())),
        ("percentile", (1.04, 96.16)),
    ],
)
def test_outliers_are_where_the_method_says(method: str, expected: tuple[float, float]) -> None:
    assert limits(method, VALUES) == pytest.approx(expected)


@pytest.mark.requirement("S2-17")
def test_outliers_are_capped_online_as_in_training() -> None:
    rows = rows_with(support_calls=list(range(101)))
    cleaner = cleaned(Cleaning(outliers="percentile"), rows)
    found = cleaner.columns(rows_with(support_calls=[0, 50, 9000]))["support_calls"]
    assert found.tolist() == [1.0, 50.0, 99.0]


def test_a_constant_column_is_never_capped() -> None:
    assert limits("iqr", np.array([5.0, 5.0, 5.0])) == (-np.inf, np.inf)


def test_a_stand_in_is_used_where_the_value_is_missing_and_nowhere_else() -> None:
    rows = rows_with(total_charges=[500.0, None], tenure_months=[10, 3], monthly_charges=[50.0, 20.0])
    assert cleaned(Cleaning(), rows).columns(rows)["total_charges"].tolist() == [500.0, 60.0]


@pytest.mark.requirement("S2-25")
def test_what_was_fitted_survives_json_and_cleans_alike(case: UseCase) -> None:
    rows = scoring.validate(case, case.sample(300, seed=2)).values
    cleaner = Cleaner.fit(case, rows)
    again = Cleaner.from_json(case, json.loads(json.dumps(cleaner.to_json())))
    assert again.state == cleaner.state
    for name in cleaner.numbers:
        np.testing.assert_array_equal(again.columns(rows)[name], cleaner.columns(rows)[name])


@pytest.mark.requirement("S2-19")
def test_the_report_counts_what_is_there() -> None:
    rows = rows_with(support_calls=[1, 2, None, 3], customer_id=["a", "b", "a", None])
    report = quality.quality_report(CHURN, rows, rejects={7: "age: too young"})
    assert report.missing["support_calls"] == 0.25
    assert (report.rows, report.duplicates, report.wrong_type) == (4, 1, 1)
    assert "age" not in report.absent  # protected: no input of the model
    assert "data_usage_gb" in report.absent


@pytest.mark.requirement("S2-20")
def test_the_gate_lists_every_violation_at_once_and_takes_a_reason() -> None:
    rows = rows_with(support_calls=[1, 2, None, 3], customer_id=["a", "b", "a", None])
    report = quality.quality_report(CHURN, rows)
    with pytest.raises(QualityRefused) as raised:
        quality.gate(CHURN, report)
    assert "support_calls: 25.0% of its values are missing, at most 5% may be" in str(raised.value)
    assert "customer_id: 1 rows repeat a subject" in str(raised.value)
    quality.gate(CHURN, report, override="the calls of March are lost")


@pytest.mark.requirement("S2-16")
def test_of_one_subjects_rows_the_first_is_kept() -> None:
    rows = rows_with(customer_id=["a", "b", "a", None, None])
    assert quality.firsts(CHURN, rows) == [0, 1, 3, 4]


def test_generated_tables_pass_their_own_gate(case: UseCase) -> None:
    rows = scoring.validate(case, case.sample(500, seed=0)).values
    assert quality.quality_report(case, rows).violations == ()

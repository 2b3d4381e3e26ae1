import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forewarn import scoring, sources, usecases
from forewarn.leaks import bystanders, leaks
from forewarn.tasks import Vector
from forewarn.usecase import UseCase

CASE = usecases.get("attrition")
HOURS = usecases.get("absenteeism")
RAW = CASE.sample(1200, seed=1)
GOOD = scoring.labelled(CASE, RAW)
EVENT = GOOD.labels == 1


def of_column(values: list[Any], case: UseCase = CASE, labels: Vector = GOOD.labels) -> list[str]:
    """What is said of a further column of the source."""
    return bystanders(case, [{"extra": value} for value in values], labels)


@pytest.mark.parametrize(
    ("file", "name"),
    [("ibm_hr_attrition", "attrition"), ("ibm_telco_churn", "churn"), ("absenteeism_at_work", "absenteeism")],
)
def test_nothing_in_the_public_files_is_called_a_leak(public_data: Path, file: str, name: str) -> None:
    case = usecases.get(name)
    raw = sources.load(public_data / f"{file}.csv", case, labelled=True)
    good = scoring.labelled(case, raw)
    assert leaks(case, good.rows, good.labels) == []
    assert bystanders(case, raw, good.labels) == []


def test_a_field_that_is_a_copy_of_the_label_is_told_with_its_figure() -> None:
    rows = [{**row, "OverTime": "Yes" if event else "No"} for row, event in zip(GOOD.rows, EVENT, strict=True)]
    assert leaks(CASE, rows, GOOD.labels) == [
        "OverTime: alone it tells the label (ROC-AUC 1.00 on held-out rows); "
        "it is probably known only afterwards, or a copy of Attrition; leave it out"
    ]


def test_a_further_column_that_leaks_is_told_to_be_unused() -> None:
    raw = [{**row, "Exit interview": "done" if event else "-"} for row, event in zip(RAW, EVENT, strict=True)]
    assert bystanders(CASE, raw, GOOD.labels) == [
        "Exit interview: alone it tells the label (ROC-AUC 1.00 on held-out rows); "
        "it is not in the schema, and not used"
    ]


@pytest.mark.parametrize("nothing", [None, "", float("nan")])
def test_a_leak_by_what_is_missing_is_found(nothing: Any) -> None:
    leaving = [
        f"2026-{place % 12 + 1:02d}-{place % 28 + 1:02d}" if event else nothing for place, event in enumerate(EVENT)
    ]
    pay = [str(1000 + place) if event else nothing for place, event in enumerate(EVENT)]
    assert len(of_column(leaving)) == len(of_column(pay)) == 1


def test_a_threshold_within_a_number_is_found_and_one_within_an_id_too() -> None:
    random = np.random.default_rng(0)
    severance = np.where(EVENT, random.uniform(9.3, 30, len(EVENT)), random.uniform(0, 9.3, len(EVENT)))
    assert len(of_column(severance.tolist())) == 1
    ids = np.argsort(np.argsort(GOOD.labels, kind="stable"))
    assert len(of_column([str(place) for place in ids])) == 1


def test_a_copy_with_some_wrong_labels_is_still_a_leak_and_a_strong_column_is_none() -> None:
    random = np.random.default_rng(0)
    wrong = random.random(len(EVENT)) < 0.005
    assert len(of_column(np.where(EVENT ^ wrong, "gone", "here").tolist())) == 1
    assert of_column((EVENT + random.normal(0, 0.5, len(EVENT))).tolist()) == []


def test_what_names_each_row_or_none_is_no_leak() -> None:
    assert of_column([f"person {place}" for place in range(len(EVENT))]) == []
    assert of_column(["same"] * len(EVENT)) == []
    assert of_column([None] * len(EVENT)) == []


def test_key_target_and_fields_of_the_schema_are_no_further_columns() -> None:
    raw = [{**row, "Gender": str(event), "EmployeeNumber": int(event)} for row, event in zip(RAW, EVENT, strict=True)]
    assert bystanders(CASE, raw, GOOD.labels) == []


def test_what_a_model_never_receives_cannot_leak() -> None:
    rows = [
        {**row, "Gender": str(event), "EmployeeNumber": int(event)} for row, event in zip(GOOD.rows, EVENT, strict=True)
    ]
    assert leaks(CASE, rows, GOOD.labels) == []


def test_amounts_leak_by_their_order() -> None:
    good = scoring.labelled(HOURS, HOURS.sample(600, seed=1))
    random = np.random.default_rng(0)
    assert leaks(HOURS, good.rows, good.labels) == []
    [said] = of_column((8 * good.labels**2).tolist(), HOURS, good.labels)
    assert said.startswith("extra: alone it tells the label (rank correlation 1.00")
    assert of_column((good.labels + random.normal(0, 8, 600)).tolist(), HOURS, good.labels) == []


@pytest.mark.parametrize("events", [0, 9, 1191])
def test_too_few_events_tell_nothing(events: int) -> None:
    labels = np.repeat([1.0, 0.0], [events, 1200 - events])
    assert of_column(labels.tolist(), labels=labels) == []


def test_noise_is_never_a_leak_even_among_forty_columns_of_few_rows() -> None:
    labels, random = np.repeat([1.0, 0.0], [10, 30]), np.random.default_rng(0)
    for seed in range(20):
        raw = [{f"c{column}": int(random.integers(3)) for column in range(40)} for _ in labels]
        assert bystanders(CASE, raw, labels, seed=seed) == []


def test_five_thousand_rows_of_forty_columns_take_less_than_a_second_of_computing() -> None:
    random = np.random.default_rng(0)
    rows = [GOOD.rows[place % len(GOOD.rows)] for place in range(5000)]
    labels = np.array([GOOD.labels[place % len(EVENT)] for place in range(5000)])
    noise = random.normal(size=(5000, 10)).tolist()
    raw = [{f"c{place}": str(value) for place, value in enumerate(row)} for row in noise]
    began = time.process_time()
    assert leaks(CASE, rows, labels) == []
    assert bystanders(CASE, raw, labels) == []
    assert time.process_time() - began < 1

import dataclasses

import numpy as np
import pytest

from forewarn import scoring, usecases
from forewarn.evidence import Direction
from forewarn.expectations import MOST_ROWS, directions, sentence
from forewarn.fields import Row
from forewarn.policy import Expectation

CASE = dataclasses.replace(
    usecases.get("attrition"),
    expects=(
        Expectation(field="OverTime", low="No", high="Yes"),
        Expectation(field="JobLevel", low=5, high=1),
        Expectation(field="Education", low=1, high=5),
    ),
)
ROWS = scoring.validate(CASE, CASE.sample(300, seed=1)).values


def score(rows: list[Row]) -> np.ndarray:
    """Falls where JobLevel goes down, which is wrong; does not know Education."""
    return np.array([0.1 + 0.25 * (row["OverTime"] == "Yes") + 0.05 * row["JobLevel"] for row in rows])


def test_each_expectation_is_tried_on_everybody_with_all_else_left_alone() -> None:
    overtime, level, education = directions(CASE, ROWS, score)
    assert (overtime.effect, overtime.passed) == (pytest.approx(0.25), True)
    assert (level.effect, level.passed) == (pytest.approx(-0.2), False)
    assert (education.effect, education.passed) == (0.0, True)
    assert scoring.validate(CASE, CASE.sample(300, seed=1)).values == ROWS  # untouched


def test_what_float32_loses_is_no_fall() -> None:
    only = dataclasses.replace(CASE, expects=CASE.expects[:1])
    for fall, passed in [(3e-7, True), (1e-5, False)]:
        told = directions(
            only, ROWS, lambda rows, fall=fall: np.array([0.4 - fall * (r["OverTime"] == "Yes") for r in rows])
        )
        assert told[0].passed is passed


def test_many_rows_are_tried_on_a_seeded_choice() -> None:
    rows = [{**ROWS[0], "JobLevel": place} for place in range(3 * MOST_ROWS)]
    seen: list[list[int]] = []

    def score(rows: list[Row]) -> np.ndarray:
        seen.append([row["JobLevel"] for row in rows])
        return np.zeros(len(rows))

    only = dataclasses.replace(CASE, expects=CASE.expects[:1])
    for seed in (1, 1, 2):
        directions(only, rows, score, seed=seed)
    assert len(seen[0]) == len(set(seen[0])) == MOST_ROWS
    assert seen[0] == seen[1] == seen[2] == seen[3] != seen[4]


def test_the_sentence_names_field_values_and_effect() -> None:
    told = Direction(field="JobLevel", low=5, high=1, effect=-0.2, passed=False)
    assert sentence(told) == "JobLevel from 5 to 1: the mean score falls by 0.2; it must not fall"
    told = Direction(field="OverTime", low="No", high="Yes", effect=0.25, passed=True)
    assert sentence(told) == "OverTime from No to Yes: the mean score rises by 0.25; it must not fall"


def test_the_field_is_told_by_the_name_that_answers_use() -> None:
    case = dataclasses.replace(usecases.get("absenteeism"), expects=(Expectation(field="age", low=20, high=60),))
    rows = scoring.validate(case, case.sample(20, seed=1)).values
    assert directions(case, rows, lambda rows: np.array([row["age"] for row in rows], dtype=float))[0].field == "Age"

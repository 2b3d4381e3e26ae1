import numpy as np
import pytest

from forewarn import scoring, usecases
from forewarn.errors import BadInput, MissingField, RowRejected
from forewarn.scoring import Scores
from forewarn.tasks import Classification, Verdict
from forewarn.usecase import UseCase
from tests.conftest import CASES

ATTRITION = next(case for case in CASES if case.name == "attrition")
GOOD = {"MonthlyIncome": 5500, "OverTime": "Yes"}


@pytest.mark.requirement("C8")
def test_what_was_not_sent_is_named_as_imputed() -> None:
    rows = scoring.validate(ATTRITION, [{**GOOD, "JobLevel": 2}])
    assert "JobRole" in rows.imputed[0]
    assert not {"JobLevel", "MonthlyIncome", "OverTime"} & set(rows.imputed[0])


def test_protected_fields_are_taken_but_never_called_imputed() -> None:
    rows = scoring.validate(ATTRITION, [{**GOOD, "Age": 34}, GOOD])
    assert rows.values[0]["Age"] == 34
    assert not ATTRITION.protected & set(rows.imputed[1])


@pytest.mark.requirement("S0-15")
def test_further_fields_are_let_through_and_named() -> None:
    rows = scoring.validate(ATTRITION, [{**GOOD, "...": "...", "Shoe size": 44}])
    assert rows.ignored == [["...", "Shoe size"]]
    assert set(rows.values[0]) == set(ATTRITION.row.model_fields)


@pytest.mark.parametrize(
    ("row", "kind", "said"),
    [
        ({"OverTime": 1}, MissingField, "MonthlyIncome is required"),
        ({**GOOD, "MonthlyIncome": 0}, RowRejected, "MonthlyIncome: input should be greater than 0, got 0"),
        ({**GOOD, "MonthlyIncome": "a lot"}, RowRejected, "MonthlyIncome: input should be a valid number"),
        ({**GOOD, "JobLevel": 6}, RowRejected, "JobLevel: input should be less than or equal to 5, got 6"),
        ({**GOOD, "JobLevel": 2.5}, RowRejected, "JobLevel"),
        ({**GOOD, "JobRole": "Wizard"}, RowRejected, "JobRole: input should be 'Healthcare Representative'"),
        ({**GOOD, "OverTime": "maybe"}, RowRejected, "OverTime: input should be 'Yes' or 'No', got 'maybe'"),
        ({**GOOD, "DailyRate": float("nan")}, RowRejected, "DailyRate: input should be a finite number"),
        ("not an object", BadInput, "expected a JSON object with the fields of Employee"),
    ],
)
def test_a_bad_row_is_told_its_field_and_its_value(row: object, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind) as raised:
        scoring.validate(ATTRITION, [row])
    assert type(raised.value) is kind
    assert said in str(raised.value)


def test_one_of_several_bad_rows_is_told_by_its_place() -> None:
    with pytest.raises(RowRejected, match="row 2: MonthlyIncome"):
        scoring.validate(ATTRITION, [GOOD, GOOD, {**GOOD, "MonthlyIncome": -1}])


def test_many_problems_are_five_lines_and_a_count() -> None:
    with pytest.raises(MissingField) as raised:
        scoring.validate(ATTRITION, [{}] * 10)
    assert len(str(raised.value).splitlines()) == 6
    assert str(raised.value).endswith("and 15 more")


def test_an_id_or_protected_value_is_not_repeated() -> None:
    with pytest.raises(RowRejected) as raised:
        scoring.validate(ATTRITION, [{**GOOD, "EmployeeNumber": "E" * 99, "Age": 777}])
    assert "EmployeeNumber" in str(raised.value)
    assert "EEE" not in str(raised.value)
    assert "777" not in str(raised.value)


def test_rows_without_a_label_are_kept_apart() -> None:
    found = scoring.labelled(ATTRITION, [{**GOOD, "Attrition": label} for label in ("Yes", None, "No")])
    assert found.labels.tolist() == [1.0, 0.0]
    assert found.rejects == {1: "Attrition is empty"}


def test_an_amount_that_cannot_be_is_one_row_s_trouble() -> None:
    case = usecases.get("absenteeism")
    raw = [{**case.examples[0].row, case.target: hours} for hours in ("4", "a day", "-1", "8")]
    found = scoring.labelled(case, raw)
    assert found.labels.tolist() == [4.0, 8.0]
    assert list(found.rejects) == [1, 2]
    assert "holds 'a day'; it must be a number of hours" in found.rejects[1]


def test_a_file_without_one_good_row_is_told_the_first_reason() -> None:
    with pytest.raises(BadInput, match="not one row is good; the first: MonthlyIncome"):
        scoring.labelled(ATTRITION, [{"OverTime": 1, "Attrition": "Yes"}] * 3)


def test_a_long_value_is_not_repeated_whole() -> None:
    with pytest.raises(RowRejected) as raised:
        scoring.validate(ATTRITION, [{**GOOD, "JobRole": "x" * 10_000}])
    assert len(str(raised.value)) < 500


def test_rejects_are_kept_apart_and_the_rest_goes_on() -> None:
    rows, rejects = scoring.validate_each(ATTRITION, [GOOD, {**GOOD, "JobLevel": 9}, GOOD, {}])
    assert len(rows.values) == 2
    assert list(rejects) == [1, 3]
    assert "JobLevel" in rejects[1]


@pytest.mark.parametrize("case", [one for one in CASES if isinstance(one.task, Classification)], ids=lambda c: c.name)
def test_decisions_follow_the_threshold(case: UseCase) -> None:
    given = Scores(version="v1", rule={"threshold": 0.3}, values=np.array([0.29, 0.3]))
    quiet, warned = scoring.decide(case, given)
    assert isinstance(case.task, Classification)
    assert isinstance(quiet, Verdict)
    assert isinstance(warned, Verdict)
    assert (quiet.event, warned.event) == (False, True)
    assert (quiet.verdict, warned.verdict) == case.task.verdicts
    assert quiet.confidence == 1 - quiet.probability
    assert warned.confidence == warned.probability
    assert warned.risk_level != "low"

"""When a use case is trained anew, and from which rows."""

from datetime import UTC, datetime, timedelta

import pytest

from forewarn import scoring, usecases
from forewarn.errors import BadInput
from forewarn.ids import IdKey
from forewarn.policy import Watching
from forewarn.retraining import Acted, Fresh, decide, refuse_poor, table

CASE, AMOUNTS = usecases.get("attrition"), usecases.get("absenteeism")
NOW, KEY = datetime(2026, 11, 28, tzinfo=UTC), IdKey(bytes(32))
RULES = Watching()


def ago(*days: float) -> list[datetime]:
    return [NOW - timedelta(days=one) for one in days]


@pytest.mark.parametrize(
    ("began", "fresh", "go", "says"),
    [
        ([], 200, True, "drift, with 200 new rows"),
        (ago(8, 90), 500, True, "drift"),
        (ago(6.9), 500, False, "7 days must pass"),
        (ago(8, 15, 20, 29), 500, False, "4 were begun within 30 days; 4 is the budget"),
        ([], 199, False, "199 rows with known outcomes are new; 200 are needed"),
    ],
)
def test_by_itself_it_keeps_to_a_cool_down_a_budget_and_enough_that_is_new(
    began: list[datetime], fresh: int, go: bool, says: str
) -> None:
    found = decide("drift", began, fresh, RULES, now=NOW)
    assert (found.go, says in found.why) == (go, True), found.why


def test_by_hand_it_begins_whatever_was_before() -> None:
    assert decide("hand", ago(0.1), 0, RULES, now=NOW).go


def row(number: int, label: float, *, acted: bool = False) -> Fresh:
    (known,) = scoring.validate(CASE, CASE.sample(1, seed=number)).values
    subject = KEY.pseudonym(CASE.name, f"E{number}")
    return Fresh(row={**known, CASE.key: None}, label=label, subject=subject, acted=acted)


@pytest.mark.requirement("S2-59")
@pytest.mark.requirement("C40")
def test_the_newest_comes_first_under_its_pseudonym_and_what_was_acted_on_is_left_out() -> None:
    base = [{**one, "EmployeeNumber": f"E{place}"} for place, one in enumerate(CASE.sample(3, seed=7))]
    fresh = [row(1, 0.0), row(2, 1.0, acted=True), row(3, 1.0)]
    rows, counts = table(CASE, fresh, base, KEY, acted="leave-out")
    assert counts == {"ledger": 2, "acted_on": 1, "left_out": 1, "base": 3}
    assert [one["Attrition"] for one in rows[:2]] == ["Yes", "No"]
    names = [one["EmployeeNumber"] for one in rows]
    assert names[:2] == [KEY.pseudonym(CASE.name, "E3"), KEY.pseudonym(CASE.name, "E1")]
    assert names.count(KEY.pseudonym(CASE.name, "E1")) == 2, "one subject, so that a training keeps the newer row"
    assert not any(name.startswith("E") for name in names), "nobody's id is left"
    assert len(scoring.labelled(CASE, rows).rows) == 5, "it is a table as any other"


def test_what_was_acted_on_may_be_kept_and_is_counted_all_the_same() -> None:
    acted: Acted = "keep"
    rows, counts = table(CASE, [row(1, 1.0, acted=True)], [], KEY, acted=acted)
    assert (len(rows), counts["acted_on"], counts["left_out"]) == (1, 1, 0)


def test_labels_are_written_as_the_base_set_writes_them() -> None:
    base = [{**one, "Attrition": "stayed" if one["Attrition"] == "No" else "Yes"} for one in CASE.sample(9, seed=1)]
    assert table(CASE, [row(1, 0.0)], base, KEY, acted="keep")[0][0]["Attrition"] == "stayed"


def test_amounts_stay_amounts() -> None:
    (known,) = scoring.validate(AMOUNTS, AMOUNTS.sample(1, seed=0)).values
    fresh = Fresh(row=known, label=8.0, subject=None, acted=False)
    assert table(AMOUNTS, [fresh], [], KEY, acted="keep")[0][0][AMOUNTS.target] == 8.0


def test_so_few_rows_that_a_poorer_model_would_pass_are_refused() -> None:
    refuse_poor(CASE, 500, 1000)
    with pytest.raises(BadInput, match=r"499 rows are fewer than half of the 1,000 .* --data"):
        refuse_poor(CASE, 499, 1000)

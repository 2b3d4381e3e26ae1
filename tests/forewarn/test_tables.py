import math
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn import tables, usecases
from forewarn.errors import BadInput

ROWS = [{"Name": "Ann", "Level": "007", "Note": None}, {"Name": "Zoë", "Level": "2", "Note": "NA"}]


@pytest.mark.requirement("S2-12")
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_table_reads_the_same_however_it_was_saved(separator: str, encoding: str, end: str) -> None:
    lines = [separator.join(cells) for cells in (["Name", "Level ", "Note"], ["Ann", "007", " "], ["Zoë", "2", "NA"])]
    assert tables.rows_of_csv(end.join([*lines, ""]).encode(encoding)) == ROWS


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("Call  Failure, Age \n1,2\n", [{"Call Failure": "1", "Age": "2"}]),
        ("A,B\n1,2,\n3,4,\n", [{"A": "1", "B": "2"}, {"A": "3", "B": "4"}]),
        ('A,B\n"1\n2","say ""so"", then"\n', [{"A": "1\n2", "B": 'say "so", then'}]),
        ('"Surname, Name";Age\nX;3\n', [{"Surname, Name": "X", "Age": "3"}]),
        ("A\n1\n\n2\n", [{"A": "1"}, {"A": "2"}]),
        ("\n\nA,B\n1,2\n\n", [{"A": "1", "B": "2"}]),
        (",A\n0,x\n", [{"Unnamed: 0": "0", "A": "x"}]),
        ("A,B\n ,\n", [{"A": None, "B": None}]),
    ],
    ids=[
        "blanks in names",
        "comma at the end",
        "quotes",
        "comma in a name",
        "one column",
        "empty lines",
        "no name",
        "",
    ],
)
def test_csv_is_read_as_it_is_meant(text: str, rows: list[dict[str, Any]]) -> None:
    assert tables.rows_of_csv(text.encode()) == rows


@pytest.mark.requirement("S2-11")
@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "it is empty"),
        (b" \n\n", "it is empty"),
        (b"A,B\n", "holds no rows"),
        (b"just one line of prose", "holds no rows"),
        (b"A,B\n1,2\n1,2,3\n", "line 3 has 3 cells where the header has 2"),
        (b"A,B,C\n1,2,3\n\n1,2\n", "line 4 has 2 cells where the header has 3"),
        (b'A,B\n1,"2\n', "line 2 is no CSV"),
        (b"A,A \n1,2\n", "the column A is there twice"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "it is a binary file"),
    ],
)
def test_what_is_no_table_is_one_sentence_with_a_remedy(raw: bytes, said: str) -> None:
    with pytest.raises(BadInput) as raised:
        tables.rows_of_csv(raw)
    assert said in str(raised.value)
    assert "; " in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


CELLS = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), min_size=1).filter(str.strip)


@given(st.lists(st.fixed_dictionaries({"first": CELLS, "second": CELLS}), min_size=1))
def test_csv_that_was_written_reads_as_it_was(rows: list[dict[str, Any]]) -> None:
    assert tables.rows_of_csv(tables.csv_of(rows).encode()) == rows


def test_lists_and_objects_fit_in_a_cell() -> None:
    rows = [{"id": 1, "factors": ["tenure", "contract"]}, {"id": 2, "why": {"at": [1, 2]}, "factors": []}, {"id": None}]
    assert tables.csv_of(rows) == ('id,factors,why\r\n1,tenure; contract,\r\n2,,"{""at"":[1,2]}"\r\n,,\r\n')


@pytest.mark.requirement("S2-12")
@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ("007", "007"),
        (" \t", None),
        (None, None),
        (True, True),
        (Decimal("1.50"), 1.5),
        (Decimal("NaN"), None),
        (math.nan, None),
        (np.float64("nan"), None),
        (np.int64(3), 3),
        (np.str_("x"), "x"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00+00:00"),
        (b"caf\xc3\xa9", "café"),
        (Path("a"), "a"),
    ],
)
def test_values_come_as_json_knows_them(value: Any, plain: Any) -> None:
    found = tables.plain(value)
    assert (found, type(found)) == (plain, type(plain))


@pytest.mark.requirement("S2-14")
def test_every_problem_of_the_columns_is_said_at_once() -> None:
    columns = ["monthly_charges", "MonthlyCharges", "Tenure Months", "churned", "city"]
    with pytest.raises(BadInput) as raised:
        tables.check(usecases.get("churn"), columns, labelled=True, also=["city", "region", "support_calls"])
    assert str(raised.value).splitlines() == [
        "churn: the column tenure_months (or tenure) is missing; is Tenure Months meant?",
        "churn: the columns monthly_charges and MonthlyCharges both give monthly_charges; keep one",
        "churn: the column support_calls is missing",
        "churn: the column contract (or Contract) is missing",
        "churn: the column region is missing",
        "churn: the column Churn with the labels is missing; is churned meant?",
    ]


def test_any_accepted_name_will_do() -> None:
    tables.check(usecases.get("churn"), ["tenure", "MonthlyCharges", "Contract", "Churn"], labelled=True)
    tables.check(usecases.get("churn"), ["tenure_months", "monthly_charges", "contract"], also=["MonthlyCharges"])

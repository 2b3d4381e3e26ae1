import dataclasses
import time
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from pydantic import Field

from forewarn.answers import Example
from forewarn.fields import CODES, RowModel
from forewarn.groups import groups
from forewarn.sampling import by_schema
from forewarn.tasks import Classification
from forewarn.usecase import UseCase


class Person(RowModel):
    years: Annotated[int | None, Field(ge=0, le=120)] = None
    pay: Annotated[float | None, Field(ge=0, le=1e9)] = None
    grade: Literal["low", "middle", "high"] | None = None
    month: Annotated[int | None, Field(ge=1, le=12), CODES] = None
    town: str | None = None


CASE = UseCase(
    name="people",
    title="People",
    row=Person,
    target="y",
    task=Classification(event="Yes"),
    sample=by_schema(Person, target="y"),
    edges={"years": (30, 40, 50), "pay": (1000.0, 2500.5)},
    examples=(Example(name="one", row={"years": 1}),),
)


def sizes(field: str, values: list[Any], case: UseCase = CASE) -> dict[str, int]:
    found = groups(case, field, [{field: value} for value in values])
    assert (sum(mask.astype(int) for mask in found.values()) == 1).all()  # a partition
    return {name: int(mask.sum()) for name, mask in found.items()}


def test_whole_numbers_fall_into_the_declared_bands() -> None:
    found = sizes("years", [29, 30, 39, 40, 49, 50, 99, None])
    assert found == {"below 30": 1, "30 to 39": 2, "40 to 49": 2, "50 and more": 2, "(missing)": 1}


def test_other_numbers_say_where_a_band_ends() -> None:
    assert list(sizes("pay", [999.9, 1000.0, 2500.4, 2500.5])) == [
        "below 1000",
        "1000 to below 2500.5",
        "2500.5 and more",
    ]


def test_bands_that_nobody_is_in_are_left_out() -> None:
    assert list(sizes("years", [20, 60])) == ["below 30", "50 and more"]


def test_without_declared_edges_a_number_falls_into_thirds() -> None:
    bare = dataclasses.replace(CASE, edges={})
    assert sizes("years", list(range(1, 91)), bare) == {"below 31": 30, "31 to 60": 30, "61 and more": 30}
    assert sizes("years", [7, 7, None], bare) == {"any": 2, "(missing)": 1}
    assert sizes("years", [0, 0, 0, 0, 5, 6], bare) == {"below 5": 4, "5 and more": 2}
    assert sizes("years", [None, None], bare) == {"(missing)": 2}


def test_levels_come_in_the_order_of_the_schema() -> None:
    assert list(sizes("grade", ["high", None, "low"])) == ["low", "high", "(missing)"]
    assert list(sizes("month", [12, 2, 1])) == ["1", "2", "12"]


def test_words_beyond_the_twelve_commonest_are_one_group() -> None:
    words = [f"town {place:02d}" for place in range(20) for _ in range(40 - place)]
    found = sizes("town", [*words, None, "  ", "(other)"])
    assert list(found)[:2] == ["town 00", "town 01"]
    assert list(found)[-3:] == ["town 11", "(other)", "(missing)"]
    assert found["(other)"] == 1 + sum(40 - place for place in range(12, 20))
    assert found["(missing)"] == 2


@pytest.mark.parametrize("field", ["years", "grade", "town"])
def test_a_hundred_thousand_rows_are_grouped_in_under_a_second(field: str) -> None:
    random = np.random.default_rng(0)
    values = {"years": random.integers(0, 99, 100_000).tolist(), "grade": ["low", "high"] * 50_000}
    rows = [{field: value} for value in values.get(field, ["Ulm", "Bonn"] * 50_000)]
    began = time.monotonic()
    assert len(groups(CASE, field, rows)) >= 2
    assert time.monotonic() - began < 1

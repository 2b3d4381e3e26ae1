"""Columns at once: the same rows are valid, the same bits, the same words as row by row."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pydantic import Field, field_validator, model_validator

from forewarn import answering, blocks, scoring, tables, usecases
from forewarn.answers import passes_on
from forewarn.fields import FieldSpec, Picked, RowModel
from forewarn.package import ModelPackage
from forewarn.tasks import LOW_MEDIUM_HIGH, Classification
from forewarn.usecase import UseCase
from tests.conftest import CASES, fitted

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ROWS = 12
PACKAGES = {case.name: fitted(case, seed=1) for case in CASES}
# What any field may be sent, right or wrong: null, blank, text, beyond every limit, between whole numbers, not finite.
WORDS: list[Any] = [None, "", " ", "x", " Yes ", "no", "1", "007", "1.0", "1e3", "nan", "Ä", "é" * 40, "x" * 70]
NUMBERS: list[Any] = [None, 0, 1, 2, 7, -1, 28, 29, 2**53 + 1, -(2**60)]
FRACTIONS: list[Any] = [None, 0.0, -0.0, 0.5, 1.0, 3.0, 1e6, 1e9, -1.0, float("nan"), float("inf"), 1e300]
KINDS: list[tuple[list[Any], pa.DataType]] = [
    (NUMBERS, pa.int64()),
    (FRACTIONS, pa.float64()),
    ([None, 0.0, 0.5, 3.0], pa.float32()),
    ([None, 0, 1, 5], pa.uint8()),
    ([None, True, False], pa.bool_()),
    (WORDS, pa.string()),
    ([None, "Yes", "no", " "], pa.large_string()),
    ([None, "Yes", "1", "x"], pa.dictionary(pa.int8(), pa.string())),
    ([None, Decimal("1.50"), Decimal("3.00")], pa.decimal128(6, 2)),
    ([None, date(2026, 1, 2)], pa.date32()),
    ([None, [1, 2], []], pa.list_(pa.int64())),
    ([None, b"Yes", b"\xff"], pa.binary()),
    ([None], pa.null()),
]


@some.composite
def tables_of(draw: some.DrawFn, case: UseCase) -> pa.Table:
    """Made-up rows in which some columns hold anything, have another of their names, or are not there."""
    rows = case.sample(ROWS, seed=draw(some.integers(0, 50)))
    columns = {name: pa.array([row[name] for row in rows]) for name in rows[0]}
    for name in draw(some.lists(some.sampled_from(sorted(columns)), max_size=4, unique=True)):
        columns[name] = draw(mixed(columns[name]))
    for spec in draw(some.lists(some.sampled_from(case.fields), max_size=3, unique=True)):
        there = next((name for name in (*spec.aliases, spec.name) if name in columns), None)
        if there and draw(some.integers(0, 2)):
            columns[draw(some.sampled_from((*spec.aliases, spec.name)))] = columns.pop(there)
        elif there:
            del columns[there]
    return pa.table(columns)


@some.composite
def mixed(draw: some.DrawFn, column: pa.Array) -> pa.Array:
    """A column of another kind, or this one with a gap or two."""
    if draw(some.booleans()):
        gaps = draw(some.lists(some.booleans(), min_size=ROWS, max_size=ROWS))
        return pa.array(column.to_pylist(), column.type, mask=np.array(gaps))
    values, kind = draw(some.sampled_from(KINDS))
    return pa.array(draw(some.lists(some.sampled_from(values), min_size=ROWS, max_size=ROWS)), kind)


def records(table: pa.Table) -> list[dict[str, Any]]:
    return tables.records(table.column_names, zip(*(column.to_pylist() for column in table.columns), strict=True))


def by_row(package: ModelPackage, raw: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = scoring.validate(package.case, raw)
    scores = scoring.score(package, rows.values)
    return answering.tell(package.case, rows, scores, package.card, at=NOW)


def by_column(package: ModelPackage, block: blocks.Block) -> list[dict[str, Any]]:
    scores = scoring.score_block(package, block)
    told = answering.tell_block(package.case, block, scores, package.card, at=NOW)
    return [{name: cell(value, place) for name, value in told.items()} for place in range(block.count)]


def cell(value: Any, place: int) -> Any:
    """One row's value of what may be a column."""
    if isinstance(value, dict):
        return {name: cell(part, place) for name, part in value.items()}
    if isinstance(value, Picked):
        return None if value.places[place] < 0 else value.values[value.places[place]]
    if isinstance(value, blocks.Numbers | blocks.Texts):
        return value.arrow()[place].as_py()
    return value[place].item() if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@settings(max_examples=150)
@given(data=some.data())
def test_what_is_plain_is_valid_and_gets_the_bits_and_words_of_its_row(case: UseCase, data: some.DataObject) -> None:
    package, table = PACKAGES[case.name], data.draw(tables_of(case))
    block, sound = blocks.vetted(case, table)
    raw = [row for row, plain in zip(records(table), sound, strict=True) if plain]
    assert block.count == len(raw)
    if raw:
        assert scoring.sift(case, raw)[1] == {}
        rows = scoring.validate(case, raw).values
        assert package.features.matrix_of_block(block).tobytes() == package.prepare(rows).tobytes()
        assert by_column(package, block) == by_row(package, raw)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_made_up_rows_are_plain_all_of_them(case: UseCase) -> None:
    block, sound = blocks.vetted(case, pa.Table.from_pylist(case.sample(300, seed=5)))
    assert sound.all()
    assert case.target in block.ignored


def test_a_large_block_has_the_bits_of_its_rows() -> None:
    case = CASES[0]
    package, rows = PACKAGES[case.name], case.sample(scoring.SLICE + 100, seed=6)
    block, _ = blocks.vetted(case, pa.Table.from_pylist(rows))
    expected = scoring.score(package, scoring.validate(case, rows).values)
    assert scoring.score_block(package, block).values.tobytes() == expected.values.tobytes()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_where_the_hinge_was_sent_is_seen_as_row_by_row(case: UseCase) -> None:
    for spec in case.fields:
        for values, kind in KINDS:
            table = pa.table({spec.aliases[0]: pa.array(values, kind)})
            expected = [case.holds(row, spec.name) for row in records(table)]
            assert blocks.held(case, table, spec.name).tolist() == expected


class Fussy(RowModel):
    a: int = Field(ge=0, le=9)

    @field_validator("a")
    @classmethod
    def even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even")
        return value


class Whole(RowModel):
    a: int = Field(ge=0, le=9)

    @model_validator(mode="after")
    def fits(self) -> "Whole":
        return self


@pytest.mark.parametrize("row", [Fussy, Whole])
def test_a_schema_with_a_mind_of_its_own_is_left_to_it(row: type[RowModel]) -> None:
    example = replace(CASES[0].examples[0], row={"a": 2})
    none: frozenset[str] = frozenset()
    case = replace(CASES[0], row=row, key="", features=(), stand_ins={}, unused=none, protected=none, sensitive=none,
                   advice=(), occasion=none, otherwise=None, hinge="", slices=(), edges={}, expects=(),
                   examples=(example,))  # fmt: skip
    assert not blocks.answerable(case)
    assert not blocks.vetted(case, pa.table({"a": [2, 4]}))[1].any()


def test_an_answer_that_promises_nothing_is_asked_row_by_row() -> None:
    case = usecases.get("attrition")
    silent = replace(case, api=replace(case.api, answer=lambda told: {"prediction": f"{told.decision.verdict}!"}))
    assert blocks.answerable(case)
    assert not blocks.answerable(silent)
    assert blocks.answerable(replace(case, api=replace(case.api, answer=passes_on(lambda _: {}))))


@given(scores=some.lists(some.floats(0, 1), min_size=1, max_size=50), threshold=some.floats(0, 1))
def test_verdicts_on_many_are_the_verdicts_on_each(scores: list[float], threshold: float) -> None:
    task = Classification(event="Yes", verdicts=("No", "Yes"), bands=LOW_MEDIUM_HIGH)
    many = task.decide_all(np.array(scores), {"threshold": threshold}, "v1")
    for place, score in enumerate(scores):
        one = task.decide(score, {"threshold": threshold}, "v1")
        for name in ("probability", "event", "verdict", "confidence", "risk_level"):
            assert cell(getattr(many, name), place) == getattr(one, name)


def test_a_field_is_asked_for_no_more_than_once_a_value() -> None:
    asked: list[Any] = []
    spec = FieldSpec(name="a", aliases=("a",), kind="category", required=True)
    column = Picked(("x", "y"), np.array([0, 1, 1, -1]))
    assert column.mapped(lambda level: asked.append(level) or level, spec.name).tolist() == ["x", "y", "y", "a"]
    assert asked == ["x", "y"]

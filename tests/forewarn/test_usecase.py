import dataclasses
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from pydantic import Field, create_model

from forewarn import performance, scoring, usecases
from forewarn.answers import Example
from forewarn.errors import BadInput, NotFound
from forewarn.estimators import FITTERS
from forewarn.features import Features
from forewarn.fields import CODES, RowModel, yes_or_no
from forewarn.sampling import by_schema
from forewarn.spaces import STARTING_POINTS
from forewarn.tasks import Classification, Regression
from forewarn.usecase import UseCase
from tests.conftest import CASES


def test_an_unknown_use_case_is_answered_with_those_there_are() -> None:
    with pytest.raises(NotFound, match="attrition"):
        usecases.get("weather")


def test_samples_are_seeded(case: UseCase) -> None:
    assert case.sample(20, seed=3) == case.sample(20, seed=3)
    assert case.sample(20, seed=3) != case.sample(20, seed=4)


def test_samples_are_valid_rows_with_different_labels(case: UseCase) -> None:
    raw = case.sample(500, seed=0)
    assert len(scoring.validate(case, raw).values) == 500
    labels = set(case.task.labels(case.target, [row[case.target] for row in raw]))
    assert labels == {0.0, 1.0} if isinstance(case.task, Classification) else len(labels) > 5


def test_a_model_finds_the_signal_that_a_sample_holds(case: UseCase) -> None:
    raw = case.sample(3000, seed=5)
    rows = scoring.validate(case, raw).values
    labels = case.task.labels(case.target, [row[case.target] for row in raw])
    features = Features.fit(case, rows[:2000])
    name = case.task.algorithms[0]
    fit, point = FITTERS[name], STARTING_POINTS[name][0]
    trees = fit(features.matrix(rows[:2000]), labels[:2000], features.levels, seed=0, **point)
    found = performance.selection(case.task, labels[2000:], trees.margins(features.matrix(rows[2000:])))
    if isinstance(case.task, Classification):
        assert 0.75 <= found <= 0.98  # and is not given away
    else:
        assert found < np.abs(labels[2000:] - np.median(labels[2000:])).mean()


def test_drift_moves_the_named_field_and_no_other(case: UseCase) -> None:
    number = next(spec.wire for spec in case.inputs if spec.kind == "number")
    before, after = case.sample(800, seed=0), case.sample(800, seed=0, drift={number: 1.0})
    values = np.array([row[number] for row in before], dtype=float)
    moved = np.array([row[number] for row in after], dtype=float)
    assert moved.mean() - values.mean() == pytest.approx(values.std(), abs=0.5)
    untouched = set(before[0]) - {number, case.target}
    assert all(a[name] == b[name] for a, b in zip(before, after, strict=True) for name in untouched)


def worded(case: UseCase) -> list[str]:
    """Its categories in words; those in codes are numbers to `shift`, and drift as numbers do."""
    return [spec.wire for spec in case.inputs if spec.kind == "category" and isinstance(spec.levels[0], str)]


@pytest.mark.parametrize("case", [one for one in CASES if worded(one)], ids=lambda case: case.name)
def test_drift_of_a_category_gathers_it_on_its_commonest_level(case: UseCase) -> None:
    category = worded(case)[0]
    before = [row[category] for row in case.sample(800, seed=0)]
    after = [row[category] for row in case.sample(800, seed=0, drift={category: 0.5})]
    commonest = max(set(before), key=before.count)
    assert after.count(commonest) > before.count(commonest) + 50


def test_drift_of_an_unknown_field_is_refused(case: UseCase) -> None:
    with pytest.raises(KeyError):
        case.sample(10, drift={"no such field": 1.0})


def test_the_model_never_receives_key_or_protected_fields(case: UseCase) -> None:
    assert not {spec.name for spec in case.inputs} & ({case.key} | case.protected | case.unused)


def test_every_example_of_the_documentation_is_a_valid_row(case: UseCase) -> None:
    assert case.examples
    for example in case.examples:
        scoring.validate(scoring.profile(case, example.row), [example.row])


@pytest.mark.parametrize("wrong", [{"key": "nope"}, {"protected": frozenset({"nope"})}])
def test_a_declaration_that_names_no_field_is_refused(case: UseCase, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="nope"):
        dataclasses.replace(case, **wrong)


def test_labels_with_a_third_value_are_refused() -> None:
    with pytest.raises(BadInput, match="Perhaps"):
        Classification(event="Yes").labels("Churn", ["Yes", "No", "Perhaps"])


@pytest.mark.parametrize("label", ["many", None, -1, float("nan"), 9000])
def test_an_amount_that_cannot_be_is_refused(label: object) -> None:
    with pytest.raises(BadInput, match=r"Hours (holds .* from 0 to 8784|is empty)"):
        Regression(unit="hours", low=0, high=8784).labels("Hours", [4, label])


@pytest.mark.requirement("C21")
@pytest.mark.parametrize(
    ("probability", "threshold", "level"),
    [
        (0.29, 0.5, "low"),
        (0.31, 0.5, "medium"),
        (0.69, 0.5, "medium"),
        (0.71, 0.5, "high"),
        (0.10, 0.2, "low"),
        (0.20, 0.2, "medium"),
        (0.60, 0.2, "high"),
        (1.0, 1.0, "medium"),
        (0.0, 0.2, "low"),
    ],
)
def test_risk_levels_move_with_the_threshold(probability: float, threshold: float, level: str) -> None:
    assert Classification(event="Yes").risk_level(probability, threshold) == level


@pytest.mark.requirement("C7")
@pytest.mark.parametrize(
    ("sent", "meant"),
    [(1, "Yes"), (0, "No"), (True, "Yes"), (False, "No"), ("yes", "Yes"), (" NO ", "No"), ("1", "Yes"), (1.0, "Yes")],
)
def test_yes_and_no_in_every_spelling(sent: object, meant: str) -> None:
    assert yes_or_no(sent) == meant


@pytest.mark.parametrize("odd", ["perhaps", 2, None, [1], {"a": 1}])
def test_what_is_neither_yes_nor_no_is_left_to_be_refused(odd: object) -> None:
    assert yes_or_no(odd) is odd


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (Annotated[float, Field(ge=0)], "a lower and an upper limit"),
        (Annotated[int, Field(ge=0), CODES], "both limits"),
        (Literal["a"] | int, "of one type"),
        (bool, "a YesNo"),
    ],
)
def test_a_field_that_would_fail_later_is_refused_when_it_is_declared(annotation: Any, said: str) -> None:
    row = create_model("Odd", __base__=RowModel, x=(annotation, ...))
    with pytest.raises((ValueError, TypeError), match=said):
        odd_case(row)


def odd_case(row: type[RowModel]) -> UseCase:
    return UseCase(
        name="odd",
        title="Odd",
        row=row,
        target="y",
        task=Classification(event="Yes"),
        sample=by_schema(row, target="y"),
        examples=(Example(name="one", row={"x": 1}),),
    )


@pytest.mark.parametrize("amount", [0.0, 12.0], ids=["event", "amount"])
def test_a_generator_from_the_schema_makes_rows_that_the_schema_takes(amount: float) -> None:
    row = create_model(
        "Plain",
        __base__=RowModel,
        count=(Annotated[int, Field(ge=1, le=9)], ...),
        share=(Annotated[float, Field(gt=0.2, lt=0.4)], ...),
        month=(Annotated[int, Field(ge=1, le=12), CODES], ...),
        word=(Literal["a", "b"], ...),
    )
    made = by_schema(row, target="y", amount=amount)(200, seed=1)
    case = dataclasses.replace(odd_case(row), sample=by_schema(row, target="y", amount=amount))
    assert len(scoring.validate(case, made).values) == 200
    assert {type(one["y"]) for one in made} == {float if amount else str}

import dataclasses

import numpy as np
import pytest

from forewarn import performance, scoring, usecases
from forewarn.errors import BadInput, NotFound
from forewarn.estimators import STARTING_POINTS, Trees
from forewarn.features import Features
from forewarn.usecase import UseCase, yes_or_no


def test_an_unknown_use_case_is_answered_with_those_there_are() -> None:
    with pytest.raises(NotFound, match="attrition"):
        usecases.get("weather")


def test_samples_are_seeded(case: UseCase) -> None:
    assert case.sample(20, seed=3) == case.sample(20, seed=3)
    assert case.sample(20, seed=3) != case.sample(20, seed=4)


def test_samples_are_valid_rows_with_both_labels(case: UseCase) -> None:
    raw = case.sample(500, seed=0)
    assert len(scoring.validate(case, raw).values) == 500
    assert set(case.labels([row[case.target] for row in raw])) == {0.0, 1.0}


def test_a_model_finds_the_signal_that_a_sample_holds(case: UseCase) -> None:
    raw = case.sample(3000, seed=5)
    rows, labels = scoring.validate(case, raw).values, case.labels([row[case.target] for row in raw])
    features = Features.fit(case, rows[:2000])
    point = STARTING_POINTS["xgboost"][0]
    trees = Trees.fit(features.matrix(rows[:2000]), labels[:2000], features.levels, seed=0, **point)
    assert 0.75 <= performance.roc_auc(labels[2000:], trees.margins(features.matrix(rows[2000:]))) <= 0.90


def test_drift_moves_the_named_field_and_no_other(case: UseCase) -> None:
    number = next(spec.name for spec in case.inputs if spec.kind == "number")
    before, after = case.sample(800, seed=0), case.sample(800, seed=0, drift={number: 1.0})
    values = np.array([row[number] for row in before], dtype=float)
    moved = np.array([row[number] for row in after], dtype=float)
    assert moved.mean() - values.mean() == pytest.approx(values.std(), rel=0.05)
    untouched = set(before[0]) - {number, case.target}
    assert all(a[name] == b[name] for a, b in zip(before, after, strict=True) for name in untouched)


def test_drift_of_a_category_gathers_it_on_its_commonest_level(case: UseCase) -> None:
    category = next(spec.name for spec in case.inputs if spec.kind == "category")
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
        scoring.validate(case, [example.row])


@pytest.mark.parametrize("wrong", [{"key": "nope"}, {"protected": frozenset({"nope"})}])
def test_a_declaration_that_names_no_field_is_refused(case: UseCase, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="nope"):
        dataclasses.replace(case, **wrong)


def test_labels_with_a_third_value_are_refused(case: UseCase) -> None:
    with pytest.raises(BadInput, match="Perhaps"):
        case.labels([case.event, "No", "Perhaps"])


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
def test_risk_levels_move_with_the_threshold(case: UseCase, probability: float, threshold: float, level: str) -> None:
    assert case.risk_level(probability, threshold) == level


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

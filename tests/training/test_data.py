import dataclasses
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from forewarn import performance, usecases
from forewarn.errors import BadInput, QualityRefused
from forewarn.features import Features
from forewarn.quality import quality_report
from forewarn.tasks import Classification, Vector
from forewarn.usecase import UseCase
from tests.conftest import CASES
from training import data
from training.data import Examples, Fold
from training.recipes import Recipe

ATTRITION = usecases.get("attrition")
HOURS = usecases.get("absenteeism")
EVENTS = [case for case in CASES if isinstance(case.task, Classification)]
SEEN = dataclasses.replace(ATTRITION, when="DistanceFromHome")


def absences(n: int) -> Examples:
    """Of n/15 workers; the sample gives every row a worker."""
    return data.examples(HOURS, HOURS.sample(n, seed=1))


def subjects(found: Examples, fold: Fold) -> tuple[set[Any], set[Any]]:
    """Who is in the training part, and who in the test part."""
    names = [row[HOURS.key] for row in found.rows]
    tested = set(fold.places.tolist())
    assert len(fold.train) == len(names) - len(tested)
    return {name for place, name in enumerate(names) if place not in tested}, {names[place] for place in tested}


def seen(days: list[int | None]) -> Examples:
    """Employees who were seen on these days."""
    raw = [{**row, SEEN.when: day} for row, day in zip(SEEN.sample(len(days), seed=1), days, strict=True)]
    return data.examples(SEEN, raw, override="days may be missing")


def days_of(found: Examples) -> list[tuple[Vector, Vector]]:
    """Of each fold, when its training rows and its test rows were seen."""
    column = Features.fit(SEEN, found.rows).names.index(SEEN.when)
    return [(fold.train[:, column], fold.test[:, column]) for fold in data.folds(found, repeats=3, seed=0)]


def test_every_row_is_tested_once_per_repeat_with_features_of_its_own_fold(case: UseCase) -> None:
    found = data.examples(case, case.sample(200, seed=0))
    folds = list(data.folds(found, repeats=2, seed=0))
    assert len(folds) == 10
    assert sum(len(fold.test_labels) for fold in folds) == 400
    assert sum(fold.test_labels.sum() for fold in folds) == 2 * found.labels.sum()
    assert all(fold.train.shape[0] + fold.test.shape[0] == 200 for fold in folds)
    again = list(data.folds(found, repeats=2, seed=0))
    assert all(np.array_equal(one.test, two.test) for one, two in zip(folds, again, strict=True))


def test_a_file_without_labels_is_told_the_column(case: UseCase) -> None:
    raw = [{name: value for name, value in row.items() if name != case.target} for row in case.sample(30, seed=0)]
    with pytest.raises(BadInput, match=case.target):
        data.examples(case, raw)


def test_labels_that_cannot_be_read_are_named(case: UseCase) -> None:
    words = ("one", "two", "three")
    raw = [{**row, case.target: words[place % 3]} for place, row in enumerate(case.sample(30, seed=0))]
    with pytest.raises(BadInput, match=f"{case.target} holds .*(mend|must be a number)"):
        data.examples(case, raw)


def test_a_few_bad_rows_are_kept_apart_and_many_stop_the_training(case: UseCase) -> None:
    raw = case.sample(100, seed=0)
    required = next(spec.wire for spec in case.fields if spec.required and spec.kind == "number")
    spoiled = [{**row, required: "?"} if place < 3 else row for place, row in enumerate(raw)]
    found = data.examples(case, spoiled)
    assert (len(found.rows), list(found.rejects)) == (97, [0, 1, 2])
    with pytest.raises(BadInput, match=f"6 of 100 rows are bad, the first is row 0: {required}"):
        data.examples(case, [{**row, required: "?"} if place < 6 else row for place, row in enumerate(raw)])


def test_too_few_rows_to_learn_from_are_counted(case: UseCase) -> None:
    found = data.examples(case, case.sample(40, seed=0))
    with pytest.raises(BadInput, match=r"training needs at least (20|100)"):
        data.trainable(found)


@pytest.mark.requirement("S2-16")
@pytest.mark.requirement("S2-20")
def test_a_repeated_subject_stops_training_unless_that_is_overridden() -> None:
    case = usecases.get("churn")
    raw = case.sample(60, seed=0)
    twice = [*raw, {**raw[0], "monthly_charges": 1.0}]
    with pytest.raises(QualityRefused, match="customer_id: 1 rows repeat a subject"):
        data.examples(case, twice)
    found = data.examples(case, twice, override="the export lists movers twice")
    assert [row["monthly_charges"] for row in found.rows] == [row["monthly_charges"] for row in raw]
    assert found.quality.violations


@pytest.mark.parametrize("case", EVENTS, ids=lambda case: case.name)
def test_every_fold_has_its_share_of_events(case: UseCase) -> None:
    found = data.examples(case, case.sample(300, seed=0))
    share = found.labels.sum() / data.SPLITS
    assert all(abs(fold.test_labels.sum() - share) < 1 for fold in data.folds(found, repeats=2, seed=0))


def test_repeats_cut_the_rows_differently() -> None:
    found = absences(200)
    folds = list(data.folds(found, repeats=2, seed=0))
    assert [fold.repeat for fold in folds] == [0] * 5 + [1] * 5
    assert {tuple(fold.places) for fold in folds[:5]}.isdisjoint({tuple(fold.places) for fold in folds[5:]})


def test_no_subject_is_learned_from_and_tried_on_in_one_fold() -> None:
    found = absences(300)
    assert data.repeats_subjects(found)
    folds = list(data.folds(found, repeats=2, seed=0))
    for fold in folds:
        known, tried = subjects(found, fold)
        assert not known & tried
    for repeat in (0, 1):
        tested = np.concatenate([fold.places for fold in folds if fold.repeat == repeat])
        assert sorted(tested) == list(range(len(found.rows)))


def test_subjects_may_be_known_where_that_is_asked_for() -> None:
    found = absences(300)
    for fold in data.folds(found, repeats=1, seed=0, known=True):
        known, tried = subjects(found, fold)
        assert len(known & tried) > len(tried) / 2


def test_rows_that_name_nobody_are_spread_over_the_folds() -> None:
    raw = [{**row, "ID": None if place % 2 else row["ID"]} for place, row in enumerate(HOURS.sample(200, seed=1))]
    found = data.examples(HOURS, raw)
    nameless = [sum(found.rows[place][HOURS.key] is None for place in fold.places)
                for fold in data.folds(found, repeats=1, seed=0)]  # fmt: skip
    assert sum(nameless) == 100
    assert min(nameless) > 0


def test_events_of_repeating_subjects_are_grouped_and_spread() -> None:
    case = dataclasses.replace(ATTRITION, cleaning=dataclasses.replace(ATTRITION.cleaning, unique_key=False))
    raw = [{**row, "EmployeeNumber": f"E{place // 3}"} for place, row in enumerate(case.sample(300, seed=1))]
    found = data.examples(case, raw)
    for fold in data.folds(found, repeats=1, seed=0):
        tested = set(fold.places.tolist())
        names = [row[case.key] for row in found.rows]
        assert not {names[p] for p in tested} & {name for p, name in enumerate(names) if p not in tested}
        assert fold.test_labels.sum() == pytest.approx(found.labels.sum() / 5, abs=4)


def test_a_table_of_one_row_a_subject_repeats_none() -> None:
    assert not data.repeats_subjects(data.examples(ATTRITION, ATTRITION.sample(60, seed=1)))
    once = absences(60)
    assert not data.repeats_subjects(dataclasses.replace(once, rows=[{**row, HOURS.key: None} for row in once.rows]))


def test_in_time_every_fold_is_trained_on_what_came_before_it() -> None:
    random = np.random.default_rng(0)
    found = seen(random.integers(1, 30, 300).tolist())
    folds = days_of(found)
    assert len(folds) == 5  # asked for three times, given once
    assert all(train.max() < test.min() for train, test in folds)
    assert all(before[1].max() < after[1].min() for before, after in pairwise(folds))
    assert all(len(train) + len(test) == len(after[0]) for (train, test), after in pairwise(folds))
    first, last = folds[0], folds[-1]
    assert len(first[0]) == pytest.approx(50, abs=15)
    assert len(last[0]) + len(last[1]) == 300


@pytest.mark.parametrize(("days", "folds"), [([1, 2, 3], 2), ([1, 2, 3, 4], 3)])
def test_few_days_make_as_many_folds_as_can_be_told_apart(days: list[int], folds: int) -> None:
    found = days_of(seen([day for day in days for _ in range(30)]))
    assert [(train.max(), set(test)) for train, test in found] == [(day - 1, {day}) for day in days[1:]]
    assert len(found) == folds


def test_a_few_late_rows_after_many_of_one_day_are_a_fold_a_day() -> None:
    found = seen([1] * 190 + [2] * 5 + [3] * 5)
    splits = data.splits(found, repeats=3, seed=0)
    assert [(len(train), len(test)) for _, (train, test) in splits] == [(190, 5), (195, 5)]


def test_a_fold_without_an_event_is_told_and_not_ranked() -> None:
    found = seen([1] * 50 + [2] * 50 + [3] * 50)
    found.labels[:] = 0
    found.labels[:20] = 1
    with pytest.raises(BadInput, match="a fold has 20 events of 50 rows to learn from and 0 of 50 to try on"):
        list(data.folds(found, repeats=1, seed=0))


def test_in_time_every_row_needs_its_day_and_there_must_be_three() -> None:
    with pytest.raises(BadInput, match="2 rows have no DistanceFromHome; give it to each row"):
        days_of(seen([None, None, *range(1, 28)]))
    with pytest.raises(BadInput, match="DistanceFromHome holds 2 different times; validation in time needs three"):
        days_of(seen([7] * 30 + [8] * 30))


def test_a_search_sees_at_most_a_hundred_thousand_rows_in_their_order() -> None:
    n = data.MOST_SEARCHED + 50
    found = Examples(
        case=ATTRITION,
        rows=[{"place": place} for place in range(n)],
        labels=np.arange(n, dtype=np.float64),
        rejects={},
        quality=quality_report(ATTRITION, []),
    )
    some = data.searched(found, seed=1)
    places = [row["place"] for row in some.rows]
    assert len(places) == data.MOST_SEARCHED
    assert places == sorted(set(places))
    np.testing.assert_array_equal(some.labels, places)
    assert [row["place"] for row in data.searched(found, seed=1).rows] == places
    assert data.searched(some, seed=2) is some


@pytest.mark.requirement("S2-20")
def test_a_planted_leak_is_refused_before_training_unless_that_is_overridden() -> None:
    raw = [{**row, "OverTime": row["Attrition"]} for row in ATTRITION.sample(300, seed=1)]
    with pytest.raises(QualityRefused, match=r"OverTime: alone it tells the label \(ROC-AUC 1\.00"):
        data.examples(ATTRITION, raw)
    found = data.examples(ATTRITION, raw, override="overtime really decides here")
    assert [violation.split(":")[0] for violation in found.quality.violations] == ["OverTime"]
    assert len(found.rows) == 300


def test_a_leak_that_nothing_uses_is_noted_and_refuses_nothing() -> None:
    raw = [{**row, "Exit interview": row["Attrition"]} for row in ATTRITION.sample(300, seed=1)]
    found = data.examples(ATTRITION, [{**raw[0], "OverTime": "?"}, *raw])
    assert found.rejects.keys() == {0}
    assert found.quality.violations == ()
    (note,) = found.quality.notes
    assert note.startswith("Exit interview: alone it tells the label")
    assert note.endswith("it is not in the schema, and not used")


@pytest.mark.requirement("C14")
def test_on_the_made_up_customers_the_documents_floors_are_reached() -> None:
    """With the plainest model, each fold decided on by what the others taught."""
    case = usecases.get("churn")
    held = []
    for fold in data.folds(data.examples(case, case.sample(3000, seed=0)), repeats=1, seed=0):
        fitted = Recipe(algorithm="logistic", params={"C": 0.1}).fit(fold.train, fold.train_labels, fold.levels, seed=0)
        held.append((fold.test_labels, case.task.scores(fitted.margins(fold.test))))
    found = []
    for place, (labels, scores) in enumerate(held):
        others = [one for number, one in enumerate(held) if number != place]
        taught, said = (np.concatenate(parts) for parts in zip(*others, strict=True))
        found.append(performance.measure(case.task, labels, scores, performance.learn_rule(case.task, taught, said)))
    means = {name: told["mean"] for name, told in performance.over_folds(found).items()}
    assert means["recall"] >= 0.80
    assert means["f1"] >= 0.75
    assert means["roc_auc"] >= 0.85

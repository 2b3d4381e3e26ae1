import numpy as np
import pytest

from forewarn import usecases
from forewarn.errors import BadInput, QualityRefused
from forewarn.usecase import UseCase
from training import data


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

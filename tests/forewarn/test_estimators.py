from pathlib import Path

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from forewarn import estimators, scoring
from forewarn.errors import PackageDamaged
from forewarn.estimators import Blend, Estimator
from forewarn.package import ModelPackage
from forewarn.spaces import STARTING_POINTS
from forewarn.tasks import Classification
from forewarn.trees import Trees
from tests.forewarn.test_features import PACKAGES

ROWS = {name: p.prepare(scoring.validate(p.case, p.case.sample(300, seed=7)).values) for name, p in PACKAGES.items()}


def parts(package: ModelPackage) -> list[Estimator]:
    blend = package.estimator
    assert isinstance(blend, Blend)
    return [blend.first, blend.second, blend]


@given(st.data())
def test_a_row_gets_the_same_bits_alone_and_among_others(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(PACKAGES)))
    matrix = ROWS[name]
    start = data.draw(st.integers(0, len(matrix) - 1))
    end = data.draw(st.integers(start + 1, len(matrix)))
    for estimator in parts(PACKAGES[name]):
        np.testing.assert_array_equal(estimator.margins(matrix[start:end]), estimator.margins(matrix)[start:end])


def test_trees_agree_with_xgboosts_own_prediction(package: ModelPackage) -> None:
    matrix = ROWS[package.case.name]
    trees = parts(package)[0]
    assert isinstance(trees, Trees)
    kinds = ["c" if levels else "q" for levels in package.features.levels]
    expected = trees.booster.predict(xgboost.DMatrix(matrix, feature_types=kinds, enable_categorical=True))
    found = trees.margins(matrix)
    found = package.case.task.scores(found) if isinstance(package.case.task, Classification) else found
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("place", [0, 1, 2], ids=["trees", "smooth", "blend"])
def test_what_was_saved_scores_the_same_bits(package: ModelPackage, place: int, tmp_path: Path) -> None:
    estimator, matrix = parts(package)[place], ROWS[package.case.name]
    estimators.save(estimator, tmp_path / "estimator")
    np.testing.assert_array_equal(estimators.load(tmp_path / "estimator").margins(matrix), estimator.margins(matrix))


def test_the_same_seed_fits_the_same_trees(package: ModelPackage) -> None:
    matrix = ROWS[package.case.name]
    labels = (matrix[:, 0] > np.median(matrix[:, 0])).astype(float)
    point = STARTING_POINTS["xgboost"][1]
    one, two = (Trees.fit(matrix, labels, package.features.levels, seed=4, **point) for _ in range(2))
    assert one.booster.save_raw() == two.booster.save_raw()


def test_a_blend_lies_between_its_parts(package: ModelPackage) -> None:
    trees, linear, blend = (estimator.margins(ROWS[package.case.name]) for estimator in parts(package))
    assert (np.minimum(trees, linear) - 1e-9 <= blend).all()
    assert (blend <= np.maximum(trees, linear) + 1e-9).all()


def test_an_algorithm_from_a_later_release_is_named(tmp_path: Path) -> None:
    (tmp_path / "estimator.json").write_text('{"algorithm": "oracle"}')
    with pytest.raises(PackageDamaged, match="oracle"):
        estimators.load(tmp_path)


@pytest.mark.requirement("C16")
@pytest.mark.parametrize("algorithm", ["logistic", "svr", "xgboost", "xgboost_absolute"])
def test_the_unit_of_a_column_changes_nothing_whatever_the_estimator(algorithm: str) -> None:
    """Lines and support vectors standardise by themselves; trees, which only ask for the order, do without."""
    random = np.random.default_rng(0)
    matrix = random.normal(size=(300, 3)).astype(np.float32)
    labels = (matrix[:, 0] + 0.3 * random.normal(size=300) > 0).astype(float)
    other = matrix * np.array([1024, 1, 1], dtype=np.float32)  # exact in binary
    fit, point = estimators.FITTERS[algorithm], STARTING_POINTS[algorithm][0]
    one, two = (fit(given, labels, (0, 0, 0), seed=0, **point).margins(given) for given in (matrix, other))
    np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-6)

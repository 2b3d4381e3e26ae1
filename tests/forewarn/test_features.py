import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn import scoring
from forewarn.errors import PackageDamaged
from forewarn.features import Features
from forewarn.package import ModelPackage
from forewarn.usecase import UseCase
from tests.conftest import CASES, fitted

PACKAGES = {case.name: fitted(case, seed=1) for case in CASES}


@given(st.data())
def test_a_row_gets_the_same_numbers_alone_and_among_others(data: st.DataObject) -> None:
    package = PACKAGES[data.draw(st.sampled_from(sorted(PACKAGES)))]
    rows = scoring.validate(package.case, package.case.sample(40, seed=data.draw(st.integers(0, 99)))).values
    start = data.draw(st.integers(0, 39))
    end = data.draw(st.integers(start + 1, 40))
    whole = package.prepare(rows)
    np.testing.assert_array_equal(package.prepare(rows[start:end]), whole[start:end])


def test_an_empty_row_becomes_medians_and_modes(case: UseCase, package: ModelPackage) -> None:
    nothing = dict.fromkeys(case.row.model_fields)
    values = dict(zip(package.features.names, package.prepare([nothing])[0], strict=True))
    state = package.features.state
    for name, median in state.numbers.items():
        assert values[name] == np.float32(median)
    for name, mode in state.modes.items():
        assert values[name] == state.categories[name].index(mode)


def test_no_number_is_missing_or_infinite(case: UseCase, package: ModelPackage) -> None:
    extremes = [{spec.name: bound if spec.kind == "number" else None for spec in case.fields} for bound in (0, 1, None)]
    rows = [{**row, **{s.name: max(s.low or 1, 1) for s in case.fields if s.kind == "number"}} for row in extremes]
    assert np.isfinite(package.prepare(rows)).all()


def test_a_field_that_never_varies_is_left_out(case: UseCase) -> None:
    rows = scoring.validate(case, case.sample(50, seed=0)).values
    name = next(spec.name for spec in case.inputs if spec.kind == "number" and not spec.required)
    assert name in Features.fit(case, rows).state.numbers
    assert name not in Features.fit(case, [{**row, name: 1} for row in rows]).state.numbers


def test_the_state_survives_json(case: UseCase, package: ModelPackage) -> None:
    again = Features.from_json(case, package.features.to_json())
    assert again.state == package.features.state


def test_a_feature_that_this_release_lost_is_named(case: UseCase, package: ModelPackage) -> None:
    state = package.features.to_json() | {"derived": ["a_feature_of_old"]}
    with pytest.raises(PackageDamaged, match="a_feature_of_old"):
        Features.from_json(case, state)

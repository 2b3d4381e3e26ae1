import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn import scoring, usecases
from forewarn.errors import PackageDamaged, RowRejected
from forewarn.features import Features
from forewarn.package import ModelPackage
from forewarn.usecase import Columns, UseCase, bounded
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
    state = package.features.cleaner.state
    for name, number in state.numbers.items():
        if name not in case.stand_ins:
            assert values[name] == np.float32(number.fill)
    for name, mode in state.modes.items():
        assert values[name] == state.categories[name].index(mode)


def test_no_number_is_missing_or_infinite_at_the_edges_of_what_is_allowed(case: UseCase, package: ModelPackage) -> None:
    nothing = dict.fromkeys(case.row.model_fields)
    numbers = [spec for spec in case.fields if spec.kind == "number"]
    lowest = {spec.name: spec.low if spec.low or not spec.required else 1e-3 for spec in numbers}
    lowest |= {spec.name: 1e-3 for spec in numbers if spec.required}
    highest = {spec.name: spec.high for spec in numbers}
    rows = [{**nothing, **lowest}, {**nothing, **highest}, nothing]
    assert np.isfinite(package.prepare(rows)).all()


def test_a_file_may_lack_or_hold_constant_any_optional_column(case: UseCase) -> None:
    rows = scoring.validate(case, case.sample(50, seed=0)).values
    for spec in case.inputs:
        absent = [{**row, spec.name: None} for row in rows]
        constant = [{**row, spec.name: rows[0][spec.name]} for row in rows]
        assert spec.name not in Features.fit(case, absent).cleaner.state.numbers
        for some in (absent, constant):
            assert np.isfinite(Features.fit(case, some).matrix(rows)).all()


def test_a_file_may_hold_nothing_but_what_is_required(case: UseCase) -> None:
    required = [spec for spec in case.fields if spec.required]
    raw = [{spec.wire: row[spec.wire] for spec in required} for row in case.sample(50, seed=0)]
    features = Features.fit(case, scoring.validate(case, raw).values)
    assert {spec.name for spec in required if spec in case.inputs} <= set(features.names)


def test_the_state_survives_json(case: UseCase, package: ModelPackage) -> None:
    again = Features.from_json(case, package.features.to_json())
    assert again.cleaner.state == package.features.cleaner.state
    assert again.names == package.features.names


def test_a_feature_that_this_release_lost_is_named(case: UseCase, package: ModelPackage) -> None:
    state = package.features.to_json() | {"derived": ["a_feature_of_old"]}
    with pytest.raises(PackageDamaged, match="a_feature_of_old"):
        Features.from_json(case, state)


@pytest.mark.requirement("S2-26")
@pytest.mark.parametrize("value", [np.nan, np.inf, 1.5, -0.1])
def test_a_feature_that_breaks_its_promise_is_named_with_the_row(value: float) -> None:
    @bounded(0, 1)
    def share(rows: Columns) -> Any:
        return np.where(rows["tenure_months"] > 5, value, 0.5)

    case = dataclasses.replace(usecases.get("churn"), features=(share,))
    good = {"tenure_months": 1, "monthly_charges": 5.0, "contract": "One year"}
    rows = scoring.validate(case, [good, {**good, "tenure_months": 9}]).values
    features = Features.fit(case, rows[:1])
    assert features.matrix(rows[:1])[0, features.names.index("share")] == 0.5
    with pytest.raises(RowRejected, match="row 1: the feature share is"):
        features.matrix(rows)

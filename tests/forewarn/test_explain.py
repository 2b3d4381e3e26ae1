import dataclasses
from datetime import UTC, datetime

import numpy as np
import pytest

from forewarn import answering, explain, scoring, usecases
from forewarn.estimators import Blend
from forewarn.features import Features
from forewarn.kernels import Linear
from forewarn.package import ModelPackage
from forewarn.scoring import Scores
from forewarn.tasks import Verdict
from forewarn.usecase import UseCase
from tests.conftest import CASES, fitted

AT = datetime(2026, 11, 22, 10, 30, 15, tzinfo=UTC)


def explained(package: ModelPackage, n: int = 8) -> tuple[scoring.Rows, Scores]:
    rows = scoring.validate(package.case, package.case.sample(n, seed=11))
    return rows, scoring.score(package, rows.values, why=True)


@pytest.mark.requirement("S0-26")
def test_base_and_contributions_add_up_to_the_score(package: ModelPackage) -> None:
    rows, given = explained(package)
    assert given.why
    margins = package.estimator.margins(package.prepare(rows.values))
    np.testing.assert_allclose(given.why.base + given.why.values.sum(axis=1), margins, atol=1e-4)
    told = answering.tell(package.case, rows, given, package.card, at=AT, explained=True)
    for one, margin in zip(told, margins, strict=True):
        why = one["explanation"]
        total = why["base_value"] + sum(one["contribution"] for one in why["contributions"])
        assert total == pytest.approx(margin, abs=1e-4)
        assert why["score"] == pytest.approx(margin, abs=1e-4)


def test_contributions_are_about_raw_fields(package: ModelPackage) -> None:
    _, given = explained(package, 2)
    assert given.why
    assert set(given.why.fields) <= {spec.name for spec in package.case.inputs}
    assert not set(given.why.fields) & set(package.features.derived) - {spec.name for spec in package.case.fields}


def test_each_part_adds_up_by_itself(package: ModelPackage) -> None:
    rows, _ = explained(package, 4)
    matrix = package.prepare(rows.values)
    blend = package.estimator
    assert isinstance(blend, Blend)
    for part in (blend.first, blend.second):
        why = explain._why(part, package.features, rows.values, matrix)
        np.testing.assert_allclose(why.base + why.values.sum(axis=1), part.margins(matrix), atol=1e-4)


def test_a_row_is_explained_alike_alone_and_among_others(package: ModelPackage) -> None:
    rows, given = explained(package, 4)
    alone = scoring.score(package, rows.values[2:3], why=True)
    assert given.why
    assert alone.why
    np.testing.assert_allclose(alone.why.values[0], given.why.values[2], atol=1e-6)


def test_exact_contributions_have_no_error_and_sampled_ones_a_small_one(package: ModelPackage) -> None:
    _, given = explained(package, 4)
    assert given.why
    if "sampled" in given.why.method:
        largest = np.abs(given.why.values).max()
        assert 0 < given.why.errors.max() < 0.1 * largest
    else:
        assert (given.why.errors == 0).all()


@pytest.mark.parametrize("case", [one for one in CASES if "logistic" in one.task.algorithms], ids=lambda c: c.name)
def test_what_is_sampled_meets_what_is_exact(case: UseCase) -> None:
    """A linear model has one Shapley value a field, whatever the method, where no feature mixes or bends fields."""
    package = fitted(dataclasses.replace(case, features=()), seed=1)
    linear, features = package.estimator.second, package.features  # type: ignore[attr-defined]
    assert isinstance(linear, Linear)
    rows, _ = explained(package, 3)
    exact = explain._why(linear, features, rows.values, package.prepare(rows.values))
    sampled = explain._sampled(linear, features, rows.values)
    typical = features.matrix_of({name: features.cleaner.typical[name] for name in exact.fields})
    offset = explain._folded(linear, features, typical).values
    np.testing.assert_allclose(sampled.values, exact.values - offset, atol=1e-6)


def test_what_is_sensitive_is_not_repeated() -> None:
    case = usecases.get("absenteeism")
    package = fitted(case, seed=1)
    rows = scoring.validate(case, [case.examples[0].row])
    given = scoring.score(package, rows.values, why=True)
    (told,) = answering.tell(case, rows, given, package.card, at=AT, explained=True)
    values = {c["field"]: c["value"] for c in told["explanation"]["contributions"]}
    assert values["Body mass index"] is None
    assert values["Age"] == 35
    assert "25.5" not in " ".join(told["reasons"])


def test_reasons_name_the_largest_contributions_and_their_direction(package: ModelPackage) -> None:
    rows, given = explained(package)
    for told in answering.tell(package.case, rows, given, package.card, at=AT, explained=True):
        largest = told["explanation"]["contributions"][0]
        assert told["reasons"][0].startswith(largest["field"])
        assert (" raises " if largest["contribution"] > 0 else " lowers ") in told["reasons"][0]


def test_a_recommendation_fits_the_risk(package: ModelPackage) -> None:
    case = package.case
    rows, given = explained(package, 60)
    advice = {one.says for one in case.advice} | {case.alarm}
    decisions = scoring.decide(case, given)
    told = answering.tell(case, rows, given, package.card, at=AT)
    for decision, one in zip(decisions, told, strict=True):
        if isinstance(decision, Verdict):
            assert (one["recommendation"] == case.calm) == (decision.risk_level == "low")
        assert one["recommendation"] in advice | {case.calm}
    assert len({one["recommendation"] for one in told}) > 1


@pytest.mark.requirement("C20")
def test_only_what_the_version_uses_is_called_imputed() -> None:
    """A field that its training file never held is no part of a version, whatever the schema knows."""
    case = usecases.get("churn")
    raw = [{**row, "support_calls": None} for row in case.sample(300, seed=1)]
    features = Features.fit(case, scoring.validate(case, raw).values)
    package = dataclasses.replace(fitted(case, seed=1), metadata={"fields": list(features.fields)})
    rows = scoring.validate(case, [{"tenure_months": 3, "monthly_charges": 20.0, "contract": "One year"}])
    (told,) = answering.tell(case, rows, scoring.score(package, rows.values, why=True), package.card, at=AT)
    assert "payment_method" in told["features_imputed"]
    assert "support_calls" not in told["features_imputed"]

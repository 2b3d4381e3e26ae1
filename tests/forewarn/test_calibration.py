import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from forewarn import calibration, explain, scoring
from forewarn.calibration import METHODS, NONE, Calibration
from forewarn.estimators import Blend, Calibrated
from forewarn.package import ModelPackage
from forewarn.tasks import Classification, Vector
from tests.conftest import CASES, fitted

EVENTS = [case for case in CASES if isinstance(case.task, Classification)]
PACKAGE = fitted(EVENTS[0], seed=1)


def drawn(n: int, *, seed: int) -> tuple[Vector, Vector]:
    """Labels, and the log-odds by which they came true."""
    random = np.random.default_rng(seed)
    true = random.normal(-1, 1.5, n)
    return (random.random(n) < expit(true)).astype(float), true


def folds(n: int, *, seed: int, boast: float = 1.0) -> list[tuple[Vector, Vector]]:
    labels, true = drawn(n, seed=seed)
    return list(zip(np.split(labels, 5), np.split(boast * true, 5), strict=True))


def learned(method: str, *, boast: float = 2.5, shift: float = 0.8) -> Calibration:
    labels, true = drawn(5000, seed=1)
    return Calibration.fit(method, labels, boast * true + shift)


@pytest.mark.parametrize(("method", "near"), [("platt", 0.001), ("isotonic", 0.01)])
def test_a_model_that_boasts_is_brought_back_to_what_comes_true(method: str, near: float) -> None:
    found = learned(method)
    labels, true = drawn(20_000, seed=2)
    truth = calibration.log_loss(labels, true)
    assert calibration.log_loss(labels, 2.5 * true + 0.8) > truth + 0.1
    assert calibration.log_loss(labels, found(2.5 * true + 0.8)) < truth + near


def test_platt_finds_the_scale_and_the_shift() -> None:
    np.testing.assert_allclose(learned("platt")(np.array([0.8, 3.3, 800.8])), [0, 1, 320], rtol=0.1, atol=0.1)


def test_a_model_that_ranks_upside_down_is_not_turned_round() -> None:
    labels, true = drawn(1000, seed=1)
    assert Calibration.fit("platt", labels, -true) == NONE


@settings(deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=2))
def test_isotonic_never_falls_and_is_never_certain(margins: list[float]) -> None:
    found = learned("isotonic")(np.sort(margins))
    assert (np.diff(found) >= 0).all()
    assert (expit(found) >= calibration.SUREST - 1e-9).all()
    assert (expit(found) <= 1 - calibration.SUREST + 1e-9).all()


def test_no_calibration_changes_no_bit() -> None:
    labels, margins = drawn(1000, seed=1)
    np.testing.assert_array_equal(Calibration.fit("none", labels, margins)(margins), margins)


def test_a_method_that_there_is_not_is_named() -> None:
    with pytest.raises(KeyError, match="beta"):
        Calibration.fit("beta", np.zeros(2), np.zeros(2))


def test_log_loss_is_that_of_the_probabilities_and_finite_where_they_round_to_one() -> None:
    assert calibration.log_loss(np.array([1.0, 0.0]), np.array([np.log(3), 0.0])) == pytest.approx(
        -(np.log(0.75) + np.log(0.5)) / 2
    )
    assert calibration.log_loss(np.array([0.0]), np.array([1000.0])) == 1000.0


def test_what_is_calibrated_already_is_mostly_left_alone_and_never_bent() -> None:
    """Held-out losses are noisy; where Platt is chosen all the same, it changes next to nothing."""
    found = [calibration.losses(folds(1500, seed=seed)) for seed in range(20)]
    ways = [calibration.chosen(one) for one in found]
    assert ways.count("none") >= 15
    assert ways.count("isotonic") == 0
    assert all(one["none"] - min(one.values()) < 0.0025 for one in found)


def test_what_boasts_is_never_left_alone() -> None:
    found = [calibration.losses(folds(3000, seed=seed, boast=2.5)) for seed in range(5)]
    assert {calibration.chosen(one) for one in found} == {"platt"}


def test_of_equal_losses_the_simplest_method_is_chosen() -> None:
    assert calibration.chosen(dict.fromkeys(METHODS, 0.5)) == "none"
    assert calibration.chosen({"none": 0.5, "platt": 0.4, "isotonic": 0.4}) == "platt"


def test_one_fold_alone_teaches_no_calibration() -> None:
    labels, true = drawn(500, seed=1)
    found = calibration.losses([(labels, 5 * true)])
    assert found == dict.fromkeys(METHODS, calibration.log_loss(labels, 5 * true))
    assert calibration.chosen(found) == "none"


@pytest.mark.parametrize("method", METHODS)
def test_what_is_read_back_from_json_gives_the_same_bits(method: str) -> None:
    found = learned(method)
    again = Calibration.from_json(json.loads(json.dumps(found.to_json())))
    assert again == found
    _, margins = drawn(1000, seed=3)
    np.testing.assert_array_equal(again(margins), found(margins))


@pytest.mark.parametrize("method", METHODS)
def test_a_row_gets_the_same_bits_alone_and_among_a_thousand(method: str) -> None:
    found, margins = learned(method), drawn(1000, seed=3)[1] * 4
    alone = [found(margins[place : place + 1])[0] for place in range(len(margins))]
    np.testing.assert_array_equal(found(margins), alone)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_calibrated_package_scores_the_same_bits_once_loaded(method: str, tmp_path: Path) -> None:
    package = replace(PACKAGE, estimator=Calibrated(inner=PACKAGE.estimator, calibration=learned(method)))
    rows = scoring.validate(package.case, package.case.sample(200, seed=9)).values
    loaded = ModelPackage.load(package.case, package.save(tmp_path / "package"))
    np.testing.assert_array_equal(scoring.score(loaded, rows).values, scoring.score(package, rows).values)
    assert not np.array_equal(scoring.score(loaded, rows).values, scoring.score(PACKAGE, rows).values)


@pytest.mark.requirement("S0-26")
@settings(deadline=None, max_examples=40)
@given(
    method=st.sampled_from(["platt", "isotonic"]),
    boast=st.floats(0.2, 5),
    shift=st.floats(-3, 3),
    seed=st.integers(0, 99),
)
def test_calibrated_contributions_add_up_and_keep_their_shares(
    method: str, boast: float, shift: float, seed: int
) -> None:
    package, calibrated = PACKAGE, learned(method, boast=boast, shift=shift)
    rows = scoring.validate(package.case, package.case.sample(20, seed=seed)).values
    matrix = package.prepare(rows)
    estimator = Calibrated(inner=package.estimator, calibration=calibrated)
    plain = explain._why(package.estimator, package.features, rows, matrix)
    why = explain._why(estimator, package.features, rows, matrix)
    np.testing.assert_allclose(
        why.base + why.values.sum(axis=1), estimator.margins(matrix), atol=1e-4 * max(1, 1 / boast)
    )
    np.testing.assert_allclose(
        why.values * plain.values.sum(axis=1, keepdims=True), plain.values * why.values.sum(axis=1, keepdims=True),
        atol=1e-6,
    )  # fmt: skip


def test_calibration_makes_no_explanation_slow() -> None:
    blend = PACKAGE.estimator
    assert isinstance(blend, Blend)
    assert not explain.is_slow(Calibrated(inner=blend, calibration=NONE))

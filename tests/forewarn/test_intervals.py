import numpy as np
import pytest
from scipy.stats import t as student

from forewarn import intervals
from forewarn.tasks import Classification, Regression, Vector

EVENT = Classification(event="Yes")
HOURS = Regression(unit="hours", low=0)
RULE = {"threshold": 0.5}
REACH = {"below": 1.0, "above": 1.0}


def drawn(n: int, *, seed: int) -> tuple[Vector, Vector]:
    random = np.random.default_rng(seed)
    scores = random.uniform(0, 1, n)
    return (random.random(n) < scores).astype(float), scores


def test_the_corrected_interval_of_a_worked_example() -> None:
    """Gains 1 to 5: mean 3, s² 2.5; (1/5 + 1/4) × 2.5 is 1.0607²; t of 4 degrees of freedom at 95 % is 2.1318."""
    found = intervals.compare("v1", "roc_auc", [1, 2, 3, 4, 5], test_share=0.25)
    assert (found.against, found.metric, found.gain) == ("v1", "roc_auc", 3.0)
    assert (found.low, found.high) == pytest.approx((3 - 2.1318 * 1.0607, 3 + 2.1318 * 1.0607), abs=1e-3)
    assert found.p == pytest.approx(0.0474, abs=1e-3)


def test_the_corrected_interval_is_wider_than_the_plain_one() -> None:
    gains = np.random.default_rng(0).normal(0.01, 0.02, 25)
    found = intervals.compare("v1", "roc_auc", gains.tolist(), test_share=0.25)
    plain = float(student.ppf(0.95, 24)) * gains.std(ddof=1) / 5
    assert found.high - found.gain == pytest.approx(plain * np.sqrt(1 + 25 * 0.25))
    assert found.low == pytest.approx(2 * found.gain - found.high)


def test_a_model_is_no_better_than_itself() -> None:
    found = intervals.compare("v1", "roc_auc", [0.0] * 10, test_share=0.25)
    assert (found.gain, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_the_same_gain_on_every_fold_leaves_no_doubt() -> None:
    found = intervals.compare("v1", "roc_auc", [0.25] * 10, test_share=0.25)
    assert (found.gain, found.low, found.high, found.p) == (0.25, 0.25, 0.25, 0)


def test_one_fold_alone_proves_nothing() -> None:
    found = intervals.compare("v1", "roc_auc", [0.3], test_share=0.25)
    assert (found.gain, found.low, found.high, found.p) == (0.3, -np.inf, np.inf, 1)


def test_an_interval_holds_its_figure_and_every_metric_has_one() -> None:
    found = intervals.bootstrap(EVENT, *drawn(400, seed=1), RULE, seed=0)
    assert {"roc_auc", "pr_auc", "f1", "recall", "brier", "log_loss", "ece"} <= found.keys()
    assert all(found[name].low < found[name].value < found[name].high for name in ("roc_auc", "f1", "brier", "recall"))


@pytest.mark.parametrize("rows", [400, 80_000])
def test_an_interval_is_as_wide_as_a_means_uncertainty(rows: int) -> None:
    """Also where resamples do not grow: of 80,000 rows 20,000 are drawn."""
    scores = np.full(rows, 5.0)
    labels = scores + np.random.default_rng(0).normal(0, 1, rows)
    found = intervals.bootstrap(HOURS, labels, scores, REACH, seed=0)["mae"]
    wanted = 2 * 1.96 * np.abs(labels - scores).std() / np.sqrt(rows)
    assert found.high - found.low == pytest.approx(wanted, rel=0.2)


def test_the_same_seed_gives_the_same_interval() -> None:
    labels, scores = drawn(200, seed=1)
    one, again, other = (intervals.bootstrap(HOURS, labels, scores, REACH, seed=seed) for seed in (3, 3, 4))
    assert one == again
    assert one["mae"] != other["mae"]


def test_resamples_without_an_event_are_left_out() -> None:
    labels, scores = np.array([1.0, *[0.0] * 11]), np.linspace(0.9, 0.1, 12)
    found = intervals.bootstrap(EVENT, labels, scores, RULE, seed=0)["roc_auc"]
    assert (found.low, found.value, found.high) == (1, 1, 1)

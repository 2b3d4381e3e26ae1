"""How sure a figure is: bootstrap intervals over rows, and paired comparisons over cross-validation folds."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from forewarn import performance
from forewarn.errors import BadInput
from forewarn.evidence import Comparison, Estimate
from forewarn.tasks import Rule, Task, Vector

RESAMPLES = 200
CONFIDENCE = 0.95
# Of a paired gain: one-sided 95 %, which is what a gate asks.
GAIN_CONFIDENCE = 0.90
# A resample of more rows takes seconds, and its interval is narrower than anybody reads.
MOST_ROWS = 20_000


def bootstrap(task: Task, labels: Vector, scores: Vector, rule: Rule, *, seed: int) -> dict[str, Estimate]:
    """Every metric on these rows, with its percentile interval over resampled rows (Efron & Tibshirani 1993).

    Above 20,000 rows resamples have 20,000, and the interval is narrowed by the square root of the ratio.
    """
    value = performance.measure(task, labels, scores, rule)
    random = np.random.default_rng(seed)
    size = min(len(labels), MOST_ROWS)
    draws = list(_draws(lambda places: performance.measure(task, labels[places], scores[places], rule),
                        len(labels), size, random))  # fmt: skip
    narrowed = float(np.sqrt(size / len(labels)))
    return {name: _estimate(found, np.array([draw[name] for draw in draws]), narrowed) for name, found in value.items()}


def compare(against: str, metric: str, gains: Sequence[float], *, test_share: float) -> Comparison:
    """The mean paired gain over folds with the corrected resampled t-test's interval (Nadeau & Bengio 2003).

    Folds share most of their training rows, so their plain standard error is too small: the variance of the mean is
    (1/J + n_test/n_train) s² with J - 1 degrees of freedom.

    Args:
        gains: per fold, by how much the candidate is better.
        test_share: n_test / n_train of a fold.
    """
    found = np.array(gains, dtype=np.float64)
    mean, count = float(found.mean()), len(found)
    error = float(np.sqrt((1 / count + test_share) * found.var(ddof=1))) if count > 1 else float("inf")
    reach = error * float(student.ppf((1 + GAIN_CONFIDENCE) / 2, max(count - 1, 1)))
    p = float(mean == 0) if error == 0 else float(2 * student.sf(abs(mean) / error, max(count - 1, 1)))
    return Comparison(against=against, metric=metric, gain=mean, low=mean - reach, high=mean + reach, p=p)


def _draws(
    measure: Callable[[NDArray[np.int_]], dict[str, float]], rows: int, size: int, random: np.random.Generator
) -> "list[dict[str, float]]":
    found = []
    for _ in range(RESAMPLES):
        try:
            found.append(measure(random.integers(0, rows, size)))
        except BadInput:  # a resample without a single event ranks nothing
            continue
    return found


def _estimate(value: float, draws: Vector, narrowed: float) -> Estimate:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, (tail, 1 - tail)) if len(draws) else (value, value)
    ends = [value + (float(end) - value) * narrowed for end in (low, high)]
    # A resample repeats rows, which biases the calibration error upwards: its interval may miss the value itself.
    return Estimate(value=value, low=min(ends[0], value), high=max(ends[1], value))

"""A test that may be looked at as often as one likes: its error holds over all looks together, not at each.

Mixture sequential probability ratio test of a difference of means (Robbins 1970; Johari, Pekelis & Walsh 2017, "Always
valid inference"): the difference divided by its standard deviation is near enough a Brownian motion in 1 / variance.
The alternative is mixed over a half-normal distribution, for only one direction is worse. Checked by simulation in
benchmarks/sequential.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import erf, exp, inf, log, sqrt

import numpy as np

from forewarn.tasks import Vector

# Beyond it exp overflows, and the evidence is overwhelming anyway.
LARGEST_LOG = 700.0


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An estimate that is positive where the challenger does worse.

    Attributes:
        mean, variance: of the estimate.
        rows: of the challenger that it rests on.
    """

    mean: float
    variance: float
    rows: int


def of_shares(challenger: tuple[int, int], champion: tuple[int, int]) -> Difference:
    """Of two shares, each a count and of how many. Half a success is added to each, so that none has no variance
    (Agresti & Caffo 2000, with one added row instead of two).
    """
    (one, rows), (other, others) = challenger, champion
    return Difference(
        mean=_share(one, rows) - _share(other, others),
        variance=_variance(one, rows) + _variance(other, others),
        rows=rows,
    )


def of_means(challenger: Vector, champion: Vector) -> Difference:
    """Of the means of two groups of rows, each of at least two."""
    variance = float(challenger.var(ddof=1) / len(challenger) + champion.var(ddof=1) / len(champion))
    return Difference(mean=float(challenger.mean() - champion.mean()), variance=variance, rows=len(challenger))


def of_pairs(worse: Vector) -> Difference:
    """Of rows of which both versions have said something: by how much the challenger is worse on each.

    As with shares half a row is added in each direction, so that rows which are all alike are not taken for certain.
    """
    n = len(worse)
    mean = float(worse.sum()) / (n + 1)
    spread = float(np.square(worse - mean).sum()) + 0.5 * float(np.square(worse).max(initial=0.0))
    return Difference(mean=mean, variance=max(spread, 1e-12) / (n + 1) ** 2, rows=n)


def e_value(found: Difference, *, tolerance: float, scale: float) -> float:
    """The evidence that the difference is beyond the tolerance: where it is not, it exceeds 1 / alpha with chance
    alpha at most, whenever one looks. `scale` is the size of a difference that one would want to see.
    """
    mean, variance, tau2 = found.mean - tolerance, found.variance, scale**2
    if variance <= 0:
        return inf if mean > 0 else 0.0
    told = tau2 * mean**2 / (2 * variance * (variance + tau2)) + 0.5 * log(variance / (variance + tau2))
    z = mean * scale / sqrt(variance * (variance + tau2))
    return 2 * _normal(z) * exp(min(told, LARGEST_LOG))


def interval(found: Difference, *, scale: float, alpha: float) -> tuple[float, float]:
    """Holds the difference at every look with chance 1 - alpha at least: the two-sided test turned around."""
    variance, tau2 = found.variance, scale**2
    reach = sqrt(variance * (variance + tau2) / tau2 * (log((variance + tau2) / variance) - 2 * log(alpha)))
    return found.mean - reach, found.mean + reach


def wilson(count: int, rows: int, *, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); all from 0 to 1 where there are no rows."""
    if not rows:
        return 0.0, 1.0
    share = count / rows
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    reach = z * sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def mean_interval(values: Sequence[float] | Vector, *, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a mean, by the normal approximation."""
    told = np.asarray(values, dtype=float)
    reach = z * float(told.std(ddof=1)) / sqrt(len(told)) if len(told) > 1 else inf
    return float(told.mean()) - reach, float(told.mean()) + reach


def _share(count: int, rows: int) -> float:
    return (count + 0.5) / (rows + 1)


def _variance(count: int, rows: int) -> float:
    share = _share(count, rows)
    return share * (1 - share) / (rows + 1)


def _normal(z: float) -> float:
    return 0.5 * (1 + erf(z / sqrt(2)))

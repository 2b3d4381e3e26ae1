"""Directional tests: does the score move the way that people who know the subject say it must?"""

from collections.abc import Callable, Sequence

import numpy as np

from forewarn.evidence import Direction
from forewarn.fields import Row
from forewarn.policy import Expectation
from forewarn.tasks import Vector
from forewarn.usecase import UseCase

Score = Callable[[Sequence[Row]], Vector]

# Each test scores the rows twice; the mean of 2000 is known to a hundredth of what scores scatter by, or better.
MOST_ROWS = 2000
# Models compute in float32, which is right to 6e-8 of a sum; a mean of many such sums is well within 1e-6.
TOLERANCE = 1e-6


def directions(case: UseCase, rows: Sequence[Row], score: Score, *, seed: int = 0) -> list[Direction]:
    """What became of each test that the use case declares.

    Everybody's field is set to `low`, then to `high`, all else left as it is. The effect is the change of the mean
    score, in the score's unit, and may fall by no more than what arithmetic loses.

    Args:
        score: validated rows to scores, shape (n,).
    """
    few = _some(rows, np.random.default_rng(seed))
    return [_direction(case, expected, few, score) for expected in case.expects]


def sentence(direction: Direction) -> str:
    """What a person reads of it."""
    moved = f"{direction.field} from {direction.low} to {direction.high}"
    if direction.passed:
        return f"{moved}: the mean score rises by {max(direction.effect, 0.0):.3g}; it must not fall"
    return f"{moved}: the mean score falls by {-direction.effect:.3g}; it must not fall"


def _some(rows: Sequence[Row], random: np.random.Generator) -> list[Row]:
    if len(rows) <= MOST_ROWS:
        return list(rows)
    return [rows[place] for place in np.sort(random.choice(len(rows), MOST_ROWS, replace=False))]


def _direction(case: UseCase, expected: Expectation, rows: Sequence[Row], score: Score) -> Direction:
    low, high = (_mean(score, rows, expected.field, value) for value in (expected.low, expected.high))
    return Direction(
        field=case.spec[expected.field].wire,
        low=expected.low,
        high=expected.high,
        effect=high - low,
        passed=high - low >= -TOLERANCE * max(1.0, abs(low)),
    )


def _mean(score: Score, rows: Sequence[Row], field: str, value: object) -> float:
    return float(np.mean(score([{**row, field: value} for row in rows])))

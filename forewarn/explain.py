"""Why a row got its score: what each of its raw fields added, and that in words.

Trees and linear models give exact contributions per column (TreeSHAP; weight times distance from the mean). A feature
derived from several fields shares its contribution equally among them, so the sums stay exact. What has no such
form, a kernel machine, is sampled: Shapley values over random orderings of the fields (Štrumbelj & Kononenko 2014),
each from the typical row to this one; they add up exactly too, and each comes with its standard error.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forewarn.answers import Contribution, Explanation
from forewarn.calibration import Calibration
from forewarn.estimators import Additive, Blend, Calibrated, Estimator
from forewarn.features import Features, Matrix
from forewarn.fields import FieldSpec, Row
from forewarn.package import ModelPackage
from forewarn.tasks import Decision, Vector
from forewarn.usecase import Columns, UseCase

# Each ordering is walked forwards and backwards, which halves the variance of additive parts to nothing.
ORDERINGS = 12
SAMPLED = f"Shapley values sampled over {2 * ORDERINGS} orderings against the typical row"
TOLD_REASONS = 3


@dataclass(frozen=True, kw_only=True)
class Why:
    """Contributions of a group of rows, in the unit of the margin.

    Attributes:
        fields: the raw fields, by Python name.
        values, errors: what each field added, and its standard error; shape (n, fields).
        base: what all rows share; base + values.sum(axis=1) is the margin. Shape (n,).
    """

    fields: tuple[str, ...]
    values: Vector
    errors: Vector
    base: Vector
    method: str

    def part(self, start: int, end: int) -> "Why":
        """Those of the rows from start to end."""
        return Why(
            fields=self.fields,
            values=self.values[start:end],
            errors=self.errors[start:end],
            base=self.base[start:end],
            method=self.method,
        )

    def blended(self, other: "Why", share: float) -> "Why":
        """share × this one + (1 - share) × the other, of the same fields."""
        rest = 1.0 - share
        return Why(
            fields=self.fields,
            values=share * self.values + rest * other.values,
            errors=np.hypot(share * self.errors, rest * other.errors),
            base=share * self.base + rest * other.base,
            method=f"{share:.0%} {self.method} + {rest:.0%} {other.method}",
        )

    def calibrated(self, calibration: Calibration) -> "Why":
        """The same, stretched so that it adds up to the calibrated margin: each row by one factor of its own, which
        keeps the fields' shares.
        """
        moved = self.values.sum(axis=1)
        base = calibration(self.base)
        there = np.where(np.abs(moved) > 1e-12, moved, 1.0)
        stretch = ((calibration(self.base + moved) - base) / there)[:, None]
        return replace(self, values=self.values * stretch, errors=self.errors * np.abs(stretch), base=base)


def contributions(package: ModelPackage, rows: Sequence[Row], matrix: Matrix) -> Why:
    """What each raw field of each row added to its margin. `matrix` is what the package made of the rows."""
    return _why(package.estimator, package.features, rows, matrix)


def is_slow(estimator: Estimator) -> bool:
    """Whether its contributions are sampled, which takes milliseconds a row and not microseconds."""
    if isinstance(estimator, Calibrated):
        return is_slow(estimator.inner)
    if isinstance(estimator, Blend):
        return is_slow(estimator.first) or is_slow(estimator.second)
    return not isinstance(estimator, Additive)


def explanation(case: UseCase, why: Why, index: int, row: Row) -> Explanation:
    """One row's contributions, the largest first, as the answer shows them."""
    order = np.argsort(-np.abs(why.values[index]), kind="stable")
    return Explanation(
        scale=case.task.margin_unit,
        method=why.method,
        base_value=float(why.base[index]),
        score=float(why.base[index] + why.values[index].sum()),
        contributions=[
            Contribution(
                field=case.spec[why.fields[place]].wire,
                value=None if why.fields[place] in case.untold else row[why.fields[place]],
                contribution=float(why.values[index, place]),
                error=float(why.errors[index, place]),
            )
            for place in order
        ],
    )


def reasons(case: UseCase, why: Why, index: int, row: Row) -> list[str]:
    """The three fields that moved the score most, each in a sentence."""
    order = np.argsort(-np.abs(why.values[index]), kind="stable")[:TOLD_REASONS]
    return [
        _sentence(case, case.spec[why.fields[place]], row, float(why.values[index, place]))
        for place in order
        if why.values[index, place] != 0
    ]


def recommendation(case: UseCase, decision: Decision, why: Why, index: int) -> str:
    """The advice on the field that speaks most for the event, among those that there is advice on."""
    if case.task.is_calm(decision, float(why.base[index])):
        return case.calm
    added = dict(zip(why.fields, why.values[index], strict=True))
    fitting = [advice for advice in case.advice if added.get(advice.field, 0.0) > 0]
    return max(fitting, key=lambda advice: added[advice.field]).says if fitting else case.alarm


def _why(estimator: Estimator, features: Features, rows: Sequence[Row], matrix: Matrix) -> Why:
    if isinstance(estimator, Calibrated):
        return _why(estimator.inner, features, rows, matrix).calibrated(estimator.calibration)
    if isinstance(estimator, Blend):
        first = _why(estimator.first, features, rows, matrix)
        return first.blended(_why(estimator.second, features, rows, matrix), estimator.first_share)
    if isinstance(estimator, Additive):
        return _folded(estimator, features, matrix)
    return _sampled(estimator, features, rows)


def _folded(estimator: Additive, features: Features, matrix: Matrix) -> Why:
    fields = (*features.cleaner.numbers, *features.cleaner.state.categories)
    place = {name: i for i, name in enumerate(fields)}
    share = np.zeros((len(features.names), len(fields)))
    for column, sources in enumerate(features.sources):
        share[column, [place[name] for name in sources]] = 1.0 / len(sources)
    found = estimator.contributions(matrix)
    values = (found[:, :-1, None] * share).sum(axis=1)  # not `@`: a row must get the same bits whatever comes with it
    return Why(
        fields=fields, values=values, errors=np.zeros_like(values), base=found[:, -1], method=estimator.exactness
    )


def _sampled(estimator: Estimator, features: Features, rows: Sequence[Row]) -> Why:
    fields = (*features.cleaner.numbers, *features.cleaner.state.categories)
    typical = {name: features.cleaner.typical[name] for name in fields}
    base = float(estimator.margins(features.matrix_of(typical))[0])
    walks = [_walks(estimator, features, typical, features.cleaner.columns([row])) for row in rows]
    values = np.array([halves.mean(axis=0) for halves in walks])
    errors = np.array([halves.std(axis=0, ddof=1) / np.sqrt(len(halves)) for halves in walks])
    return Why(fields=fields, values=values, errors=errors, base=np.full(len(rows), base), method=SAMPLED)


def _walks(estimator: Estimator, features: Features, typical: Columns, own: Columns) -> Vector:
    """What each field adds along each ordering, forwards and backwards averaged: shape (ORDERINGS, fields)."""
    random = np.random.default_rng(0)
    moved = np.array([place for place, name in enumerate(typical) if own[name][0] != typical[name][0]], dtype=int)
    forwards = [random.permutation(moved) for _ in range(ORDERINGS)]
    orders = [order for forward in forwards for order in (forward, forward[::-1])]
    taken = _taken(orders, len(typical))
    steps = {name: np.where(taken[:, place], own[name], typical[name]) for place, name in enumerate(typical)}
    margins = estimator.margins(features.matrix_of(steps)).reshape(len(orders), len(moved) + 1)
    added = np.zeros((len(orders), len(typical)))
    for walk, order in enumerate(orders):
        added[walk, order] = np.diff(margins[walk])
    halves: Vector = added.reshape(ORDERINGS, 2, len(typical)).mean(axis=1)
    return halves


def _taken(orders: list[NDArray[np.int_]], fields: int) -> NDArray[np.bool_]:
    """Which fields a step has as the row has them: along each ordering from none of them to all."""
    taken = np.zeros((len(orders), len(orders[0]) + 1, fields), dtype=bool)
    for walk, order in enumerate(orders):
        for step, place in enumerate(order, start=1):
            taken[walk, step:, place] = True
    return taken.reshape(-1, fields)


def _sentence(case: UseCase, spec: FieldSpec, row: Row, added: float) -> str:
    return f"{_holding(case, spec, row)} {'raises' if added > 0 else 'lowers'} {case.task.moved(abs(added))}"


def _holding(case: UseCase, spec: FieldSpec, row: Row) -> str:
    value = row[spec.name]
    if value is None:
        return f"{spec.wire} (not sent)"
    if spec.name in case.untold:
        return spec.wire
    return f"{spec.wire} = {value:g}" if isinstance(value, float) else f"{spec.wire} = {value}"

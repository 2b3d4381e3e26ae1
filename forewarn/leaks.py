"""Which column gives the label away: known only afterwards, or a copy of it. Looked for before training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from forewarn.fields import Row
from forewarn.tasks import Classification, Task, Vector
from forewarn.usecase import UseCase

# The strongest honest field of the public sets reaches 0.74 alone; a copy with 1 % of its labels wrong about 0.99.
TOO_GOOD = 0.98
# With fewer rows (of either kind, for events), one of forty columns may tell the labels apart by chance.
MIN_ROWS = 40
MIN_EVENTS = 10
# Bins of 2 % of the rows each blur a threshold within a number by less than 0.01.
MOST_BINS = 50

Codes = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class _Halves:
    """Labels, and which half each row is in; both halves have alike labels."""

    task: Task
    labels: Vector
    second: NDArray[np.bool_]


def leaks(case: UseCase, rows: Sequence[Row], labels: Vector, *, seed: int = 0) -> list[str]:
    """A sentence for each field that a model may learn from and that alone tells the label.

    A column is replaced by the mean label of its levels (missing is one, numbers are binned), learned on one half of
    the rows and applied to the other. It leaks if that ranks the labels nearly perfectly: ROC-AUC for events,
    Spearman's rank correlation for amounts. Sentences hold names and figures, no values.

    Args:
        labels: shape (len(rows),).
    """
    fields = {spec.wire: [row[spec.name] for row in rows] for spec in case.inputs}
    advice = f"it is probably known only afterwards, or a copy of {case.target}; leave it out"
    return _leaking(case, fields, labels, advice, seed)


def bystanders(case: UseCase, raw: Sequence[Mapping[str, Any]], labels: Vector, *, seed: int = 0) -> list[str]:
    """A sentence for each further column of the source that alone tells the label: harmless, since nothing uses it.

    Args:
        raw: the source's own rows, in the order of `labels`.
    """
    names = dict.fromkeys(name for row in raw for name in row)
    further = {name: [row.get(name) for row in raw] for name in names if _is_further(case, name)}
    return _leaking(case, further, labels, "it is not in the schema, and not used", seed)


def _leaking(case: UseCase, columns: Mapping[str, list[Any]], labels: Vector, advice: str, seed: int) -> list[str]:
    if not _can_tell(case.task, labels):
        return []
    return _told(columns, _halves(case.task, labels, np.random.default_rng(seed)), advice)


def _can_tell(task: Task, labels: Vector) -> bool:
    if isinstance(task, Classification):
        return bool(MIN_EVENTS <= labels.sum() <= len(labels) - MIN_EVENTS)
    return len(labels) >= MIN_ROWS


def _halves(task: Task, labels: Vector, random: np.random.Generator) -> _Halves:
    """Of every two rows that are neighbours by label, one goes into each half."""
    order = np.lexsort([random.random(len(labels)), labels])
    second = np.zeros(len(labels), dtype=np.bool_)
    second[order[1::2]] = True
    return _Halves(task=task, labels=labels, second=second)


def _is_further(case: UseCase, name: str) -> bool:
    return name != case.target and name not in case.by_alias


def _told(columns: Mapping[str, list[Any]], halves: _Halves, advice: str) -> list[str]:
    measure = "ROC-AUC" if isinstance(halves.task, Classification) else "rank correlation"
    found = {name: _strength(_codes(values), halves) for name, values in columns.items()}
    return [
        f"{name}: alone it tells the label ({measure} {strength:.2f} on held-out rows); {advice}"
        for name, strength in found.items()
        if strength >= TOO_GOOD
    ]


def _codes(values: list[Any]) -> Codes | None:
    """Levels as 0, 1, …; missing as 0. None for what names each row, of which nothing can be learned."""
    missing = np.fromiter((_is_missing(value) for value in values), dtype=np.bool_, count=len(values))
    numbers = _numbers(values)
    if numbers is not None:
        return np.where(missing, 0, 1 + _bins(numbers))
    known: dict[str, int] = {}
    texts = ("" if gone else str(value) for value, gone in zip(values, missing, strict=True))
    codes = np.fromiter((known.setdefault(text, len(known)) for text in texts), dtype=np.intp, count=len(values))
    return codes if len(known) <= len(values) / 2 else None


def _is_missing(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _numbers(values: list[Any]) -> Vector | None:
    """As floats, missing ones as NaN, if all are numbers or are written as such."""
    try:
        return np.array([np.nan if _is_missing(value) else float(value) for value in values])
    except (TypeError, ValueError):
        return None


def _bins(numbers: Vector) -> Codes:
    """Few distinct numbers are levels; many become up to 50 bins of as many rows each. Of NaN anything."""
    known = numbers[~np.isnan(numbers)]
    levels = np.unique(known)
    if len(levels) > MOST_BINS:
        levels = np.unique(np.quantile(known, np.linspace(0, 1, MOST_BINS + 1)[1:-1], method="higher"))
    return np.searchsorted(levels, numbers, side="right")


def _strength(codes: Codes | None, halves: _Halves) -> float:
    """How well one half's mean labels rank the other half's labels, mean of both ways."""
    if codes is None:
        return 0.0
    return float(np.mean([_ranked(codes, halves, held) for held in (halves.second, ~halves.second)]))


def _ranked(codes: Codes, halves: _Halves, held: NDArray[np.bool_]) -> float:
    learned, size = ~held, int(codes.max()) + 1
    counts = np.bincount(codes[learned], minlength=size)
    sums = np.bincount(codes[learned], weights=halves.labels[learned], minlength=size)
    overall = halves.labels[learned].mean()
    means = np.divide(sums, counts, out=np.full(size, overall), where=counts > 0)
    return _agreement(halves.task, halves.labels[held], means[codes[held]])


def _agreement(task: Task, labels: Vector, encoded: Vector) -> float:
    ranks = rankdata(encoded)
    if isinstance(task, Classification):
        events = labels.sum()
        return float((ranks @ labels - events * (events + 1) / 2) / (events * (len(labels) - events)))
    if encoded.min() == encoded.max() or labels.min() == labels.max():
        return 0.0
    return float(np.corrcoef(ranks, rankdata(labels))[0, 1])

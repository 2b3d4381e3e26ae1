"""From raw labelled rows to examples and cross-validation folds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.model_selection import RepeatedStratifiedKFold

from forewarn import scoring
from forewarn.errors import BadInput
from forewarn.features import Features, Matrix
from forewarn.usecase import UseCase, Vector

# Above this share of bad rows the file is more likely misread than dirty.
MAX_REJECTED = 0.05
# Five folds with fewer events than this leave folds without a single one to rank.
MIN_EVENTS = 20


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Validated rows with their labels (1.0 = the event), and what was wrong with the others."""

    case: UseCase
    rows: list[dict[str, Any]]
    labels: Vector
    rejects: dict[int, str]


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One split, its features fitted on the training part alone."""

    train: Matrix
    train_labels: Vector
    test: Matrix
    test_labels: Vector
    levels: tuple[int, ...]


def examples(case: UseCase, raw: Sequence[dict[str, Any]]) -> Examples:
    """Validate rows and read their labels.

    Raises:
        BadInput: as `scoring.labelled`, or more than 5 % of the rows are bad.
    """
    found = scoring.labelled(case, raw)
    if len(found.rejects) > MAX_REJECTED * len(raw):
        index, reason = next(iter(found.rejects.items()))
        raise BadInput(
            f"{case.name}: {len(found.rejects)} of {len(raw)} rows are bad, the first is row {index}: {reason}; "
            "mend the file"
        )
    return Examples(case=case, rows=found.rows, labels=found.labels, rejects=found.rejects)


def trainable(found: Examples) -> Examples:
    """The examples, if there is enough in them to learn from.

    Raises:
        BadInput: fewer than 20 rows of either label.
    """
    events = int(found.labels.sum())
    rarer = min(events, len(found.labels) - events)
    if rarer < MIN_EVENTS:
        raise BadInput(
            f"{found.case.name}: only {rarer} of {len(found.labels)} rows have the rarer label of "
            f"{found.case.target}; training needs at least {MIN_EVENTS}, add more rows"
        )
    return found


def folds(found: Examples, *, repeats: int, seed: int, splits: int = 5) -> Iterator[Fold]:
    """Repeated stratified k-fold: `repeats` × `splits` folds, each with features fitted on its own training part."""
    cutter = RepeatedStratifiedKFold(n_splits=splits, n_repeats=repeats, random_state=seed)
    for train, test in cutter.split(found.rows, found.labels):
        rows = [found.rows[i] for i in train]
        features = Features.fit(found.case, rows)
        yield Fold(
            train=features.matrix(rows),
            train_labels=found.labels[train],
            test=features.matrix([found.rows[i] for i in test]),
            test_labels=found.labels[test],
            levels=features.levels,
        )

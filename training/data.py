"""From raw labelled rows to examples and cross-validation folds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold

from forewarn import quality, scoring
from forewarn.errors import BadInput
from forewarn.features import Features, Matrix
from forewarn.quality import QualityReport
from forewarn.tasks import Classification, Vector
from forewarn.usecase import UseCase

# Above this share of bad rows the file is more likely misread than dirty.
MAX_REJECTED = 0.05
# Five folds with fewer events than this leave folds without a single one to rank.
MIN_EVENTS = 20
# A 90 % interval wants 39 residuals (forewarn.performance); this leaves something to learn from too.
MIN_AMOUNTS = 100


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Validated rows with their labels, what was wrong with the others, and how good the table is."""

    case: UseCase
    rows: list[dict[str, Any]]
    labels: Vector
    rejects: dict[int, str]
    quality: QualityReport


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One split, its features fitted on the training part alone."""

    train: Matrix
    train_labels: Vector
    test: Matrix
    test_labels: Vector
    levels: tuple[int, ...]


def examples(case: UseCase, raw: Sequence[dict[str, Any]], *, override: str = "") -> Examples:
    """Validate rows, read their labels, and hold the table against the quality gate.

    Of rows with one subject the first is kept. `override` is the reason why a table that the gate refuses is used.

    Raises:
        BadInput: as `scoring.labelled`, or more than 5 % of the rows are bad.
        QualityRefused: the gate's violations, all of them.
    """
    found = scoring.labelled(case, raw)
    if len(found.rejects) > MAX_REJECTED * len(raw):
        index, reason = next(iter(found.rejects.items()))
        raise BadInput(
            f"{case.name}: {len(found.rejects)} of {len(raw)} rows are bad, the first is row {index}: {reason}; "
            "mend the file"
        )
    report = quality.quality_report(case, found.rows, rejects=found.rejects)
    quality.gate(case, report, override=override)
    kept = quality.firsts(case, found.rows)
    return Examples(
        case=case,
        rows=[found.rows[place] for place in kept],
        labels=found.labels[kept],
        rejects=found.rejects,
        quality=report,
    )


def trainable(found: Examples) -> Examples:
    """The examples, if there is enough in them to learn from.

    Raises:
        BadInput: fewer than 20 rows of either label, or than 100 amounts.
    """
    case, count = found.case, len(found.labels)
    if not isinstance(case.task, Classification):
        if count < MIN_AMOUNTS:
            raise BadInput(f"{case.name}: only {count} rows; training needs at least {MIN_AMOUNTS}, add more")
        return found
    events = int(found.labels.sum())
    rarer = min(events, count - events)
    if rarer < MIN_EVENTS:
        raise BadInput(
            f"{case.name}: only {rarer} of {count} rows have the rarer label of "
            f"{case.target}; training needs at least {MIN_EVENTS}, add more rows"
        )
    return found


def folds(found: Examples, *, repeats: int, seed: int, splits: int = 5) -> Iterator[Fold]:
    """Repeated k-fold, stratified by event: `repeats` × `splits` folds, features fitted on each one's training part."""
    kind = RepeatedStratifiedKFold if isinstance(found.case.task, Classification) else RepeatedKFold
    cutter = kind(n_splits=splits, n_repeats=repeats, random_state=seed)
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

"""From raw labelled rows to examples and cross-validation folds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from forewarn import leaks, quality, scoring
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
SPLITS = 5
# Search and proof see no more: a fold of 20,000 rows tells 0.01 ROC-AUC apart. The final fit sees every row.
MOST_SEARCHED = 100_000

Places = NDArray[np.int_]
Split = tuple[Places, Places]


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
    """One split, its features fitted on the training part alone.

    Attributes:
        places: where in the examples the test rows are, shape (len(test),).
        repeat: folds of one repeat have no test row in common.
    """

    train: Matrix
    train_labels: Vector
    test: Matrix
    test_labels: Vector
    levels: tuple[int, ...]
    places: Places
    repeat: int


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
    given = [row for index, row in enumerate(raw) if index not in found.rejects]
    leaking = leaks.leaks(case, found.rows, found.labels)
    notes = tuple(leaks.bystanders(case, given, found.labels))
    report = replace(report, violations=(*report.violations, *leaking), notes=notes)
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


def searched(found: Examples, *, seed: int) -> Examples:
    """At most 100,000 of the examples, in their order."""
    if len(found.rows) <= MOST_SEARCHED:
        return found
    kept = np.sort(np.random.default_rng(seed).choice(len(found.rows), MOST_SEARCHED, replace=False))
    return replace(found, rows=[found.rows[place] for place in kept], labels=found.labels[kept])


def folds(found: Examples, *, repeats: int, seed: int, known: bool = False) -> Iterator[Fold]:
    """Five-fold cross-validation, features fitted on each fold's training part.

    Stratified by event, and repeated. Where subjects repeat, all rows of one are in the same fold, so that the model
    is tried on subjects that it has never seen; unless `known`. Where the use case has time, each fold is trained on
    what came before it, once: time has no second throw.
    """
    two = isinstance(found.case.task, Classification)
    for repeat, (train, test) in splits(found, repeats=repeats, seed=seed, known=known):
        if two:
            _refuse_one_sided(found, train, test)
        rows = [found.rows[place] for place in train]
        features = Features.fit(found.case, rows)
        yield Fold(
            train=features.matrix(rows),
            train_labels=found.labels[train],
            test=features.matrix([found.rows[place] for place in test]),
            test_labels=found.labels[test],
            levels=features.levels,
            places=test,
            repeat=repeat,
        )


def _refuse_one_sided(found: Examples, train: Places, test: Places) -> None:
    """Nothing can be ranked, or learned, where all labels are one.

    Raises:
        BadInput: saying so.
    """
    events = [int(found.labels[part].sum()) for part in (train, test)]
    others = [len(part) - count for part, count in zip((train, test), events, strict=True)]
    if min(events[0], others[0]) < 2 or min(events[1], others[1]) < 1:
        raise BadInput(
            f"{found.case.name}: a fold has {events[0]} events of {len(train)} rows to learn from and {events[1]} of "
            f"{len(test)} to try on; add rows, so that every time, or group of subjects, has both labels"
        )


def repeats_subjects(found: Examples) -> bool:
    """Whether a subject may have several rows, and does."""
    case = found.case
    if not case.key or case.cleaning.unique_key:
        return False
    subjects = [row[case.key] for row in found.rows if row[case.key] is not None]
    return len(set(subjects)) < len(subjects)


def splits(found: Examples, *, repeats: int, seed: int, known: bool = False) -> Iterator[tuple[int, Split]]:
    """(repeat, (training places, test places)) of each fold; see `folds`."""
    if found.case.when:
        yield from ((0, split) for split in _in_time(found))
        return
    grouped = repeats_subjects(found) and not known
    subjects = _subjects(found) if grouped else None
    for repeat in range(repeats):
        cutter = _cutter(found, grouped=grouped)(n_splits=SPLITS, shuffle=True, random_state=seed * 1000 + repeat)
        yield from ((repeat, split) for split in cutter.split(found.labels, found.labels, subjects))


def _cutter(found: Examples, *, grouped: bool) -> Any:
    if isinstance(found.case.task, Classification):
        return StratifiedGroupKFold if grouped else StratifiedKFold
    return GroupKFold if grouped else KFold


def _subjects(found: Examples) -> Places:
    """A number for each subject; a row without one is a subject of its own."""
    names = [row[found.case.key] for row in found.rows]
    known = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array(
        [known[name] if name is not None else len(known) + place for place, name in enumerate(names)], dtype=np.int_
    )


def _in_time(found: Examples) -> Iterator[Split]:
    """Each of the last five parts in turn, trained on all before it; rows of one time are never parted.

    Raises:
        BadInput: rows without a time; or so few times that there are not two parts to try.
    """
    case = found.case
    times = [row[case.when] for row in found.rows]
    if None in times:
        raise BadInput(
            f"{case.name}: {times.count(None)} rows have no {case.spec[case.when].wire}; give it to each row"
        )
    _, step = np.unique(np.array(times), return_inverse=True)
    if step.max() < 2:
        name = case.spec[case.when].wire
        raise BadInput(f"{case.name}: {name} holds {step.max() + 1} different times; validation in time needs three")
    edges = np.unique(np.quantile(step, np.linspace(0, 1, SPLITS + 2)[1:-1], method="higher"))
    starts = [start for start in edges if start > 0]
    if len(starts) < 2:  # most rows are of one time
        starts = list(range(1, step.max() + 1))[-SPLITS:]
    for start, end in zip(starts, [*starts[1:], step.max() + 1], strict=True):
        yield np.flatnonzero(step < start), np.flatnonzero((step >= start) & (step < end))

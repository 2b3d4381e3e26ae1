"""Is this table good enough to learn from: a report (S2-19), and a gate (S2-20) that lists what is not."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from forewarn.cleaning import limits
from forewarn.errors import QualityRefused
from forewarn.fields import FieldSpec, Row
from forewarn.usecase import UseCase

# What the report counts as outliers where the use case caps none.
USUAL_OUTLIERS = "iqr"


@dataclass(frozen=True, kw_only=True)
class QualityReport:
    """What is in a table's columns.

    Attributes:
        missing: column -> share of rows without a value, 0 to 1; for columns that the table has.
        outliers: number column -> values beyond the use case's caps (1.5 interquartile ranges if it has none).
        duplicates: rows whose subject was there before.
        wrong_type: rows left out because a value had the wrong type or range.
        absent: optional columns that the table does not have.
        dropped: columns too empty to be used.
        violations: what the gate refuses, a sentence each.
        notes: what is odd and does no harm.
    """

    rows: int
    missing: dict[str, float]
    outliers: dict[str, int]
    duplicates: int
    wrong_type: int
    absent: tuple[str, ...]
    dropped: tuple[str, ...]
    violations: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def quality_report(case: UseCase, rows: Sequence[Row], *, rejects: Mapping[int, str] | None = None) -> QualityReport:
    """Look at validated rows, and at what was rejected of them before."""
    specs = [spec for spec in case.inputs if any(row[spec.name] is not None for row in rows)]
    missing = {spec.wire: _missing(spec, rows) for spec in specs}
    dropped = tuple(spec.wire for spec in specs if missing[spec.wire] > case.cleaning.drop_above and not spec.required)
    duplicates = len(rows) - len(firsts(case, rows))
    return QualityReport(
        rows=len(rows),
        missing=missing,
        outliers={spec.wire: _outliers(case, spec, rows) for spec in specs if spec.kind == "number"},
        duplicates=duplicates,
        wrong_type=len(rejects or {}),
        absent=tuple(spec.wire for spec in case.inputs if spec not in specs),
        dropped=dropped,
        violations=(*_gaps(case, missing, dropped), *_repeats(case, duplicates)),
    )


def gate(case: UseCase, report: QualityReport, *, override: str = "") -> None:
    """Let the table through, or say everything that is wrong with it.

    Raises:
        QualityRefused: there are violations, and no reason was given to override them.
    """
    if report.violations and not override:
        lines = "\n".join(f"  {violation}" for violation in report.violations)
        raise QualityRefused(
            f"{case.name}: the table is not good enough to learn from:\n{lines}\n"
            "mend it, or train all the same with --override-quality 'why'; the reason is kept with the version"
        )


def firsts(case: UseCase, rows: Sequence[Row]) -> list[int]:
    """The places of the rows to keep: of those with one subject the first (S2-16)."""
    if not case.key or not case.cleaning.unique_key:
        return list(range(len(rows)))
    seen: Counter[Any] = Counter()
    kept = []
    for place, row in enumerate(rows):
        seen[row[case.key]] += 1
        if row[case.key] is None or seen[row[case.key]] == 1:
            kept.append(place)
    return kept


def _missing(spec: FieldSpec, rows: Sequence[Row]) -> float:
    return sum(row[spec.name] is None for row in rows) / len(rows)


def _outliers(case: UseCase, spec: FieldSpec, rows: Sequence[Row]) -> int:
    values = np.array([row[spec.name] for row in rows if row[spec.name] is not None], dtype=np.float64)
    method = case.cleaning.outliers
    low, high = limits(USUAL_OUTLIERS if method == "none" else method, values)
    return int(((values < low) | (values > high)).sum())


def _gaps(case: UseCase, missing: Mapping[str, float], dropped: tuple[str, ...]) -> list[str]:
    limit = case.cleaning.max_missing
    return [
        f"{name}: {share:.1%} of its values are missing, at most {limit:.0%} may be"
        for name, share in missing.items()
        if share > limit and name not in dropped
    ]


def _repeats(case: UseCase, duplicates: int) -> list[str]:
    if not duplicates:
        return []
    return [f"{case.spec[case.key].wire}: {duplicates} rows repeat a subject; only the first row of each would be used"]

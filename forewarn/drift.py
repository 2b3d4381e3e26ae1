"""Later rows held against what a model learned from (`forewarn.reference`): what moved, and not by chance?

The population stability index of two histograms over the same bins (Lewis 1994) is (1/n + 1/N) times a chi-square of as
many degrees as there are bins less one, where nothing has moved (Yurdakul & Naranjo 2020): of 50 rows nine windows in
ten exceed the usual 0.1. So a limit is never below what chance reaches on a window of that size, over all fields
together once in a hundred windows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from scipy.stats import chi2_contingency

from forewarn.fields import Row
from forewarn.reference import ANY, Counts
from forewarn.tasks import Vector
from forewarn.usecase import UseCase

# S2-52.
WATCH, DRIFT = 0.1, 0.25
# How often chance alone may raise anything, per window, over all fields together.
FALSE_ALARMS = 0.01
DRAWS, TAIL = 2000, 0.1
# Half a row in each bin, instead of the 1e-4 that makes one empty bin of a small window an alarm.
HALF = 0.5
MISSING, NEW = "(missing)", "(new)"
# Shares of a window that are told as broken expectations.
MOST_NEW, MOST_MISSING, MOST_BEYOND = 0.01, 0.05, 0.02

Level = Literal["none", "watch", "drift"]


@dataclass(frozen=True, kw_only=True)
class Shift:
    """One field of a window beside its reference.

    Attributes:
        psi: population stability index; js: Jensen–Shannon divergence in bits, 0 to 1.
        ks: largest distance of the two distribution functions at the bins' edges; of numbers only.
        p: of a chi-square test that both are draws of one distribution.
        floor: the index that chance reaches on such a window once in so many that `FALSE_ALARMS` holds over all fields.
        importance: the field's share of what moves the score.
        bins: names of the bins; expected, found: share of the reference, and of the window, in each.
        broken: expectations of the field that the window breaks, in words.
    """

    field: str
    kind: str
    psi: float
    js: float
    ks: float | None
    p: float
    floor: float
    importance: float
    level: Level
    bins: tuple[str, ...]
    expected: tuple[float, ...]
    found: tuple[float, ...]
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A window of rows beside a reference.

    Attributes:
        fields: as they were sent; features: what is derived of them; label: of those rows of which it is known.
    """

    rows: int
    reference_rows: int
    fields: tuple[Shift, ...]
    score: Shift
    features: tuple[Shift, ...] = ()
    label: Shift | None = None

    @property
    def every(self) -> tuple[Shift, ...]:
        """All of them, the score and the label last."""
        return (*self.fields, *self.features, self.score, *([self.label] if self.label else []))

    @property
    def moved(self) -> tuple[Shift, ...]:
        """What has moved, the most important first; at last the score and the label, which follow them."""
        found = sorted((*self.fields, *self.features), key=lambda one: -one.psi * (one.importance + 0.01))
        ends = self.every[len(found) :]
        return tuple(one for one in (*found, *ends) if one.level != "none")

    @property
    def level(self) -> Level:
        """The highest of all."""
        levels = {one.level for one in self.every}
        return "drift" if "drift" in levels else "watch" if "watch" in levels else "none"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """From which index on a field is to be watched, and has drifted (S2-52)."""

    watch: float = WATCH
    drift: float = DRIFT


def compare(
    case: UseCase, reference: Mapping[str, Any], rows: Sequence[Row], scores: Vector, importance: Mapping[str, float],
    *, derived: Mapping[str, Vector] | None = None, labels: Vector | None = None, limits: Limits = Limits(),
) -> Comparison:  # fmt: skip
    """Validated rows and their scores beside a package's reference.

    Args:
        importance: raw field → its mean absolute contribution, as the package's evidence has it; and feature → that of
            what it is made of.
        derived: feature → its values on these rows.
        labels: what came true, of however many of the rows it is known.
    """
    whole = sum(importance.get(spec.wire, 0.0) for spec in case.fields) or 1.0
    specs = [spec for spec in case.fields if spec.wire in reference["fields"]]
    columns = {spec.wire: [row[spec.name] for row in rows] for spec in specs}
    known = reference.get("features", {})
    further = {name: list(values) for name, values in (derived or {}).items() if name in known}
    label = reference.get("label") if labels is not None and len(labels) else None
    tests = len(columns) + len(further) + 1 + bool(label)
    shift = partial(_shift, level=FALSE_ALARMS / tests, independent=_independent(case, rows), limits=limits)
    return Comparison(
        rows=len(rows),
        reference_rows=reference["rows"],
        fields=tuple(
            shift(name, reference["fields"][name], values, importance.get(name, 0.0) / whole)
            for name, values in columns.items()
        ),
        features=tuple(
            shift(name, known[name], values, importance.get(name, 0.0) / whole) for name, values in further.items()
        ),
        score=shift("score", reference["score"], scores.tolist(), 1.0),
        label=_label_shift(label, labels, FALSE_ALARMS / tests, limits) if label and labels is not None else None,
    )


def is_alarm(windows: Sequence[bool], *, least: int = 2, of: int = 3) -> bool:
    """Whether the newest window has moved, and at least so many of the last ones: one odd week is no alarm."""
    return bool(windows) and windows[-1] and sum(windows[-of:]) >= least


def _independent(case: UseCase, rows: Sequence[Row]) -> int:
    """Rows of one subject say the same of whatever is the subject's own: of those only the subjects count."""
    named = [row[case.key] for row in rows if case.key and row[case.key] is not None]
    return len(rows) if len(named) < len(rows) else len(set(named))


def _shift(
    name: str, known: Mapping[str, Any], values: Sequence[Any], importance: float, *, level: float, independent: int,
    limits: Limits = Limits(),
) -> Shift:  # fmt: skip
    histogram = _numbers if known["kind"] == "number" else _categories
    bins, before, now = histogram(known, values)
    expected, found = _smoothed(before), _smoothed(now)
    psi, floor = _psi(expected, found), noise(before, independent, level)
    moved: Level = "watch" if psi <= limits.drift else "drift"
    return Shift(
        field=name,
        kind=known["kind"],
        psi=psi,
        js=_js(expected, found),
        ks=float(np.abs(np.cumsum(expected - found)[:-1]).max()) if known["kind"] == "number" else None,
        p=_p(before, now),
        floor=floor,
        importance=importance,
        level="none" if psi <= max(limits.watch, floor) else moved,
        bins=tuple(bins),
        expected=tuple(expected.tolist()),
        found=tuple(found.tolist()),
        broken=tuple(_broken(known, values)),
    )


def _label_shift(known: Mapping[str, Any], labels: Vector, level: float, limits: Limits) -> Shift:
    values = labels.tolist() if known["kind"] == "number" else [str(int(label)) for label in labels]
    return _shift("label", known, values, 1.0, level=level, independent=len(labels), limits=limits)


def noise(before: Counts, rows: int, level: float) -> float:
    """The index that a window of so many rows exceeds with this chance where nothing has moved.

    Drawn from what the reference's counts leave open of the true shares (Dirichlet), then from those (multinomial);
    beyond the draws' 90 % quantile an exponential tail of their mean excess (peaks over threshold, Pickands 1975). A
    gamma distribution of the draws' mean and variance was exceeded by windows of 50 rows up to 17 times too often.
    Seeded: the same window has the same limit.
    """
    return _noise(tuple(before.tolist()), rows, level) if rows else float("inf")


@lru_cache(maxsize=4096)  # windows of one size have one limit; to draw it takes most of a comparison's time
def _noise(before: tuple[float, ...], rows: int, level: float) -> float:
    random, counts = np.random.default_rng(0), np.array(before)
    drawn = random.multinomial(rows, random.dirichlet(counts + HALF, size=DRAWS)).astype(float)
    index = _psi(_smoothed(counts), _smoothed(drawn))
    high = float(np.quantile(index, 1 - TAIL))
    beyond = index[index > high] - high
    return high + float(beyond.mean()) * float(np.log(TAIL / level)) if len(beyond) else high


def _numbers(known: Mapping[str, Any], values: Sequence[Any]) -> tuple[list[str], Counts, Counts]:
    """The reference's own bins, with open tails, and one for what is missing."""
    edges = np.array(known["edges"])
    present = np.array([value for value in values if value is not None], dtype=float)
    counts = np.bincount(np.searchsorted(edges, present, side="right"), minlength=len(known["counts"]))
    told = [f"{value:.4g}" for value in edges]
    names = [f"< {told[0]}", *(f"{low} – {high}" for low, high in pairwise(told)), f"≥ {told[-1]}"]
    names = names if told else ["all"]
    before = np.array([*known["counts"], known["missing"]], dtype=float)
    return [*names, MISSING], before, np.array([*counts, len(values) - len(present)], dtype=float)


def _categories(known: Mapping[str, Any], values: Sequence[Any]) -> tuple[list[str], Counts, Counts]:
    """A bin a level of the reference, one for levels that it has not, one for what is missing."""
    levels = list(known["counts"])
    told = [MISSING if value is None else str(value) for value in values]
    any_text = levels == [ANY]
    told = [ANY if any_text and value != MISSING else value if value in {*levels, MISSING} else NEW for value in told]
    names = [*levels, NEW, MISSING]
    before = np.array([*known["counts"].values(), 0, known["missing"]], dtype=float)
    return names, before, np.array([told.count(name) for name in names], dtype=float)


def _broken(known: Mapping[str, Any], values: Sequence[Any]) -> list[str]:
    """Missing values, unknown levels, values beyond the reference's range, values of another type."""
    n = max(len(values), 1)
    missing, before = sum(value is None for value in values) / n, known["missing"] / max(_size(known), 1)
    found = [f"{missing:.0%} is missing, {before:.0%} was"] if missing > before + MOST_MISSING else []
    present = [value for value in values if value is not None]
    if known["kind"] == "number" and "low" in known:
        beyond = sum(not known["low"] <= value <= known["high"] for value in present) / n
        found += [f"{beyond:.0%} lies beyond {known['low']:g} to {known['high']:g}"] if beyond > MOST_BEYOND else []
    elif known["kind"] != "number" and list(known["counts"]) != [ANY]:
        new = sum(str(value) not in known["counts"] for value in present) / n
        found += [f"{new:.0%} has a level that there was not"] if new > MOST_NEW else []
    return found


def _size(known: Mapping[str, Any]) -> int:
    counts = known["counts"]
    return int(sum(counts.values() if isinstance(counts, dict) else counts)) + int(known["missing"])


def _smoothed(counts: Counts) -> Counts:
    told: Counts = (counts + HALF) / (counts.sum(axis=-1, keepdims=True) + HALF * counts.shape[-1])
    return told


def _psi(expected: Counts, found: Counts) -> Any:
    index = ((found - expected) * np.log(found / expected)).sum(axis=-1)
    return float(index) if np.ndim(index) == 0 else index


def _js(one: Counts, other: Counts) -> float:
    middle = (one + other) / 2
    return float((one * np.log2(one / middle) + other * np.log2(other / middle)).sum() / 2)


def _p(before: Counts, now: Counts) -> float:
    table = np.array([before, now])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2 or not table.sum(axis=1).all():
        return 1.0
    return float(chi2_contingency(table).pvalue)

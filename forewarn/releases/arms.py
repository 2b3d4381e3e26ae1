"""What is known of a release: what each version answered, could not answer, and said of the same rows."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.tasks import Vector

# So many times the champion's 95th percentile counts as slow.
SLOW = 2.0
EMPTY: Vector = np.empty(0)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One version's rows, in the order in which they came; the newest ones where there are very many.

    Attributes:
        answered, failed: rows that it answered; rows that somebody else had to answer in its place.
        scores: what it said, shape (n,).
        events: whether that was above its threshold, shape (n,); empty for amounts.
        latency_ms: from a request to its answer, shape (n,).
    """

    version: str
    answered: int = 0
    failed: int = 0
    scores: Vector = field(default_factory=lambda: EMPTY)
    events: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=bool))
    latency_ms: Vector = field(default_factory=lambda: EMPTY)

    @property
    def asked(self) -> int:
        """Rows that it was to answer."""
        return self.answered + self.failed


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Rows of which both have said something: one in the answer, the other in its shadow. All of shape (n,).

    Attributes:
        one, other: what challenger, or shadow, and champion said.
        one_events, other_events: the decisions; empty for amounts.
    """

    one: Vector = field(default_factory=lambda: EMPTY)
    other: Vector = field(default_factory=lambda: EMPTY)
    one_events: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=bool))
    other_events: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=bool))

    def only(self, places: NDArray[np.int64]) -> "Pairs":
        """Those at these places."""
        parts = {name: getattr(self, name) for name in ("one", "other", "one_events", "other_events")}
        return Pairs(**{name: part[places] if len(part) else part for name, part in parts.items()})


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Pairs whose outcome is known: labels are 0 and 1, or amounts, shape (n,)."""

    labels: Vector = field(default_factory=lambda: EMPTY)
    pairs: Pairs = field(default_factory=Pairs)

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Observed:
    """One release so far.

    Attributes:
        mode: a canary answers a share of the subjects, a shadow nobody.
        hours: since it began.
        pairs: rows of which both have said something; truth: those of them whose outcome is known.
    """

    mode: str
    hours: float
    challenger: Arm
    champion: Arm
    pairs: Pairs = field(default_factory=Pairs)
    truth: Truth = field(default_factory=Truth)

    def told(self) -> dict[str, Any]:
        """In numbers, for the history."""
        return {
            "mode": self.mode,
            "hours": round(self.hours, 3),
            "challenger": _counts(self.challenger),
            "champion": _counts(self.champion),
            "pairs": len(self.pairs.one),
            "labels": self.truth.rows,
        }


def _counts(arm: Arm) -> dict[str, Any]:
    return {"version": arm.version, "answered": arm.answered, "failed": arm.failed}

"""Made-up people for the demonstration: they are asked about week by week, and what becomes of them comes back late."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from forewarn import usecases
from forewarn.errors import ForewarnError
from forewarn.usecase import UseCase

PARTS = 4
MOST_OUTCOMES = 500


@dataclass
class World:
    """People who are asked about week by week, and what becomes of them.

    Attributes:
        week_s: how long a week lasts, in seconds.
        later: predictions whose outcomes come with the next week.
    """

    client: httpx.Client
    people: int
    week_s: float
    weeks: int = 0
    asked: int = 0
    known: int = 0
    later: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def week(self, cases: list[str], drift: dict[str, dict[str, float]] | None = None) -> None:
        """A week of questions, spread over its time; what became of those of the week before is told with them.

        Args:
            drift: use case → field → by how much it has moved, as `sampling.shift`.
        """
        began, self.weeks = time.monotonic(), self.weeks + 1
        for name in cases:
            self._tell(name)
        for part in range(PARTS):
            for name in cases:
                moved = (drift or {}).get(name, {})
                self._ask(usecases.get(name), self.people // PARTS, seed=100 * self.weeks + part, drift=moved)
            time.sleep(max(0.0, began + (part + 1) * self.week_s / PARTS - time.monotonic()))

    def _ask(self, case: UseCase, count: int, *, seed: int, drift: dict[str, float]) -> None:
        raw = case.sample(count, seed=seed, drift=drift)
        came = [row.pop(case.target) for row in raw]
        told = good(self.client.post(f"/v1/{case.name}/batch", json=raw))
        answers = told.get("results", told["predictions"])
        self.asked += len(raw)
        self.later.setdefault(case.name, []).extend(
            {"prediction_id": one["prediction_id"], "outcome": label}
            for one, label in zip(answers, came, strict=True)
            if one and "prediction_id" in one
        )

    def _tell(self, name: str) -> None:
        """Outcomes come late: those of the week before."""
        sent = self.later.pop(name, [])
        for start in range(0, len(sent), MOST_OUTCOMES):
            good(self.client.post(f"/v1/{name}/feedback", json=sent[start : start + MOST_OUTCOMES]))
        self.known += len(sent)


def good(response: httpx.Response) -> dict[str, Any]:
    """What it says.

    Raises:
        ForewarnError: it says no.
    """
    if response.status_code >= 400:
        raise ForewarnError(f"{response.request.method} {response.request.url.path}: {response.text[:300]}")
    found: dict[str, Any] = response.json()
    return found


def wait(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Until it holds.

    Raises:
        ForewarnError: it does not within so many seconds; `what` says what that means.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ForewarnError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.5)

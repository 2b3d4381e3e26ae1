"""Made-up people for the demonstration: they are asked about week by week, and what becomes of them comes back late."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from forewarn import usecases
from forewarn.errors import ForewarnError
from forewarn.features import Features
from forewarn.releases import Releases
from forewarn.settings import Settings
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


def fields_of(case: UseCase, settings: Settings) -> tuple[str, str]:
    """The number that moves the champion's scores most, and one that may be left out; by the names of the wire."""
    releases = Releases(settings.packages)
    package = releases.load(case, str(releases.champion(case)))
    worth = package.evidence.get("importance", {})
    features = package.features
    numbers = [case.spec[name] for name in features.cleaner.state.numbers]
    most = max(numbers, key=lambda spec: worth.get(spec.wire, 0.0))
    derived_of = {name for parts in features.sources[-len(features.derived) :] for name in parts}
    gaps = [spec for spec in numbers if not spec.required and spec is not most and spec.name != case.hinge]
    # What is derived of it then leaves the range that it promises, so that the row cannot be scored.
    return most.wire, next((spec for spec in gaps if spec.name in derived_of), gaps[0]).wire


def bad_version(case: UseCase, settings: Settings, gap: str) -> str:
    """A version of a broken extract: it learned something senseless to put where a field is missing."""
    from forewarn import approval  # MLflow takes seconds to import
    from forewarn.registry import Registry

    releases, registry = Releases(settings.packages), Registry(settings)
    package = releases.load(case, str(releases.champion(case)))
    learned = package.features.to_json()
    learned["cleaning"]["numbers"][case.by_alias[gap].name] |= {"fill": 1e300, "low": None, "high": None}
    spoilt = replace(package, features=Features.from_json(case, learned))
    run = registry.start_run(case, "a broken extract", params={}, tags={})
    tags = {"status": approval.PENDING, "trained_by": "demo", "by": "gates", "why": "", "metric": "not measured"}
    return registry.register(case, run, spoilt.save(settings.home / "spoilt"), tags=tags)


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

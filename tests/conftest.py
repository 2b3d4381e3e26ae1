"""What tests share: use cases, a home of their own, one small real package, the public data where it is there."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import httpx
import hypothesis
import pytest

from forewarn import performance, reference, scoring, usecases
from forewarn.estimators import FITTERS, Blend
from forewarn.features import Features
from forewarn.ledger import doors
from forewarn.package import ModelPackage, contract
from forewarn.releases import Releases, ReleaseState
from forewarn.settings import PROJECT, Settings
from forewarn.spaces import STARTING_POINTS
from forewarn.usecase import UseCase
from jobs import cluster, train, up
from jobs.deploy import CONFIG, Application
from jobs.machine import free_port

if TYPE_CHECKING:
    from training.order import Trained  # which imports Ray, whose environment is not prepared yet

# A loaded machine is no failure; each test has its own timeout.
hypothesis.settings.register_profile("forewarn", deadline=None)
hypothesis.settings.load_profile("forewarn")

CASES = list(usecases.every().values())


@pytest.fixture(params=CASES, ids=lambda case: case.name, scope="session")
def case(request: pytest.FixtureRequest) -> UseCase:
    return request.param


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture(scope="session")
def package(case: UseCase) -> ModelPackage:
    """A real blend, fitted on made-up rows in a tenth of a second."""
    return fitted(case, seed=1)


def fitted(case: UseCase, *, seed: int) -> ModelPackage:
    raw = case.sample(400, seed=seed)
    rows = scoring.validate(case, raw).values
    labels = case.task.labels(case.target, [row[case.target] for row in raw])
    features = Features.fit(case, rows)
    matrix = features.matrix(rows)
    first, second = (
        FITTERS[name](matrix, labels, features.levels, seed=seed, **quick(name)) for name in case.task.algorithms
    )
    blend = Blend(first=first, second=second, first_share=0.5)
    scores = case.task.scores(blend.margins(matrix))
    rule = performance.learn_rule(case.task, labels, scores)
    metrics = performance.over_folds([performance.measure(case.task, labels, scores, rule)])
    return ModelPackage(
        case=case,
        features=features,
        estimator=blend,
        rule=rule,
        metadata={
            "seed": seed,
            "algorithm": "+".join(case.task.algorithms),
            "metrics": metrics,
            "data": {"rows": len(rows)},
            "fields": list(features.fields),
            "created": "2026-11-22T07:00:00+00:00",
        },
        contract=contract(case, rows),
        reference=reference.profile(case, rows, scores, derived=features.derived_of(matrix), labels=labels),
        smoke=tuple(case.anonymous(row) for row in rows[:3]),
    )


def installed(settings: Settings, cases: Iterable[UseCase] = CASES) -> Releases:
    """A package store in which each use case has a champion, so that nothing has to be trained."""
    releases = Releases(settings.packages)
    for case in cases:
        with TemporaryDirectory() as folder:
            releases.admit(case, "v1", fitted(case, seed=1).save(Path(folder) / "package"))
        releases.put_up(case, ReleaseState(champion="v1"))
    return releases


def admitted(settings: Settings, case: UseCase, *versions: str) -> Releases:
    """A package store that holds these versions, each fitted with a seed of its own; the first is champion."""
    releases = Releases(settings.packages)
    for seed, version in enumerate(versions, start=1):
        with TemporaryDirectory() as folder:
            releases.admit(case, version, fitted(case, seed=seed).save(Path(folder) / "package"))
    releases.put_up(case, ReleaseState(champion=versions[0]))
    return releases


def quick(algorithm: str) -> dict[str, float]:
    """The first point that a search would try, with fewer trees."""
    point = STARTING_POINTS[algorithm][0]
    return point | ({"n_estimators": 40} if "n_estimators" in point else {})


@pytest.fixture(scope="session")
def public_data() -> Path:
    folder = Path(os.environ.get("FOREWARN_PUBLIC_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the public data sets are not at {folder}; they are not redistributed (FOREWARN_PUBLIC_DATA)")
    return folder


@pytest.fixture(autouse=True)
def _no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own FOREWARN_* must not steer the tests."""
    for name in [name for name in os.environ if name.startswith("FOREWARN_") and name != "FOREWARN_PUBLIC_DATA"]:
        monkeypatch.delenv(name)


def pytest_configure() -> None:
    """Before any test module imports Ray, which reads its environment once."""
    cluster.prepare_environment()


@dataclass(frozen=True, kw_only=True)
class Service:
    """The session's one real cluster, with a trained champion served on it."""

    settings: Settings
    application: Application
    dashboard: str
    address: str
    trained: "Trained"
    client: httpx.Client

    @contextmanager
    def noted(self) -> Iterator[None]:
        """As if `forewarn up` had started it: commands of this home find it."""
        found = {"pid": os.getpid(), "mark": "", "address": self.address, "dashboard": self.dashboard}
        cluster.remember(self.settings, {**found, "url": self.application.url})
        try:
            yield
        finally:
            cluster.forget(self.settings)

    def environment(self) -> dict[str, str]:
        """For a process of its own that belongs to this installation."""
        return {**os.environ, "FOREWARN_HOME": str(self.settings.home), "RAY_ADDRESS": self.address}


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Start Ray, search for a few trials, register, deploy serve_config.yaml: as `forewarn up` does. The other use
    cases have packages that were fitted without a search.
    """
    settings = Settings(home=tmp_path_factory.mktemp("home"), port=free_port(), dashboard_port=free_port())
    application = Application.read(CONFIG, settings)
    # The composition that is not shipped, and the larger one; test_up brings up the shipped one.
    # One key asks for all tests, without a quota.
    application.plan["applications"][0]["args"] |= {"composition": "chained", "door": {"quota_per_minute": 0}}
    case = usecases.get(application.default_use_case)
    installed(settings, [other for other in CASES if other is not case])
    with cluster.started(settings) as found:
        raw, origin = train.rows_of(case, None)
        trained = train.run(case, raw, origin, settings, train.Wishes(trials=8, budget_s=60, by="trainer"))
        up.let_in(case, trained, settings)
        key = doors.installation_key(settings)
        application.deploy(found["dashboard"])
        with httpx.Client(base_url=application.url, headers={"X-API-Key": key}, timeout=30) as client:
            yield Service(
                settings=settings,
                application=application,
                dashboard=found["dashboard"],
                address=found["address"],
                trained=trained,
                client=client,
            )


def until(condition: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """Wait for a condition with a deadline; what it answered."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)
    return found

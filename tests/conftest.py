"""What tests share: use cases, a home of their own, one small real package, the public data where it is there."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from forewarn import drift, estimators, keys, scoring, usecases
from forewarn.estimators import Blend, Linear, Trees
from forewarn.features import Features
from forewarn.package import ModelPackage, contract
from forewarn.settings import PROJECT, Settings
from forewarn.usecase import UseCase
from jobs import cluster, train
from jobs.deploy import CONFIG, Application
from training.pipeline import Trained

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
    rows, labels = scoring.validate(case, raw).values, case.labels([row[case.target] for row in raw])
    features = Features.fit(case, rows)
    matrix = features.matrix(rows)
    point = estimators.STARTING_POINTS["xgboost"][0] | {"n_estimators": 40}
    trees = Trees.fit(matrix, labels, features.levels, seed=seed, **point)
    linear = Linear.fit(matrix, labels, features.levels, seed=seed, C=0.1)
    blend = Blend(trees=trees, linear=linear, tree_share=0.5)
    scores = estimators.probabilities(blend.margins(matrix))
    return ModelPackage(
        case=case,
        features=features,
        estimator=blend,
        threshold=0.3,
        metadata={"seed": seed},
        contract=contract(case, rows),
        reference=drift.profile(case, rows, scores),
        smoke=tuple({**row, case.key: None} for row in rows[:3]),
    )


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
    trained: Trained
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
    """Start Ray, search for a few trials, register, deploy serve_config.yaml: as `forewarn up` does."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), port=free_port(), dashboard_port=free_port())
    application = Application.read(CONFIG, settings)
    case = usecases.get(application.default_use_case)
    with cluster.started(settings) as found:
        raw, origin = train.rows_of(case, None)
        trained = train.run(case, raw, origin, settings, trials=8, seconds=60)
        key = keys.installation_key(settings.keys, settings.local_key)
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """Wait for a condition with a deadline; what it answered."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)
    return found

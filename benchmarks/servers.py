"""The servers that are held against each other: each with the same model, started here and ended here."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

import httpx
import psutil
import yaml

from benchmarks.rows import bodies_of
from forewarn import performance, reference, scoring
from forewarn.features import Features
from forewarn.ledger import doors
from forewarn.package import ModelPackage, contract
from forewarn.releases import Releases, ReleaseState
from forewarn.settings import PROJECT, Settings
from forewarn.trees import Trees
from forewarn.usecase import UseCase
from jobs import cluster, machine

ROWS = 1500
# Those of the measurements that the bars come from.
TREES = {"n_estimators": 200, "max_depth": 4, "learning_rate": 0.1}
READY_SECONDS = 240
APPLICATION = "deployments.app:build"
# What Ray Serve does by itself: its own proxy in Python, and its defaults for latency and transport.
RAY_DEFAULTS = {
    "RAY_SERVE_ENABLE_HA_PROXY": "0",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "0",
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "0",
}


@dataclass(frozen=True, kw_only=True)
class Server:
    """One that answers.

    Attributes:
        bodies: what it is asked, in turn.
        processes: all that it consists of, now.
        dashboard: Ray's, where it has one.
        settings: Forewarn's.
    """

    url: str
    bodies: list[bytes]
    processes: Callable[[], list[psutil.Process]]
    headers: Mapping[str, str] = field(default_factory=dict)
    dashboard: str = ""
    settings: Settings | None = None


def package(case: UseCase) -> ModelPackage:
    """A version with 200 trees, learned from made-up rows."""
    raw = case.sample(ROWS, seed=0)
    rows = scoring.validate(case, raw).values
    labels = case.task.labels(case.target, [row[case.target] for row in raw])
    features = Features.fit(case, rows)
    matrix = features.matrix(rows)
    trees = Trees.fit(matrix, labels, features.levels, seed=0, **TREES)
    scores = case.task.scores(trees.margins(matrix))
    rule = performance.learn_rule(case.task, labels, scores)
    metrics = performance.over_folds([performance.measure(case.task, labels, scores, rule)])
    told = {"algorithm": "xgboost", "metrics": metrics, "fields": list(features.fields), "data": {"rows": len(rows)},
            "created": "2026-01-01T00:00:00+00:00"}  # fmt: skip
    return ModelPackage(
        case=case,
        features=features,
        estimator=trees,
        rule=rule,
        metadata=told,
        contract=contract(case, rows),
        reference=reference.profile(case, rows, scores),
        smoke=tuple(case.anonymous(row) for row in rows[:3]),
    )


@contextmanager
def plain(case: UseCase) -> Iterator[Server]:
    """One FastAPI process (benchmarks/plain.py)."""
    with TemporaryDirectory() as folder:
        saved = package(case).save(Path(folder) / "package")
        port = machine.free_port()
        command = [sys.executable, "-m", "benchmarks.plain", case.name, str(saved), str(port)]
        with running(command, {}) as process:
            url = f"http://127.0.0.1:{port}/predict"
            server = Server(url=url, bodies=bodies_of(case), processes=lambda: [process])
            wait(f"http://127.0.0.1:{port}/ready", process)
            yield server


@contextmanager
def forewarn(case: UseCase, environment: Mapping[str, str] | None = None, door: dict[str, Any] | None = None,
             import_path: str = APPLICATION, **args: Any) -> Iterator[Server]:  # fmt: skip
    """The real application, brought up by `forewarn up`."""
    with TemporaryDirectory() as folder:
        port, dashboard = machine.free_ports(2)
        ledger = (environment or {}).get("FOREWARN_LEDGER_URI", "")
        settings = Settings(home=Path(folder) / "home", port=port, dashboard_port=dashboard, ledger_uri=ledger)
        install(case, settings)
        config = _config(case, Path(folder), door or {}, args, import_path)
        home = {
            "FOREWARN_HOME": str(settings.home),
            "FOREWARN_PORT": str(settings.port),
            "FOREWARN_DASHBOARD_PORT": str(settings.dashboard_port),
        }
        up = [sys.executable, "-c", "from jobs.cli import main; main()", "up", "--config", str(config)]
        with running(up, {**home, **(environment or {})}) as process:
            wait(f"http://127.0.0.1:{settings.port}/ready", process)
            key = doors.installation_key(settings)
            found = cluster.running(settings)
            yield Server(
                url=f"http://127.0.0.1:{settings.port}/v1/{case.name}/predict",
                bodies=bodies_of(case),
                headers={"X-API-Key": key},
                processes=lambda: [process, *machine.marked(found["mark"])],
                dashboard=found["dashboard"],
                settings=settings,
            )


def ray_defaults(case: UseCase) -> Any:
    """The graph of three deployments as Ray Serve runs it by itself: no HAProxy, no grouping, its own transport."""
    alone = {"max_group": 1, "max_rows": 1, "groups_in_flight": 1000, "cache_seconds": 0}
    return forewarn(case, RAY_DEFAULTS, door=alone, composition="chained")


def install(case: UseCase, settings: Settings) -> None:
    """Make the package the champion of a home."""
    releases = Releases(settings.packages)
    with TemporaryDirectory() as folder:
        releases.admit(case, "v1", package(case).save(Path(folder) / "package"))
    releases.put_up(case, ReleaseState(champion="v1"))


def _config(case: UseCase, folder: Path, door: dict[str, Any], args: dict[str, Any], import_path: str) -> Path:
    plan = yaml.safe_load((PROJECT / "serve_config.yaml").read_text())
    plan["applications"][0]["import_path"] = import_path
    given = plan["applications"][0]["args"]
    given |= {"use_cases": [case.name], "default_use_case": case.name, **args}
    given["door"] = {**given.get("door", {}), "quota_per_minute": 0, **door}  # one key asks for all
    path = folder / "serve_config.yaml"
    path.write_text(yaml.safe_dump(plan))
    return path


@contextmanager
def running(
    command: list[str], environment: Mapping[str, str], *, errors: int | None = None
) -> Iterator[psutil.Process]:
    """A process with its children; asked to stop when the block ends. `errors`: where its stderr goes."""
    process = subprocess.Popen(command, env={**os.environ, **environment}, cwd=PROJECT, stdout=subprocess.DEVNULL,
                               stderr=errors, start_new_session=True)  # fmt: skip
    try:
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait(url: str, process: psutil.Process) -> None:
    """Until it answers.

    Raises:
        RuntimeError: it ended, or takes longer than READY_SECONDS.
    """
    deadline = monotonic() + READY_SECONDS
    while not _answers(url):
        if monotonic() > deadline or not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            raise RuntimeError(f"{url} does not answer")
        sleep(0.5)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False

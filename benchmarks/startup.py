"""What it takes to stand each deployment up: CPU, memory and libraries, each in a process of its own.

Beside `import ray.serve`, which every replica pays and no line of ours can cut.

    make bench-startup
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import orjson
import psutil

ROUNDS = 3
KINDS = {"Ingress": "deployments.ingress", "Preprocessor": "deployments.preprocessing", "Model": "deployments.model"}
# Those that take more than 50 ms or 5 MB.
HEAVY = (
    "mlflow",
    "matplotlib",
    "ray.data",
    "sklearn",
    "pandas",
    "pyarrow",
    "scipy",
    "xgboost",
    "sqlalchemy",
    "fastapi",
)
HANDLE = "a handle"


def arguments(name: str) -> dict[str, list[Any]]:
    """What each is made with; the handles to the next one are not called here."""
    from deployments.app import Door  # this, and what `main` imports, must not be in the processes that are measured
    from forewarn import usecases

    door = {**Door().model_dump(), "replicas": 1}
    ways = dict.fromkeys(usecases.every(), HANDLE)
    return {"Ingress": [door, name, ways], "Preprocessor": [name, HANDLE], "Model": [name]}


def fresh(kind: str, given: list[Any], home: Path) -> list[dict[str, Any]]:
    """What a new process tells: as it is with Ray Serve alone, and with the deployment made."""
    command = [sys.executable, "-m", "benchmarks.startup", kind, orjson.dumps(given).decode()]
    environment = {**os.environ, "FOREWARN_HOME": str(home)}
    told = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
    found: list[dict[str, Any]] = orjson.loads(told.splitlines()[-1])
    return found


def measured(kind: str, given: list[Any]) -> list[dict[str, Any]]:
    """Make it in this process, which has done nothing yet."""
    import_module("ray.serve")
    floor = _now()
    made = _made(getattr(import_module(KINDS[kind]), kind), [_Handle if one == HANDLE else one for one in given])
    return [floor, {**_now(), "made": type(made).__name__}]


class _Handle:
    """Stands for the next deployment, which is not called here."""

    remote = None


def _made(kind: type, given: list[Any]) -> Any:
    if not hasattr(kind, "__serve_build_asgi_app__"):
        return kind(*given)
    made = kind.__bases__[0](*given)  # the class as it is written; what `serve.ingress` makes of it needs a cluster
    made.app = asyncio.run(made.__serve_build_asgi_app__())
    return made


def _now() -> dict[str, Any]:
    """CPU since the interpreter began, in seconds; memory that is this process's alone, in MB."""
    own = psutil.Process().memory_full_info().uss / 2**20
    return {"cpu": process_time(), "mb": own, "heavy": [name for name in HEAVY if name in sys.modules]}


def rows(runs: dict[str, list[list[dict[str, Any]]]]) -> Iterator[Sequence[str]]:
    """The floor, then each deployment beside it; medians."""
    floors = [run[0] for found in runs.values() for run in found]
    cpu, mb = (median(floor[part] for floor in floors) for part in ("cpu", "mb"))
    yield "import ray.serve", f"{cpu:.2f}", "", f"{mb:.0f}", "", " ".join(floors[0]["heavy"])
    for kind, found in runs.items():
        own = {part: median(run[1][part] for run in found) for part in ("cpu", "mb")}
        more = {part: median(run[1][part] - run[0][part] for run in found) for part in ("cpu", "mb")}
        heavy = " ".join(name for name in found[0][1]["heavy"] if name not in found[0][0]["heavy"])
        yield kind, f"{own['cpu']:.2f}", f"+{more['cpu']:.2f}", f"{own['mb']:.0f}", f"+{more['mb']:.0f}", heavy


def main() -> None:
    """Print the table; with a deployment and its arguments, that one's figures as JSON."""
    if sys.argv[1:]:
        print(orjson.dumps(measured(sys.argv[1], orjson.loads(sys.argv[2]))).decode())
        return
    from rich.console import Console
    from rich.table import Table

    from benchmarks import servers
    from forewarn import usecases
    from forewarn.releases import Releases, ReleaseState
    from forewarn.settings import Settings
    from forewarn.tasks import Classification

    case = next(case for case in usecases.every().values() if isinstance(case.task, Classification))
    with TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder) / "home")
        releases = Releases(settings.packages)
        releases.admit(case, "v1", servers.package(case).save(Path(folder) / "package"))
        releases.put_up(case, ReleaseState(champion="v1"))
        given = arguments(case.name)
        runs = {kind: [fresh(kind, given[kind], settings.home) for _ in range(ROUNDS)] for kind in KINDS}
    shown = Table("", "CPU, s", "of ours", "own memory, MB", "of ours", "libraries", title="One process, stood up")
    for row in rows(runs):
        shown.add_row(*row)
    Console(width=140).print(shown)


if __name__ == "__main__":
    main()

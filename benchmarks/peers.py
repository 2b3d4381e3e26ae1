"""Other model servers with the bare booster: no key, no schema, no features, a list of numbers in and a number out.

Each lives in an environment of its own, made by `make bench-peers`, because what they pin excludes what Forewarn needs.
MLflow is here anyway.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

from benchmarks import servers
from benchmarks.rows import BODIES, rows_of
from benchmarks.servers import Server
from forewarn import scoring
from forewarn.settings import PROJECT
from forewarn.trees import Trees
from forewarn.usecase import UseCase
from jobs import machine

HERE = Path(__file__).parent
Start = Callable[[UseCase], AbstractContextManager[Server]]


def installed() -> dict[str, Start]:
    """Name -> how it is started, of those whose environments are there."""
    found: dict[str, Start] = {"MLflow's scoring server": mlflow}
    for name, start in (("BentoML", bentoml), ("MLServer", mlserver)):
        python = PROJECT / f".venv-{name.lower()}" / "bin" / "python"
        if python.exists():
            found[name] = partial(start, python=python)
    return found


@contextmanager
def bentoml(case: UseCase, *, python: Path) -> Iterator[Server]:
    """`bentoml serve` with its defaults (benchmarks/peer_bentoml.py)."""
    with _model(case) as (file, rows):
        port = machine.free_port()
        command = [str(python), "-m", "bentoml", "serve", "peer_bentoml:Booster", "--port", str(port)]
        place = {"PYTHONPATH": str(HERE), "BENTOML_HOME": str(file.parent), "BENTOML_DO_NOT_TRACK": "true"}
        bodies = [orjson.dumps({"rows": [row]}) for row in rows]
        with _peer(command, {**place, "MODEL": str(file)}, port, "readyz", "predict", bodies) as server:
            yield server


@contextmanager
def mlserver(case: UseCase, *, python: Path) -> Iterator[Server]:
    """`mlserver start` with the model in its own process, which was the fastest of its ways."""
    with _model(case) as (file, rows):
        port, folder = machine.free_port(), file.parent
        ports = {"http_port": port, "grpc_port": machine.free_port(), "metrics_port": machine.free_port()}
        settings = {**ports, "parallel_workers": 0, "debug": False, "host": "127.0.0.1"}
        (folder / "settings.json").write_bytes(orjson.dumps(settings))
        model = {"name": "booster", "implementation": "peer_mlserver.Booster", "parameters": {"uri": str(file)}}
        (folder / "model-settings.json").write_bytes(orjson.dumps(model))
        command = [str(python), "-m", "mlserver.cli.main", "start", str(folder)]
        bodies = [orjson.dumps({"inputs": [_tensor(row)]}) for row in rows]
        ready, path = "v2/models/booster/ready", "v2/models/booster/infer"
        with _peer(command, {"PYTHONPATH": str(HERE)}, port, ready, path, bodies) as server:
            yield server


@contextmanager
def mlflow(case: UseCase) -> Iterator[Server]:
    """`mlflow models serve` with its defaults."""
    import mlflow.xgboost  # five seconds

    with _model(case) as (file, rows):
        folder, port = file.parent / "mlflow", machine.free_port()
        booster = servers.package(case).estimator
        assert isinstance(booster, Trees)
        mlflow.xgboost.save_model(booster.booster, str(folder), pip_requirements=[])
        command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(folder),
                   "--port", str(port), "--env-manager", "local"]  # fmt: skip
        bodies = [orjson.dumps({"inputs": [row]}) for row in rows]
        with _peer(command, {}, port, "ping", "invocations", bodies) as server:
            yield server


@contextmanager
def _model(case: UseCase) -> Iterator[tuple[Path, list[list[float]]]]:
    """The booster's file, and rows of its matrix."""
    package = servers.package(case)
    assert isinstance(package.estimator, Trees)
    rows = package.prepare(scoring.validate(case, rows_of(case, BODIES)).values)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.ubj"
        package.estimator.booster.save_model(file)
        yield file, rows.tolist()


@contextmanager
def _peer(
    command: list[str], environment: Mapping[str, str], port: int, ready: str, path: str, bodies: list[bytes]
) -> Iterator[Server]:
    bare = {"PATH": f"{Path(command[0]).parent}{os.pathsep}{os.environ['PATH']}"}
    with servers.running(command, {**bare, **environment}, errors=subprocess.DEVNULL) as process:
        servers.wait(f"http://127.0.0.1:{port}/{ready}", process)
        url = f"http://127.0.0.1:{port}/{path}"
        yield Server(url=url, bodies=bodies, processes=lambda: [process, *process.children(recursive=True)])


def _tensor(row: list[float]) -> dict[str, object]:
    return {"name": "rows", "shape": [1, len(row)], "datatype": "FP32", "data": row}

"""The final fit by xgboost-ray: a library of 2023, kept for those who ask for it. `training.distributed` is ours."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from ray.exceptions import RayError
from ray.util import get_node_ip_address

from forewarn.errors import CannotStart
from forewarn.features import Matrix
from forewarn.tasks import Vector
from forewarn.trees import Boosting
from training import distributed

# What it raises where it does not go together with the rest: RuntimeError and TimeoutError stand for its actors' own.
BROKEN = (TypeError, AttributeError, ValueError, RuntimeError, TimeoutError, RayError)


def fit_booster(
    objective: str,
    matrix: Matrix,
    labels: Vector,
    levels: tuple[int, ...],
    *,
    seed: int,
    workers: int,
    folder: Path,  # noqa: ARG001
    device: str = "cpu",
    **params: float,
) -> xgboost.Booster:
    """As `training.distributed.fit_booster`, but without GPUs, and a killed worker ends it; the folder stays empty.

    Raises:
        CannotStart: xgboost-ray is not installed or fails, or the cluster has no room for so many workers.
    """
    with _told_in_a_sentence(), _tracker_of_today() as xgboost_ray:
        if device != "cpu":
            raise CannotStart("xgboost-ray asks for GPUs as XGBoost no longer knows it; use --backend ray-train")
        distributed.refuse_crowd(workers, {"CPU": distributed.CPUS_PER_WORKER})
        asked = Boosting.of(objective, levels, seed=seed, **params)
        order = np.random.default_rng(seed).permutation(len(matrix))
        return _fit(xgboost_ray, asked, matrix[order], labels[order], workers)


def refuse_missing() -> None:
    """Tell at once what `fit_booster` would tell after a search.

    Raises:
        CannotStart: xgboost-ray is not installed, or is not what it was.
    """
    with _told_in_a_sentence(), _tracker_of_today():
        pass


def _fit(xgboost_ray: Any, asked: Boosting, matrix: Matrix, labels: Vector, workers: int) -> xgboost.Booster:
    """No `nthread`: xgboost-ray refuses more threads than CPUs, so 1 of 0.5; OMP_NUM_THREADS is 1 in Ray's workers."""
    params = {**asked.params, "nthread": 0}
    rows = xgboost_ray.RayDMatrix(matrix, labels)
    rows.update_matrix_properties = partial(_tell_kinds, kinds=asked.kinds)
    share = xgboost_ray.RayParams(
        num_actors=workers, cpus_per_actor=distributed.CPUS_PER_WORKER, gpus_per_actor=0, verbose=False
    )
    booster: xgboost.Booster = xgboost_ray.train(params, rows, asked.rounds, ray_params=share)
    booster.set_param({"nthread": 1})
    return booster


def _tell_kinds(matrix: xgboost.DMatrix, kinds: list[str]) -> None:
    """Called in an actor for its shard. RayDMatrix takes `feature_types` and forgets them, so codes were numbers."""
    matrix.feature_names, matrix.feature_types = None, kinds


@contextmanager
def _told_in_a_sentence() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise CannotStart(
            f"xgboost-ray cannot be imported ({_first_line(error)}); install it with "
            "pip install 'forewarn[xgboost-ray]', or use --backend ray-train"
        ) from error
    except BROKEN as error:
        raise CannotStart(
            f"xgboost-ray {version('xgboost-ray')} failed with XGBoost {version('xgboost')} and Ray {version('ray')} "
            f"({_first_line(error)}); use --backend ray-train"
        ) from error


@contextmanager
def _tracker_of_today() -> Iterator[Any]:
    """xgboost_ray, its tracker replaced meanwhile: it starts XGBoost's with the arguments that 2.1 did away with."""
    module: Any = import_module("xgboost_ray").main
    usual = module._start_rabit_tracker
    module._start_rabit_tracker = _start_tracker
    try:
        yield module
    finally:
        module._start_rabit_tracker = usual


@dataclass(frozen=True)
class _Waiting:
    """The thread that waits for the workers to part, with the face of the process that xgboost-ray expects."""

    thread: threading.Thread
    pid: int = field(default_factory=os.getpid)

    def join(self, timeout: float) -> None:
        self.thread.join(timeout)

    def terminate(self) -> None:
        """Nothing: a daemon thread ends with the program, and the tracker with the thread."""


def _start_tracker(workers: int) -> tuple[_Waiting, dict[str, Any]]:
    """XGBoost's tracker, and what its workers need to find it. Its arguments can be had while someone waits for it."""
    here = get_node_ip_address()  # type: ignore[no-untyped-call]
    tracker = xgboost.RabitTracker(n_workers=workers, host_ip=here, sortby="task")
    tracker.start()
    thread = threading.Thread(target=tracker.wait_for, daemon=True)
    thread.start()
    return _Waiting(thread), dict(tracker.worker_args())


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]

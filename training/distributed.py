"""The final fit on several workers: Ray Train keeps them alive, XGBoost adds up what their shards of the rows say.

A run goes on from its last checkpoint, after a worker was killed as after the driver was: its folder is named by what
was asked, so the same order finds it again and another order never does.
"""

import json
import os
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import ray
import xgboost
from ray import train
from ray.data import Dataset, from_blocks
from ray.train import Checkpoint
from ray.train.v2.api.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError
from ray.train.xgboost import RayTrainReportCallback, XGBoostTrainer

from forewarn.errors import CannotStart, ForewarnError
from forewarn.features import Matrix
from forewarn.tasks import Vector
from forewarn.trees import Boosting

# Two workers fit on two cores beside a serving application's 0.5. Each computes in one thread.
CPUS_PER_WORKER = 0.5
ROWS_PER_BLOCK = 50_000
MAX_FAILURES = 3
# Ray waits a minute each time for room that another job takes up now.
MAX_MINUTES_WAITING = 10
# A checkpoint costs up to 2 s: Ray Train takes one report per worker and poll (RAY_TRAIN_HEALTH_CHECK_INTERVAL_S).
CHECKPOINTS = 5
MIN_ROUNDS_BETWEEN = 10
STARTS = "starts.jsonl"
ROWS = "rows"


def fit_booster(
    objective: str,
    matrix: Matrix,
    labels: Vector,
    levels: tuple[int, ...],
    *,
    seed: int,
    workers: int,
    folder: Path,
    device: str = "cpu",
    **params: float,
) -> xgboost.Booster:
    """Trees as `Boosting.of` asks for them, learned by `workers` processes of the connected Ray.

    Args:
        matrix: shape (n, columns), float32; NaN is missing, codes of categories are 0..levels-1.
        labels: shape (n,).
        levels: per column the number of categories, 0 for numbers.
        folder: where checkpoints go; every machine of the cluster must see it. The caller removes it.
        device: "cpu", or "cuda" for one GPU per worker.

    Raises:
        CannotStart: the cluster has no room for so many workers, or none came free in ten minutes.
        ForewarnError: the workers kept failing.
    """
    each = {"CPU": CPUS_PER_WORKER, **({"GPU": 1} if device == "cuda" else {})}
    refuse_crowd(workers, each)
    asked = Boosting.of(objective, levels, seed=seed, **params)
    name = f"fit-{_digest(asked, matrix, labels)}"
    asked.params["device"] = device
    trainer = _Trainer(
        partial(_learn, asked, folder / name / STARTS),
        datasets={ROWS: _blocks(matrix, labels, seed=seed, workers=workers)},
        dataset_config=_WholeBlocks(),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=device == "cuda", resources_per_worker=each),
        run_config=cast(Any, _kept(folder, name)),  # typed as the one of Train V1
    )
    return _ended(trainer)


def device() -> str:
    """Where the connected Ray can train: "cuda" if it has GPUs, else "cpu"."""
    there = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return "cuda" if there.get("GPU") else "cpu"


def refuse_crowd(workers: int, each: dict[str, float]) -> None:
    """Ray would wait for room for ever.

    Raises:
        CannotStart: the machines of this cluster cannot hold the workers, even with nothing else on them.
    """
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    room = sum(min(int(machine.get(kind, 0) / need) for kind, need in each.items()) for machine in machines)
    if room < workers:
        there = {kind: sum(machine.get(kind, 0) for machine in machines) for kind in each}
        raise CannotStart(
            f"{workers} workers of {_said(each)} each were asked for and this cluster, with {_said(there)}, "
            f"has room for {room}; ask for fewer or add machines"
        )


class _Trainer(XGBoostTrainer):
    """Ctrl-C ends the program. Ray would only abort the run, and leave its own handler in place afterwards."""

    def _register_sigint_handler(self, controller: Any) -> None:
        """Leave Python's in place."""


class _WholeBlocks(train.DataConfig):
    """Each worker has the same blocks every time. Ray's own split hands them out as workers come, and drops up to
    `workers` - 1 rows to make shards equal.
    """

    def configure(self, datasets: dict[str, Dataset], world_size: int, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return [{ROWS: shard.iterator()} for shard in datasets[ROWS].split(world_size)]


class _Checkpoints(RayTrainReportCallback):
    """Reports checkpoints alone: a report of each round would hold it up by as much as a checkpoint."""

    def _report_metrics(self, _: dict[str, Any]) -> None:
        pass


def _learn(asked: Boosting, starts: Path) -> None:
    """One worker: from the last checkpoint, if there is one, to the end."""
    checkpoint = train.get_checkpoint()
    earlier = RayTrainReportCallback.get_model(checkpoint) if checkpoint else None
    done = earlier.num_boosted_rounds() if earlier else 0
    _note(starts, done)
    xgboost.train(
        # Another seed, because rounds count from 0 again and would draw the same rows.
        {**asked.params, "seed": asked.params["seed"] + done},
        _shard(asked.kinds),
        asked.rounds - done,
        xgb_model=earlier,
        callbacks=[_Checkpoints(frequency=max(MIN_ROUNDS_BETWEEN, asked.rounds // CHECKPOINTS))],
    )


def _note(starts: Path, done: int) -> None:
    """Who started, and after how many rounds: what to look at when a run was interrupted."""
    line = {"rank": train.get_context().get_world_rank(), "pid": os.getpid(), "rounds_done": done}
    with starts.open("a") as file:
        file.write(json.dumps(line) + "\n")


def _shard(kinds: list[str]) -> xgboost.DMatrix:
    """This worker's rows. The number of a column's categories is agreed on among the workers by XGBoost itself: a
    shard may lack some.
    """
    blocks = train.get_dataset_shard(ROWS).iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0)
    rows = np.concatenate([np.column_stack(list(block.values())) for block in blocks])
    return xgboost.DMatrix(rows[:, :-1], rows[:, -1], feature_types=kinds, enable_categorical=True, nthread=1)


def _blocks(matrix: Matrix, labels: Vector, *, seed: int, workers: int) -> Dataset:
    """The shuffled rows, so that a sorted file does not give a worker one class; as many blocks for each worker.

    Built here, not by `from_numpy`: that starts tasks of one CPU, which beside a serving application two cores lack.
    """
    order = np.random.default_rng(seed).permutation(len(matrix))
    pieces = workers * -(-len(matrix) // (ROWS_PER_BLOCK * workers))
    made: Dataset = from_blocks([_block(matrix[rows], labels[rows]) for rows in np.array_split(order, pieces)])
    return made


def _block(rows: Matrix, labels: Vector) -> pa.Table:
    """Labels become float32, as XGBoost keeps them."""
    columns = [*rows.T, labels.astype(np.float32)]
    arrays = [pa.array(np.ascontiguousarray(column, dtype=np.float32)) for column in columns]
    return pa.Table.from_arrays(arrays, names=[str(place) for place in range(len(columns))])


def _digest(asked: Boosting, matrix: Matrix, labels: Vector) -> str:
    what = sha256(json.dumps([asked.params, asked.rounds, asked.kinds], sort_keys=True).encode())
    for array in (matrix, labels):
        what.update(np.ascontiguousarray(array).data)
    return what.hexdigest()[:16]


def _said(amounts: dict[str, float]) -> str:
    return " and ".join(f"{amount:g} {kind}" for kind, amount in amounts.items())


def _kept(folder: Path, name: str) -> RunConfig:
    return RunConfig(
        name=name,
        storage_path=str(folder),
        failure_config=FailureConfig(max_failures=MAX_FAILURES, controller_failure_limit=MAX_MINUTES_WAITING),
        checkpoint_config=CheckpointConfig(num_to_keep=1),
    )


def _ended(trainer: XGBoostTrainer) -> xgboost.Booster:
    """Run it to its end.

    Raises:
        ForewarnError: the workers kept failing.
        CannotStart: no room came free.
    """
    try:
        checkpoint = trainer.fit().checkpoint
    except WorkerGroupError as error:
        last = str(next(iter(error.worker_failures.values()))).strip().splitlines()[-1]
        raise ForewarnError(f"workers failed {MAX_FAILURES + 1} times; the last time: {last[:200]}") from error
    except TrainingFailedError as error:
        raise CannotStart(
            f"the fit did not get under way within {MAX_MINUTES_WAITING} minutes "
            f"({str(error).strip().splitlines()[0][:200]}); try again when less runs on this cluster"
        ) from error
    booster: xgboost.Booster = RayTrainReportCallback.get_model(cast(Checkpoint, checkpoint))
    booster.set_param({"nthread": 1})
    return booster

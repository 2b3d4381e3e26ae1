"""A file scored by the real job, beside the limit: one process on one core that does nothing but what must be done.

The limit reads the same Parquet file, makes the same matrix with the package's own features and calls XGBoost's
`inplace_predict`, one thread. It holds nothing against the schema, makes no answers and writes nothing, and its clock
starts when all is imported and loaded. The job validates, answers and writes besides. It runs on a Ray cluster that is
up, as beside a service, and its speed is told twice: with all that it takes to connect and to start its actors, and
once started: from an actor's first part until the output was whole. Seconds of CPU, too, for a machine that has other
work: of two sizes, what a further row costs. Memory is what all processes hold (proportional set size), in a run of its
own: to look takes time.

    make bench-batch
    python -m benchmarks.batch --rows 1000000 10000000 --rounds 3
"""

import argparse
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic, process_time, sleep
from typing import Any

import numpy as np
import orjson
import psutil
import pyarrow as pa
from pyarrow import compute, parquet
from rich.console import Console
from rich.table import Table

from benchmarks import servers
from forewarn import usecases
from forewarn.blocks import Block, Numbers
from forewarn.fields import Picked
from forewarn.package import ModelPackage
from forewarn.releases import Releases
from forewarn.scoring import SLICE
from forewarn.settings import PROJECT, Settings
from forewarn.tasks import Classification
from forewarn.usecase import UseCase
from jobs import cluster, machine
from jobs.lines import PART_ROWS

DRAWN = 50_000
# As pyarrow and pandas write files by themselves.
GROUP_ROWS = 2**20
ROUNDS = 5
LOOK_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of the job.

    Attributes:
        told: its line of JSON.
        cpu: seconds of all its processes, of those that ended on the way until the last look.
        peak: bytes that all its processes held; 0 if nobody looked.
    """

    told: dict[str, Any]
    cpu: float
    peak: int


@dataclass(frozen=True, kw_only=True)
class Size:
    """What was found at one number of rows; CPU in seconds."""

    rows: int
    job_cpu: float
    limit_cpu: float


def generate(case: UseCase, file: Path, rows: int) -> None:
    """Made-up rows: the generator's in any order, again and again, each with an id of its own."""
    drawn = pa.Table.from_pylist([_unlabelled(case, row) for row in case.sample(min(rows, DRAWN), seed=3)])
    random = np.random.default_rng(0)
    with parquet.ParquetWriter(file, drawn.schema) as writer:
        for start in range(0, rows, GROUP_ROWS):
            again = drawn.take(random.integers(0, len(drawn), min(GROUP_ROWS, rows - start)))
            writer.write_table(_named(case, again, start))


def _unlabelled(case: UseCase, row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != case.target}


def _named(case: UseCase, rows: pa.Table, start: int) -> pa.Table:
    place = next(i for i, name in enumerate(rows.column_names) if name in case.spec[case.key].aliases)
    numbers = pa.array(np.arange(start, start + len(rows))).cast(pa.string())
    ids = compute.binary_join_element_wise("id", numbers, "-")
    return rows.set_column(place, rows.column_names[place], ids)


def limit(case: UseCase, package: ModelPackage, file: Path) -> Iterator[Any]:
    """Scores, a piece of the file at a time: read, features, `inplace_predict`, and nothing else."""
    wanted = {name: spec.name for spec in case.inputs for name in (*spec.aliases, spec.name)}
    words = [name for name, field in wanted.items() if case.spec[field].kind == "category"]
    with parquet.ParquetFile(file, read_dictionary=words) as table:
        names = [name for name in table.schema_arrow.names if name in wanted]
        for batch in table.iter_batches(PART_ROWS, columns=names, use_threads=False):
            found = {wanted[name]: _bare(batch[name]) for name in names}
            for start in range(0, len(batch), SLICE):
                part = slice(start, min(start + SLICE, len(batch)))
                columns = {name: column.rows(part) for name, column in found.items()}
                block = Block(count=part.stop - part.start, columns=columns, ignored=[])
                yield package.predict(package.features.matrix_of_block(block))


def _bare(array: pa.Array) -> Numbers | Picked:
    """A column as it is, nothing asked of it."""
    if not pa.types.is_dictionary(array.type):
        return Numbers(values=array.cast(pa.float64()).to_numpy(zero_copy_only=False), whole=False)
    return Picked(tuple(array.dictionary.to_pylist()), array.indices.fill_null(-1).to_numpy(zero_copy_only=False))


def limited(case: UseCase, home: Path, file: Path, scores: Path) -> dict[str, float]:
    """What the limit's own process says: seconds, and seconds of CPU."""
    command = [sys.executable, "-m", "benchmarks.batch", "--limit", case.name, str(file), str(scores)]
    environment = {**os.environ, "FOREWARN_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, cwd=PROJECT, check=True, stdout=subprocess.PIPE)
    said: dict[str, float] = orjson.loads(done.stdout)
    return said


def _be_the_limit(name: str, file: str, scores: str) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    case, releases = usecases.get(name), Releases(Settings().packages)
    package = releases.load(case, str(releases.champion(case)))
    began, cpu = monotonic(), process_time()
    found = list(limit(case, package, Path(file)))
    print(orjson.dumps({"seconds": monotonic() - began, "cpu": process_time() - cpu}).decode())
    np.save(scores, np.concatenate(found))


def job(case: UseCase, found: dict[str, Any], home: Path, file: Path, output: Path, *, look: bool) -> Job:
    """Run the real thing to its end, on a cluster that is up."""
    command = [sys.executable, "-m", "jobs.score", case.name, "--input", str(file), "--output", str(output)]
    environment = {**os.environ, "FOREWARN_HOME": str(home), "RAY_ADDRESS": found["address"]}
    cpu: dict[int, float] = {}
    before = {one.pid: _cpu(one) for one in _family()}
    peak = 0
    with subprocess.Popen([*command, "--overwrite"], env=environment, cwd=PROJECT, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as running:  # fmt: skip
        while running.poll() is None:
            family = _family()
            cpu |= {one.pid: _cpu(one) for one in family}
            peak = max(peak, sum(map(_held, family)) if look else 0)
            sleep(LOOK_SECONDS)
        said = running.stdout.read() if running.stdout else b""
    return Job(told=orjson.loads(said), cpu=sum(cpu.values()) - sum(before.values()), peak=peak)


def _family() -> list[psutil.Process]:
    """The job's processes and Ray's: we started them all."""
    return psutil.Process().children(recursive=True)


def _cpu(process: psutil.Process) -> float:
    try:
        used = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(used.user + used.system)


def _held(process: psutil.Process) -> int:
    """Bytes; what it shares with others is parted among them."""
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def same(output: Path, scores: Path) -> bool:
    """Whether the job's scores are the limit's, to the last bit and in order."""
    schema = parquet.read_schema(output)
    name = "probability" if "probability" in schema.names else "prediction"
    return bool(np.array_equal(parquet.read_table(output, columns=[name])[name].to_numpy(), np.load(scores)))


def measured(case: UseCase, found: dict[str, Any], folder: Path, rows: int, rounds: int, out: Console) -> Size:
    """Alternate the two on one file; print a line for each round, then medians."""
    home, file, scores, output = folder / "home", folder / "rows.parquet", folder / "limit.npy", folder / "out.parquet"
    generate(case, file, rows)
    run = partial(job, case, found, home, file, output)
    looked = run(look=True)
    pairs = [(limited(case, home, file, scores), run(look=False)) for _ in range(rounds)]
    out.print(table(case, rows, [(held, done.told) for held, done in pairs]))
    out.print(f"peak memory of all processes, Ray's own included: {looked.peak / 2**20:,.0f} MiB; "
              f"scores equal to the limit's to the bit: {same(output, scores)}")  # fmt: skip
    ratios = [done.told["rows_per_second_once_started"] * held["seconds"] / rows for held, done in pairs]
    out.print(f"ratio once started, median of {rounds}: {median(ratios):.2f}")
    cpu = median(done.cpu for _, done in pairs)
    return Size(rows=rows, job_cpu=cpu, limit_cpu=median(held["cpu"] for held, _ in pairs))


def further(small: Size, large: Size) -> str:
    """What a further row costs each, whatever else the machine does; and what the cores make of that at best."""
    more = large.rows - small.rows
    mine = (large.job_cpu - small.job_cpu) / more * 1e6
    limit_ = (large.limit_cpu - small.limit_cpu) / more * 1e6
    best = (os.cpu_count() or 1) * limit_ / mine
    return f"CPU of a further row: job {mine:.2f} µs, limit {limit_:.2f} µs; ratio with all cores busy {best:.2f}"


def table(case: UseCase, rows: int, pairs: list[tuple[dict[str, float], dict[str, Any]]]) -> Table:
    """Rows per second of each round."""
    columns = ("limit, rows/s", "its CPU, µs a row", "job with its start", "once started", "ratio with start",
               "ratio once started")  # fmt: skip
    shown = Table(*columns, title=f"{rows:,} rows of {case.name}, {os.cpu_count()} cores")
    for held, told in pairs:
        limit_rate, steady = rows / held["seconds"], told["rows_per_second_once_started"]
        figures = (limit_rate, held["cpu"] / rows * 1e6, told["rows_per_second"], steady)
        ratios = (told["rows_per_second"] / limit_rate, steady / limit_rate)
        shown.add_row(*(f"{figure:,.{1 if figure < 100 else 0}f}" for figure in figures), *(f"{r:.2f}" for r in ratios))
    return shown


def _wishes() -> Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--use-case", help="else the first that is about an event")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--limit", nargs=3, metavar=("USE_CASE", "FILE", "SCORES"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Print a table and the ratio."""
    asked = _wishes()
    if asked.limit:
        _be_the_limit(*asked.limit)
        return
    events = (case for case in usecases.every().values() if isinstance(case.task, Classification))
    case = usecases.get(asked.use_case) if asked.use_case else next(events)
    with TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder) / "home", dashboard_port=machine.free_port())
        for one in case.profiles:
            servers.install(one, settings)
        out = Console(width=140)
        with cluster.started(settings) as found:
            sizes = [measured(case, found, Path(folder), rows, asked.rounds, out) for rows in sorted(asked.rows)]
        if len(sizes) > 1:
            out.print(further(sizes[0], sizes[-1]))


if __name__ == "__main__":
    main()

"""Score a file or a folder of any length through the one path, in a pool of Ray Data actors.

    forewarn score USE_CASE --input rows.csv --output scores.csv
    ray job submit --working-dir . -- python -m jobs.score USE_CASE --input /at/rows.csv --output /at/scores.csv

A line of the output is the service's answer, with the row's number (from 0, over all files in the order of their
names) and its subject's id: it is the answer to whoever asked, and lies where they said. Beside scores.csv lies
scores.rejects.csv: number, file and reason of every row that could not be scored, and nothing else of it.

Exits 0 when done, 1 with one sentence if it cannot be or not one row was good, 2 on bad arguments.
"""

import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import orjson
import pyarrow as pa
import typer
from pyarrow import compute, csv, parquet

from forewarn import usecases
from forewarn.errors import ForewarnError
from forewarn.ledger import files
from forewarn.settings import Settings
from jobs import cluster, nightly, submit, terminal
from jobs.lines import Order, Scorer
from jobs.pace import Pace, Tell, progress
from jobs.stream import Source, Trace, piece_of, trace_of
from jobs.train import absolute
from jobs.unwilling import OPTED_OUT

if TYPE_CHECKING:
    from ray.data import Dataset

REJECTS = pa.schema([("row", pa.int64()), ("file", pa.string()), ("reason", pa.string())])
# Ray Data would join parts of a file until they are so large; each is to go to an actor as it is.
BLOCK_BYTES = 1
# Small, because a service may hold most of two CPUs.
ACTOR_CPUS = 0.25

Write = Callable[[pa.Table], None]


def _in_parquet(path: Path, schema: pa.Schema) -> parquet.ParquetWriter:
    """Columns of few different words are written as such, and no others tried: a third of the time. The file says
    nothing of it; whoever reads it finds text.
    """
    words = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    return parquet.ParquetWriter(path, schema, use_dictionary=words, store_schema=False)


WRITERS: dict[str, Callable[[Path, pa.Schema], Any]] = {".csv": csv.CSVWriter, ".parquet": _in_parquet}


def score(
    use_case: Annotated[str, typer.Argument(help="Which use case; `forewarn status` lists them.")],
    data: Annotated[
        str, typer.Option("--input", help="Rows: a CSV or Parquet file, a folder of them, or a database or S3 URI.")
    ],
    output: Annotated[Path, typer.Option(help="Where the scores go: a name that ends in .csv or .parquet.")],
    query: Annotated[str, typer.Option(help="SELECT to run, where the URI is a database.")] = "",
    version: Annotated[str | None, typer.Option(help="Which version, such as v3; else the champion.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Add reasons and contributions.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Actors that score, a quarter of a CPU each.")] = 2,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there.")] = False,
    keep: Annotated[
        bool, typer.Option("--nightly", help="Keep the scores, to be told where no version can answer.")
    ] = False,
    submit_job: Annotated[bool, typer.Option("--submit", help="Run as a job on the running cluster.")] = False,
) -> None:
    """Score every row of a file or folder; write the answers, and beside them the rejected rows with reasons.

    Example: forewarn score USE_CASE --input customers.csv --output scores.csv
    """
    case, settings = usecases.get(use_case), Settings()
    output = _settled(output, overwrite)
    if submit_job:
        options = {"--input": absolute(data), "--output": str(output), "--query": query, "--version": version or ""}
        named = [word for option, value in options.items() if value for word in (option, value)]
        wanted = {"--explain": explain, "--overwrite": overwrite, "--nightly": keep}
        flags = [flag for flag, given in wanted.items() if given]
        submit.follow(settings, "jobs.score", [case.name, *named, *flags, "--workers", str(workers)])
        return
    pace = Pace()
    order = Order.of(case, settings, version=version, explained=explain, at=datetime.now(UTC))
    source = Source.of(data, case, query)
    with cluster.connected(settings):
        pace.connected()
        done = run(order, source, output, workers=workers, pace=pace)
        pace.ended(done["rows"])
    files.register(settings, case.name, str(order.versions[case.name]), output, done, at=order.at)
    if keep:
        done["kept"] = nightly.keep(settings, case, output, at=order.at)
    _say(done, output, pace.seconds)
    told = {"use_case": case.name, "version": order.versions[case.name], **done, "output": str(output)}
    print(orjson.dumps(told | {"rejects": str(rejects_of(output)), **pace.told()}).decode())


def run(order: Order, source: Source, output: Path, *, workers: int, pace: Pace | None = None) -> dict[str, int]:
    """Score within a connected Ray: how many rows there were, how many were scored, how many rejected.

    Raises:
        BadInput: a file cannot be read to its end.
        ForewarnError: not one row was good, or a row was lost. There is no output then.
    """
    columns = pa.schema([pa.field("row", pa.int64()), *order.schema])
    with _in_order(), _quietly(), _whole(output, columns) as kept:
        lines = _scored(source.dataset(order.part_rows), order, workers)
        # The blocks are closed before Ray is: else, after an error, Ray Data would start another Ray to end in.
        with _whole(rejects_of(output), REJECTS) as rejects, progress() as tell, closing(_blocks(lines)) as blocks:
            done = collect((pace or Pace()).noting(blocks), source.names, kept, rejects, tell)
        if not done["scored"]:
            raise ForewarnError(f"not one of {done['rows']} rows could be scored; read why in {rejects_of(output)}")
    return done


def _scored(rows: "Dataset", order: Order, workers: int) -> "Dataset":
    from ray.data import ActorPoolStrategy

    return rows.map_batches(
        Scorer,
        fn_constructor_args=(order,),
        batch_size=1,
        batch_format="pyarrow",
        # A pool that must have them all warns of an input too short to keep them busy.
        compute=ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        num_cpus=ACTOR_CPUS,
    )


def collect(blocks: Iterable[pa.Table], names: list[str], kept: Write, rejects: Write, tell: Tell) -> dict[str, int]:
    """Write each block as it comes, good rows here and bad ones there.

    Raises:
        ForewarnError: a row that was read did not come, or came out of order.
    """
    rows = rejected = opted_out = 0
    awaited = (0, 0)
    for block in blocks:
        awaited = _follow(awaited, trace_of(block), len(names))
        file, lines = names[trace_of(block)[0]], piece_of(block)
        bad, out = _numbered(lines, rows, file, kept, rejects)
        rows, rejected, opted_out = rows + len(lines), rejected + bad - out, opted_out + out
        tell(rows)
    if awaited != (len(names), 0):
        raise ForewarnError(f"rows were lost after the first {rows}; score the input again")
    return {"rows": rows, "scored": rows - rejected - opted_out, "rejected": rejected, "opted_out": opted_out}


def _numbered(lines: pa.Table, first: int, file: str, kept: Write, rejects: Write) -> tuple[int, int]:
    """Write lines with the numbers of their rows; how many were none, and of those how many by their people's wish."""
    numbered = lines.append_column("row", pa.array(np.arange(first, first + len(lines))))
    bad: int = len(lines) - lines["reason"].null_count
    if bad:
        where = compute.is_valid(lines["reason"])
        wrong, numbered = numbered.filter(where), numbered.filter(compute.invert(where))
        rejects(wrong.append_column("file", pa.repeat(file, bad)))
    kept(numbered)
    return bad, int(compute.sum(compute.equal(lines["reason"], OPTED_OUT)).as_py() or 0) if bad else 0


def rejects_of(output: Path) -> Path:
    """Where the rejected rows of an output are listed."""
    return output.with_name(f"{output.stem}.rejects.csv")


def _follow(awaited: tuple[int, int], trace: Trace, files: int) -> tuple[int, int]:
    """The row that must come after this part, as (file, place)."""
    file, place, rows, last = trace
    if (file, place) != awaited or file >= files:
        raise ForewarnError(f"row {awaited[1]} of input file {awaited[0]} was lost; score the input again")
    return (file + 1, 0) if last else (file, place + rows)


def _blocks(lines: "Dataset") -> Generator[pa.Table, None, None]:
    """Blocks as the actors make them; what went wrong in one, as our own error."""
    from ray.exceptions import RayError

    try:
        yield from lines.iter_batches(batch_size=None, batch_format="pyarrow")
    except RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, ForewarnError):
            raise cause from None
        said = str(error).strip().splitlines()[-1]
        raise ForewarnError(f"the cluster could not finish ({said[:200]}); look into the job's logs") from error


@contextmanager
def _in_order() -> Iterator[None]:
    """Ray Data's ways for the length of the block: rows in order, small blocks, nothing printed."""
    from ray.data import DataContext

    context = DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.target_max_block_size = BLOCK_BYTES
    context.raise_original_map_exception = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    with DataContext.current(context):
        yield


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep Ray's own lines from a terminal; its log files have them.

    Ray's C++ writes straight to file descriptor 2 whenever Ray Data makes actors that may restart (ray #57733).
    """
    from ray._private.log import PlainRayHandler

    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, PlainRayHandler):
            handler.setLevel(logging.CRITICAL)
    if not terminal.console.is_terminal:
        yield
        return
    ours, before = os.dup(2), terminal.console.file
    with Path(os.devnull).open("w") as nowhere, os.fdopen(ours, "w") as screen:
        os.dup2(nowhere.fileno(), 2)
        terminal.console.file = screen
        try:
            yield
        finally:
            os.dup2(ours, 2)
            terminal.console.file = before


@contextmanager
def _whole(path: Path, schema: pa.Schema) -> Iterator[Write]:
    """Write these columns of tables to a file that takes this name once it is whole, and is gone if it never is.

    Raises:
        ForewarnError: it cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with WRITERS[path.suffix](aside, schema) as writer:
            yield lambda table: writer.write_table(table.select(schema.names))
        aside.replace(path)
    except OSError as error:
        raise ForewarnError(f"{path}: cannot be written ({error}); check the folder and the space left") from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def _settled(output: Path, overwrite: bool) -> Path:
    """The output's absolute path, if it is one that may be written."""
    if output.suffix not in WRITERS:
        raise typer.BadParameter(f"{output}: must end in .csv or .parquet", param_hint="--output")
    path = output.expanduser().resolve()
    for there in (path, rejects_of(path)):
        if there.exists() and not overwrite:
            raise ForewarnError(f"{there} is there already; choose another name, or replace it with --overwrite")
    return path


def _say(done: dict[str, int], output: Path, seconds: float) -> None:
    left = done["rejected"] + done["opted_out"]
    rejected = f", {left:,} left out: read why in {rejects_of(output)}" if left else ""
    terminal.console.print(
        f"[green]✓[/] {done['scored']:,} rows scored into {output} [dim]({seconds:.0f} s)[/]{rejected}", soft_wrap=True
    )


if __name__ == "__main__":
    terminal.command(score)

"""Score a file or a folder of any length through the one path, in a pool of Ray Data actors.

    forewarn score USE_CASE --input rows.csv --output scores.csv
    ray job submit --working-dir . -- python -m jobs.score USE_CASE --input /at/rows.csv --output /at/scores.csv

A line of the output is the service's answer, with the row's number (from 0, over all files in the order of their
names) and its subject's id: it is the answer to whoever asked, and lies where they said. Beside scores.csv lies
scores.rejects.csv: number, file and reason of every row that could not be scored, and nothing else of it.

Until they are whole both lie in `.scores.csv.parts/`, and a run that was killed goes on from there when the same
command is given again (`jobs.parts`).

Exits 0 when done, 1 with one sentence if it cannot be or not one row was good, 2 on bad arguments.
"""

import logging
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
import typer
from pyarrow import compute

from forewarn import state, submitting, usecases
from forewarn.errors import ForewarnError
from forewarn.ledger import files
from forewarn.manifest import SoFar
from forewarn.settings import Settings
from jobs import cluster, nightly, parts, submit, terminal
from jobs.lines import Order, Scorer
from jobs.outputs import Output
from jobs.pace import Pace, Tell, progress
from jobs.parts import Parts
from jobs.stream import Source, Trace, piece_of, trace_of
from jobs.train import absolute
from jobs.unwilling import OPTED_OUT

if TYPE_CHECKING:
    from ray.data import Dataset

# Ray Data would join parts of a file until they are so large; each is to go to an actor as it is.
BLOCK_BYTES = 1
# Small, because a service may hold most of two CPUs.
ACTOR_CPUS = 0.25


class Keeps(Protocol):
    """Whoever takes the lines, such as `Parts`."""

    @property
    def so_far(self) -> SoFar:
        """How far an earlier attempt came."""

    def kept(self, lines: pa.Table) -> None:
        """Rows that were scored."""

    def rejects(self, lines: pa.Table) -> None:
        """Rows that were not."""

    def note(self, until: SoFar, *, last: bool = False) -> SoFar:
        """So far they have come."""


def score(
    use_case: Annotated[str, typer.Argument(help="Which use case; `forewarn status` lists them.")],
    data: Annotated[
        str, typer.Option("--input", help="Rows: a CSV or Parquet file, a folder of them, or a database or S3 URI.")
    ],
    output: Annotated[
        str, typer.Option(help="Where the scores go: a file or s3:// name in .csv or .parquet, or a database URI.")
    ],
    query: Annotated[str, typer.Option(help="SELECT to run, where the URI is a database.")] = "",
    table: Annotated[str, typer.Option(help="Which table to make, where the output is a database.")] = "",
    version: Annotated[str | None, typer.Option(help="Which version, such as v3; else the champion.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Add reasons and contributions.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Actors that score, a quarter of a CPU each.")] = 2,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an output that is there, and begin an unfinished run anew.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--nightly", help="Keep the scores, to be told where no version can answer.")
    ] = False,
    submit_job: Annotated[bool, typer.Option("--submit", help="Run as a job on the running cluster.")] = False,
    report: Annotated[Path | None, typer.Option(hidden=True, help="Where the JSON line goes, too.")] = None,
    consume: Annotated[
        bool, typer.Option("--consume", hidden=True, help="Remove the input once it is scored.")
    ] = False,
) -> None:
    """Score every row of a file or folder; write the answers, and beside them the rejected rows with reasons.

    A run that was killed goes on where it stopped when the same command is given again.

    Example: forewarn score USE_CASE --input customers.csv --output scores.csv
    """
    case, settings = usecases.get(use_case), Settings()
    wanted = Output.of(output, table, settings, overwrite=overwrite)
    if submit_job:
        options = {"--input": absolute(data), "--output": str(wanted.path) if wanted.to is None else output,
                   "--query": query, "--table": table, "--version": version or ""}  # fmt: skip
        flags = {"--explain": explain, "--overwrite": overwrite, "--nightly": keep}
        words = [*submitting.words(options, flags), "--workers", str(workers)]
        submit.follow(settings, "jobs.score", [case.name, *words])
        return
    order = Order.of(case, settings, version=version, explained=explain, at=datetime.now(UTC))
    try:
        told = _done(order, Source.of(data, case, query), wanted, workers=workers, overwrite=overwrite, keep=keep)
    finally:
        if consume:
            Path(data).unlink(missing_ok=True)
    if report:
        state.write_json(report, told)
    print(orjson.dumps(told).decode())


def _done(order: Order, source: Source, output: Output, *, workers: int, overwrite: bool, keep: bool) -> dict[str, Any]:
    """Do it all; what is to be told of it."""
    pace, settings, case = Pace(), order.settings, usecases.get(order.use_case)
    version = order.versions[case.name]
    with parts.held(order, source, output, overwrite=overwrite) as kept:
        before = kept.so_far.rows
        with cluster.connected(settings):
            pace.connected()
            done = run(kept, source, workers=workers, pace=pace)
            pace.ended(done["rows"] - before)
        at = kept.order.at
        files.register(settings, case.name, version, output.scores, done, at=at)
        if keep:
            done["kept"] = nightly.keep(settings, case, kept.scores, at=at)
    _say(done, output, pace.seconds)
    told = {"use_case": case.name, "version": version, **done, "output": output.scores, "rejects": output.rejects}
    return {**told, "went_on_after": before, **pace.told()}


def run(kept: Parts, source: Source, *, workers: int, pace: Pace | None = None) -> dict[str, int]:
    """Score within a connected Ray what is not scored yet: how many rows there were, how many were scored, rejected.

    Raises:
        BadInput: a file cannot be read to its end.
        ForewarnError: not one row was good, or a row was lost. There is no output then.
    """
    before = kept.so_far
    if (before.file, before.place) != (len(source.names), 0):
        with _in_order(), _quietly(), progress(before.rows) as tell:
            rows = source.dataset(kept.order.part_rows, file=before.file, place=before.place)
            lines = _scored(rows, kept.order, workers)
            # The blocks are closed before Ray is: else, after an error, Ray Data would start another Ray to end in.
            with closing(_blocks(lines)) as blocks:
                collect((pace or Pace()).noting(blocks), source.names, kept, tell)
    return kept.finish()


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


def collect(blocks: Iterable[pa.Table], names: list[str], kept: Keeps, tell: Tell) -> SoFar:
    """Hand over each block as it comes, good rows and bad ones apart; how far that came.

    Raises:
        ForewarnError: a row that was read did not come, or came out of order.
    """
    until = kept.so_far
    for block in blocks:
        awaited = _follow((until.file, until.place), trace_of(block), len(names))
        file, lines = trace_of(block)[0], piece_of(block)
        bad, out = _numbered(lines, until.rows, names[file], kept)
        until = _further(until, awaited, len(lines), bad - out, out)
        until = kept.note(until)
        tell(until.rows)
    if (until.file, until.place) != (len(names), 0):
        raise ForewarnError(f"rows were lost after the first {until.rows}; score the input again")
    return kept.note(until, last=True)


def _further(until: SoFar, awaited: tuple[int, int], rows: int, rejected: int, opted_out: int) -> SoFar:
    began = {} if until.place else {str(until.file): until.rows}
    return SoFar(
        file=awaited[0],
        place=awaited[1],
        rows=until.rows + rows,
        rejected=until.rejected + rejected,
        opted_out=until.opted_out + opted_out,
        began={**until.began, **began},
    )


def _numbered(lines: pa.Table, first: int, file: str, kept: Keeps) -> tuple[int, int]:
    """Hand on lines with their rows' numbers; how many were none, and of those how many by their people's wish."""
    numbered = lines.append_column("row", pa.array(np.arange(first, first + len(lines))))
    bad: int = len(lines) - lines["reason"].null_count
    if bad:
        where = compute.is_valid(lines["reason"])
        wrong, numbered = numbered.filter(where), numbered.filter(compute.invert(where))
        kept.rejects(wrong.append_column("file", pa.repeat(file, bad)))
    kept.kept(numbered)
    return bad, int(compute.sum(compute.equal(lines["reason"], OPTED_OUT)).as_py() or 0) if bad else 0


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


def _say(done: dict[str, int], output: Output, seconds: float) -> None:
    left = done["rejected"] + done["opted_out"]
    rejected = f", {left:,} left out: read why in {output.rejects}" if left else ""
    terminal.console.print(
        f"[green]✓[/] {done['scored']:,} rows scored into {output.scores} [dim]({seconds:.0f} s)[/]{rejected}",
        soft_wrap=True,
    )


if __name__ == "__main__":
    terminal.command(score)

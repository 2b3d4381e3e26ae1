"""Rows of files as a Ray Data set that is read while it is worked on, equal to what `forewarn.sources.load` gives."""

import csv
import pickle
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, iterdecode
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

from forewarn import scoring, sources, tables
from forewarn.errors import BadInput
from forewarn.usecase import UseCase

if TYPE_CHECKING:
    from ray.data import Dataset

# A row's file, its place there, and whether it is the last one: what proves that all rows came, and in order.
TRACE = pa.schema([("file", pa.int32()), ("place", pa.int64()), ("last", pa.bool_())])
# Other than an actor's share, else Ray Data would run the reading inside one of the actors.
READER_CPUS = 0.1
CHUNK_ROWS = 1024
PEEKED_BYTES = 2**20

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the rows come from.

    Attributes:
        names: of the files, in order; a row's `file` is an index into it.
        files: what is read while it is worked on; else
        rows: from a database or S3, all in memory.
    """

    names: list[str]
    files: list[Path] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @classmethod
    def of(cls, uri: str, case: UseCase, query: str = "") -> "Source":
        """Hold the columns against the use case, before any Ray is needed.

        Raises:
            BadInput: it cannot be read, or lacks columns.
        """
        if sources.is_local(uri):
            files = sources.files_of(sources.path_of(uri))
            check(case, files)
            return cls(names=[file.name for file in files], files=[file.resolve() for file in files])
        # Its columns are held against the profile that they are for, as a file's are.
        rows = sources.load(uri, replace(case.otherwise, name=case.name) if case.otherwise else case, query=query)
        _check_columns(case, rows[0])
        return cls(names=[sources.described(uri)], rows=rows)

    def dataset(self) -> "Dataset":
        """Rows for a connected Ray, each pickled in the column `raw`, with their `TRACE`."""
        from ray import data

        if not self.files:
            return data.from_arrow(list(traced(0, self.rows)))
        listed = [{"file": number, "path": str(file)} for number, file in enumerate(self.files)]
        dataset = data.from_items(listed, override_num_blocks=len(listed))
        return dataset.map_batches(_read, batch_size=1, num_cpus=READER_CPUS)


def check(case: UseCase, files: list[Path]) -> None:
    """Hold the files' columns against the use case, and against each other, before any work begins.

    Raises:
        BadInput: a column is missing, or two files differ.
    """
    first: set[str] = set()
    for file in files:
        names = next(rows_of(file)).keys()
        _check_columns(case, names)
        if first and (odd := sorted(first ^ names)):
            raise BadInput(
                f"{file}: its columns differ from {files[0].name}'s in {', '.join(odd)}; give them all the same"
            )
        first = set(names)


def _check_columns(case: UseCase, names: Iterable[str]) -> None:
    tables.check(scoring.profile(case, dict.fromkeys(names, "")), names)


def traced(file: int, rows: Iterable[Row]) -> Iterator[pa.Table]:
    """Rows as blocks of a data set. Pickled, because the types of a column may differ from file to file."""
    left, place = iter(rows), 0
    ahead = list(islice(left, CHUNK_ROWS))
    while chunk := ahead:
        ahead = list(islice(left, CHUNK_ROWS))
        count = len(chunk)
        last = [False] * (count - 1) + [not ahead]
        trace = pa.table([[file] * count, range(place, place + count), last], schema=TRACE)
        yield trace.append_column("raw", pa.array([pickle.dumps(row) for row in chunk], pa.binary()))
        place += count


def unpickled(block: pa.Table) -> list[Row]:
    """The rows of a block of `traced`."""
    return [pickle.loads(row) for row in block["raw"].to_pylist()]  # noqa: S301 - written above


def rows_of(file: Path) -> Iterator[Row]:
    """A file's rows one by one, as `tables.rows_of` gives them all at once.

    Raises:
        BadInput: as there; perhaps only after many rows.
    """
    try:
        rows = _of_parquet(file) if file.name.endswith(tables.PARQUET) else _of_csv(file)
        first = next(rows, None)
        if first is None:
            raise BadInput("it holds no rows below its header; export it again with data")
        yield first
        yield from rows
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from None
    except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's own derive from these
        said = str(error).partition("\n")[0]
        raise BadInput(f"{file}: cannot be read as a table ({said}); save it again as .parquet or CSV") from None


def _read(batch: Any) -> Iterator[Any]:
    for file, path in zip(batch["file"], batch["path"], strict=True):
        yield from traced(int(file), rows_of(Path(str(path))))


def _of_parquet(file: Path) -> Iterator[Row]:
    with parquet.ParquetFile(file) as table:
        kept = [name for name in table.schema_arrow.names if not name.startswith("__index_level_")]
        for batch in table.iter_batches(CHUNK_ROWS, columns=kept):
            yield from tables.records(kept, zip(*(column.to_pylist() for column in batch.columns), strict=True))


def _of_csv(file: Path) -> Iterator[Row]:
    with file.open(encoding=_encoding(file), errors="replace", newline="") as stream:
        head = stream.read(PEEKED_BYTES)
        if not head.strip():
            raise BadInput("it is empty; send a header line and the rows below it")
        stream.seek(0)
        reader = csv.reader(stream, delimiter=tables.separator_of(head), strict=True)
        try:
            yield from tables.rows_in(reader)
        except csv.Error as error:
            raise BadInput(
                f"line {reader.line_num} is no CSV ({error}); close each quote and double those within"
            ) from None


def _encoding(file: Path) -> str:
    """UTF-16 by its mark, UTF-8 if every byte of the file is, else Windows-1252."""
    with file.open("rb") as stream:
        if stream.read(2) in (BOM_UTF16_LE, BOM_UTF16_BE):
            return "utf-16"
        stream.seek(0)
        parts = map(_no_binary, iter(partial(stream.read, PEEKED_BYTES), b""))
        try:
            deque(iterdecode(parts, "utf-8"), maxlen=0)
        except UnicodeDecodeError:
            deque(parts, maxlen=0)
            return "cp1252"
    return "utf-8-sig"


def _no_binary(part: bytes) -> bytes:
    if b"\0" in part:
        raise BadInput("it is a binary file; save it as CSV with a header line")
    return part

"""Rows of files as a Ray Data set that is read while it is worked on, equal to what `forewarn.sources.load` gives."""

import csv
import pickle
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, iterdecode
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import parquet

from forewarn import scoring, sources, tables
from forewarn.errors import BadInput
from forewarn.usecase import UseCase
from jobs.stretches import Stretch, columns_of, stretches

if TYPE_CHECKING:
    from ray.data import Dataset

# A part of a file, in one cell: where it lies, as columns, or as rows where the types of a column may differ; and what
# proves that all parts came, and in order. One cell, because Ray Data cuts and joins blocks of rows by their bytes.
TRACE = pa.schema([("file", pa.int32()), ("place", pa.int64()), ("rows", pa.int64()), ("last", pa.bool_())])
PART = pa.schema([*TRACE, ("since", pa.float64()), ("kind", pa.string()), ("held", pa.binary())])
# Other than an actor's share, else Ray Data would run the reading inside one of the actors.
READER_CPUS = 0.1
PEEKED_BYTES = 2**20
PEEKED_ROWS = 1024
# 3 KB each.
MOST_OBJECTS = 16_384

Row = dict[str, Any]
Piece: TypeAlias = "Stretch | pa.Table | list[Row]"
Trace: TypeAlias = tuple[int, int, int, bool]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the rows come from.

    Attributes:
        names: of the files, in order; a row's `file` is an index into it.
        files: what is read while it is worked on; else
        rows: from a database or S3, all in memory.
        query: that a database was asked.
    """

    names: list[str]
    files: list[Path] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    query: str = ""

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
        return cls(names=[sources.described(uri)], rows=rows, query=query)

    def dataset(self, size: int, *, file: int = 0, place: int = 0) -> "Dataset":
        """Parts of so many rows for a connected Ray, as `PART` has them: from this place of this file on."""
        from ray import data

        if not self.files:
            return data.from_arrow(list(parts(0, pieces(self.rows, size), place)))
        listed = [
            {"file": number, "path": str(one), "place": place if number == file else 0}
            for number, one in enumerate(self.files)
            if number >= file
        ]
        dataset = data.from_items(listed, override_num_blocks=len(listed))
        return dataset.map_batches(partial(_read, size=size), batch_size=1, num_cpus=READER_CPUS)

    def fingerprint(self) -> list[list[Any]]:
        """By which the same input is known again: of files where, how long and since when; else the rows themselves,
        in their order, because a database gives them in any unless it is told.
        """
        if self.files:
            return [[str(file), (told := file.stat()).st_size, told.st_mtime_ns] for file in self.files]
        found = sha256()
        for row in self.rows:
            found.update(orjson.dumps(row, default=str))
        return [[*self.names, len(self.rows), found.hexdigest()]]

    def total(self) -> int:
        """How many rows there are; 0 where only reading would tell."""
        if not all(file.name.endswith(tables.PARQUET) for file in self.files):
            return 0
        return sum(parquet.read_metadata(file).num_rows for file in self.files) or len(self.rows)


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


def parts(file: int, found: Iterable[Piece], place: int = 0) -> Iterator[pa.Table]:
    """A file's pieces from a place on, each as one row of a data set."""
    left = _after(place, found)
    ahead = next(left, None)
    while ahead is not None:
        piece, ahead = ahead, next(left, None)
        yield part((file, place, len(piece), ahead is None), piece)
        place += len(piece)


def _after(place: int, found: Iterable[Piece]) -> Iterator[Piece]:
    """Without so many rows. Of a Parquet file none of them is read; a CSV file must be, to know where rows end."""
    for piece in found:
        if place < len(piece):
            yield _cut(piece, place) if place else piece
        place = max(place - len(piece), 0)


def _cut(piece: Piece, rows: int) -> Piece:
    if isinstance(piece, Stretch):
        return replace(piece, start=piece.start + rows, rows=piece.rows - rows)
    return piece.slice(rows) if isinstance(piece, pa.Table) else piece[rows:]


def part(trace: Trace, piece: Piece, since: float = 0.0) -> pa.Table:
    """One row of a data set, with a piece inside, and the second of the epoch since when its actor works."""
    kind, held = ("columns", _streamed(piece)) if isinstance(piece, pa.Table) else ("pickled", pickle.dumps(piece))
    cells = zip((*trace, since, kind), PART.types[:-1], strict=True)
    return pa.table([*(pa.array([cell], type_) for cell, type_ in cells), _cell(pa.py_buffer(held))], schema=PART)


def piece_of(block: pa.Table) -> Piece:
    """What `part` put inside. Columns are not copied: they lie where Ray has them."""
    held = block["held"][0].as_buffer()
    if block["kind"][0].as_py() == "columns":
        with pa.ipc.open_stream(held) as stream:
            return stream.read_all()
    found: Piece = pickle.loads(held)  # noqa: S301 - written above
    return found


def trace_of(block: pa.Table) -> Trace:
    """A part's file, its first row's place there, its rows, and whether it is the last."""
    file, place, rows, last = (block[name][0].as_py() for name in TRACE.names)
    return file, place, rows, last


def since_of(block: pa.Table) -> float:
    """Since when the actor that made this part works, in seconds of the epoch."""
    since: float = block["since"][0].as_py()
    return since


def pieces(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Rows so many at a time, but not more than can be held as objects."""
    left = iter(rows)
    while piece := list(islice(left, min(size, MOST_OBJECTS))):
        yield piece


def _streamed(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def _cell(buffer: pa.Buffer) -> pa.Array:
    """One cell around the bytes; `pa.array` would copy them twice."""
    ends = pa.py_buffer(np.array([0, buffer.size], dtype=np.int32))
    return pa.Array.from_buffers(pa.binary(), 1, [None, ends, buffer])


def rows_of(file: Path) -> Iterator[Row]:
    """A file's rows one by one, as `tables.rows_of` gives them all at once.

    Raises:
        BadInput: as there; perhaps only after many rows.
    """
    with worded(file):
        rows = _of_parquet(file) if file.name.endswith(tables.PARQUET) else _of_csv(file)
        first = next(rows, None)
        if first is None:
            raise BadInput("it holds no rows below its header; export it again with data")
        yield first
        yield from rows


def pieces_of(file: Path, size: int) -> Iterator[Piece]:
    """A file's rows, so many at a time: of a Parquet file where they lie, of a CSV file as columns of text.

    Raises:
        BadInput: as `rows_of`.
    """
    if file.name.endswith(tables.PARQUET):
        yield from stretches(file, size)
    else:
        yield from map(_as_columns, pieces(rows_of(file), size))


@contextmanager
def worded(file: Path) -> Iterator[None]:
    """Say what is wrong with a file in our own words."""
    try:
        yield
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from None
    except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's own derive from these
        said = str(error).partition("\n")[0]
        raise BadInput(f"{file}: cannot be read as a table ({said}); save it again as .parquet or CSV") from None


def _read(batch: Any, *, size: int) -> Iterator[Any]:
    for file, path, place in zip(batch["file"], batch["path"], batch["place"], strict=True):
        yield from parts(int(file), pieces_of(Path(str(path)), size), int(place))


def _as_columns(rows: list[Row]) -> pa.Table:
    """Rows of a CSV file, in which every value is text."""
    return pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in rows[0]})


def _of_parquet(file: Path) -> Iterator[Row]:
    with parquet.ParquetFile(file) as table:
        kept = columns_of(table)
        for batch in table.iter_batches(PEEKED_ROWS, columns=kept):
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

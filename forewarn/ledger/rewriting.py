"""Somebody's rows in a file of rows: found, and taken out.

A file is read a piece at a time, however long it is. What is left of a CSV stays byte for byte; of a Parquet file row
by row. The file keeps its mode and its owner, and has all rows or those that are left, never half of either.
"""

import csv
import io
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forewarn.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa  # 40 MB that a replica of the service does without until somebody is to be forgotten


def rows_of(file: Path, column: str, wanted: Collection[str]) -> list[dict[str, Any]]:
    """The rows whose column holds one of these texts.

    Raises:
        BadInput: the file is no CSV or Parquet file.
        OSError: it cannot be read.
    """
    with _understood(file):
        if file.suffix == ".parquet":
            return [row for table in _tables(file, column, wanted) for row in table.to_pylist()]
        header, *rows = _parsed(file, column, wanted)
        return [dict(zip(header, row, strict=True)) for row in rows]


def ids_in(file: Path, column: str) -> set[str]:
    """Every text in that column.

    Raises:
        BadInput, OSError: as `rows_of`.
    """
    with _understood(file):
        if file.suffix == ".parquet":
            from pyarrow import parquet

            with parquet.ParquetFile(file) as held:
                groups = range(held.num_row_groups) if column in held.schema_arrow.names else ()
                columns = (held.read_row_group(group, columns=[column])[column] for group in groups)
                return {str(one).strip() for values in columns for one in values.unique().to_pylist()}
        records = _records(file)
        header = _cells(next(records, b""))
        place = header.index(column) if column in header else len(header)
        return {cells[place].strip() for cells in map(_cells, records) if len(cells) > place}


def without(file: Path, column: str, unwanted: Collection[str]) -> bool:
    """Take these rows out; whether there were any.

    Raises:
        BadInput, OSError: as `rows_of`, or it cannot be written; it is as it was then.
    """
    with _understood(file):
        if file.suffix == ".parquet":
            found, write = any(len(table) for table in _tables(file, column, unwanted)), _parquet_without
        else:
            rows = _parsed(file, column, unwanted)
            found, write = bool(next(rows)) and next(rows, None) is not None, _csv_without
            rows.close()
        if found:
            _replace(file, lambda aside: write(file, aside, column, unwanted))
    return found


@contextmanager
def _understood(file: Path) -> Iterator[None]:
    """PyArrow's own errors, and those of a text that is none, are ValueErrors."""
    try:
        yield
    except (ValueError, csv.Error, NotImplementedError) as error:
        raise BadInput(f"{file}: is not the file of rows that was written there ({type(error).__name__})") from error


def _replace(file: Path, write: Callable[[Path], None]) -> None:
    aside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        aside.touch(mode=0o600)
        write(aside)
        with suppress(PermissionError):  # only root may give files away
            owner = file.stat()
            os.chown(aside, owner.st_uid, owner.st_gid)
        shutil.copymode(file, aside)
        on_disk(aside)
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def on_disk(path: Path) -> None:
    """Not before it lies there may what it holds be deleted elsewhere."""
    found = os.open(path, os.O_RDONLY)
    try:
        os.fsync(found)
    finally:
        os.close(found)


def _records(file: Path) -> Iterator[bytes]:
    """A line each, or several where a quoted text holds line ends."""
    parts: list[bytes] = []
    quoted = False
    with file.open("rb") as lines:
        for line in lines:
            parts.append(line)
            quoted ^= line.count(b'"') % 2 == 1
            if not quoted:
                yield b"".join(parts)
                parts = []
    if parts:
        raise ValueError("a quote is never closed")


def _cells(record: bytes) -> list[str]:
    return next(csv.reader(io.StringIO(record.decode("utf-8-sig"), newline="")), [])


def _is_theirs(header: list[str], column: str, wanted: Collection[str]) -> Callable[[bytes], bool]:
    """Of a record. Only one that holds the text somewhere is taken apart: 2 µs for each of the others."""
    if column not in header:
        return lambda _: False
    place = header.index(column)
    written = [one.replace('"', '""').encode() for one in wanted]

    def theirs(record: bytes) -> bool:
        if not any(one in record for one in written):
            return False
        cells = _cells(record)
        return len(cells) > place and cells[place].strip() in wanted

    return theirs


def _parsed(file: Path, column: str, wanted: Collection[str]) -> Generator[list[str], None, None]:
    """The header, then their rows."""
    records = _records(file)
    header = _cells(next(records, b""))
    yield header
    theirs = _is_theirs(header, column, wanted)
    yield from (_cells(record) for record in records if theirs(record))


def _csv_without(file: Path, aside: Path, column: str, unwanted: Collection[str]) -> None:
    records = _records(file)
    first = next(records)
    theirs = _is_theirs(_cells(first), column, unwanted)
    with aside.open("wb") as kept:
        kept.write(first)
        kept.writelines(record for record in records if not theirs(record))


def _tables(file: Path, column: str, wanted: Collection[str]) -> "Iterator[pa.Table]":
    """Of each row group their rows; of one that has none, only that column is read."""
    from pyarrow import parquet

    with parquet.ParquetFile(file) as held:
        if column not in held.schema_arrow.names:
            return
        for group in range(held.num_row_groups):
            theirs = _marks(held.read_row_group(group, columns=[column])[column], wanted)
            if theirs.true_count:
                yield held.read_row_group(group).filter(theirs)


def _parquet_without(file: Path, aside: Path, column: str, unwanted: Collection[str]) -> None:
    from pyarrow import compute, parquet

    with parquet.ParquetFile(file) as held, parquet.ParquetWriter(aside, held.schema_arrow) as kept:
        for group in range(held.num_row_groups):
            table = held.read_row_group(group)
            kept.write_table(table.filter(compute.invert(_marks(table[column], unwanted))))


def _marks(column: Any, wanted: Collection[str]) -> Any:
    import pyarrow as pa
    from pyarrow import compute

    texts = compute.utf8_trim_whitespace(compute.cast(column, pa.string()))
    found = compute.is_in(texts, value_set=pa.array(list(wanted), pa.string()))
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found

"""A file of rows that grows a part at a time. What was written before a crash stands; what was not whole is cut off.

The file is the output itself, so that no part is ever copied. In a Parquet file each part is row groups with their
footer behind them; at the end one footer of them all comes last, and readers look nowhere else.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv, parquet

FOOTED = 8  # bytes at a Parquet file's end: how long its footer is, and the magic
MAGIC = b"PAR1"
READ_BYTES = 2**20


class Growing:
    """Takes tables; every so often all that it took is put on disk as one more part."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema = path, schema
        self.size = self.look()
        self._parquet = path.suffix == ".parquet"
        self._sink: Any = None
        self._writer: Any = None

    def write(self, table: pa.Table) -> None:
        """Append these columns of it."""
        if self._writer is None:
            self._begin()
        self._writer.write_table(table.select(self.schema.names))

    def settle(self) -> str:
        """End the part, which is on disk then; its sha256. The file's size is where the next one begins."""
        began = self.size
        if self._writer is not None:
            self.let_go()
        if self.path.exists():
            self.size = _on_disk(self.path)
        return digest(self.path, began, self.size)

    def cut(self, size: int) -> None:
        """Leave so many bytes: what came after the last whole part."""
        if self.size > size:
            os.truncate(self.path, size)
            self.size = size

    def look(self) -> int:
        """How long it is, after somebody else rewrote it."""
        self.size = self.path.stat().st_size if self.path.exists() else 0
        return self.size

    def finish(self, ends: list[int]) -> None:
        """Make one file of the parts that end at these bytes, as if it had been written at once."""
        if not self._parquet:
            if self.size == 0:  # no row, but a header
                self._begin()
                self.settle()
            return
        if len(ends) == 1 and ends[0] == self.size:
            return
        whole, *others = [_footer(self.path, end) for end in ends]
        for other in others:
            whole.append_row_groups(other)
        with pa.OSFile(str(self.path), "ab") as sink:
            whole.write_metadata_file(sink)
        self.size = _on_disk(self.path)

    def let_go(self) -> None:
        """Close what is open; whether what it wrote counts is not said."""
        writer, sink, self._writer, self._sink = self._writer, self._sink, None, None
        if sink is not None:
            with sink:
                writer.close()

    def _begin(self) -> None:
        self._sink = pa.OSFile(str(self.path), "ab")
        if not self._parquet:
            first = csv.WriteOptions(include_header=self.size == 0)
            self._writer = csv.CSVWriter(self._sink, self.schema, write_options=first)
            return
        # PyArrow begins no Parquet file but at byte 0. What is appended lies at the end all the same, and moves the
        # place there, from which PyArrow then counts.
        os.lseek(self._sink.fileno(), 0, os.SEEK_SET)
        self._writer = _in_parquet(self._sink, self.schema)


def _in_parquet(sink: Any, schema: pa.Schema) -> parquet.ParquetWriter:
    """Columns of few different words are written as such, and no others tried: a third of the time. The file says
    nothing of it; whoever reads it finds text.
    """
    words = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    return parquet.ParquetWriter(sink, schema, use_dictionary=words, store_schema=False)


def _footer(path: Path, end: int) -> Any:
    """What a Parquet file's first bytes up to here say of themselves."""
    with path.open("rb") as file:
        file.seek(end - FOOTED)
        length = int.from_bytes(file.read(4), "little")
        file.seek(end - FOOTED - length)
        return parquet.read_metadata(pa.BufferReader(MAGIC + file.read(length + FOOTED)))


def digest(path: Path, start: int, end: int) -> str:
    """The sha256 of a file's bytes from here to there; of fewer, if there are no more."""
    found = hashlib.sha256()
    if start == end:
        return found.hexdigest()
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (read := file.read(min(READ_BYTES, end - start))):
            found.update(read)
            start += len(read)
    return found.hexdigest()


def _on_disk(path: Path) -> int:
    """Not before it lies there may it count; how long it is."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size

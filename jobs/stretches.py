"""Parquet files by the stretch: whoever scores the rows reads them, and they travel through no object store."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from forewarn import tables
from forewarn.errors import BadInput
from forewarn.usecase import UseCase


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Rows of a Parquet file, all of one row group.

    Attributes:
        start: the first one's place within the group.
    """

    path: str
    group: int
    start: int
    rows: int

    def __len__(self) -> int:
        return self.rows


class Reader:
    """Reads stretches. It reads along a row group and passes over what others were given: to decode is cheap beside
    what is done with a row (0.1 µs of 3), and a file may well be a single group.
    """

    def __init__(self, case: UseCase, size: int) -> None:
        self._known = {name for one in case.profiles for name in one.by_alias}
        # Parquet holds few different words as such: three times as fast as to write each one out.
        self._levels = {name for one in case.profiles for name, spec in one.by_alias.items() if spec.kind == "category"}
        self._size = size
        self._open: tuple[str, int] | None = None
        self._ahead: Iterator[pa.RecordBatch] = iter(())
        self._at = 0

    def __call__(self, stretch: Stretch) -> pa.Table:
        """The columns that the use case knows, and of the others the names.

        Raises:
            BadInput: the file is no longer what it was.
        """
        if (stretch.path, stretch.group) != self._open or stretch.start < self._at:
            self._open_at(stretch)
        found: list[pa.RecordBatch] = []
        while self._at < stretch.start + stretch.rows:
            batch = next(self._ahead, None)
            if batch is None:
                raise BadInput(f"{stretch.path}: it became shorter while it was read; score it again")
            first = max(stretch.start - self._at, 0)
            found += [batch.slice(first, stretch.start + stretch.rows - self._at - first)] if first < len(batch) else []
            self._at += len(batch)
        return self._named(pa.Table.from_batches(found))

    def _open_at(self, stretch: Stretch) -> None:
        with parquet.ParquetFile(stretch.path) as table:
            paths = [table.schema.column(place).path for place in range(len(table.schema))]
        words = [path for path in paths if " ".join(path.split()) in self._levels]
        table = parquet.ParquetFile(stretch.path, read_dictionary=words)
        kept = columns_of(table)
        self._ahead = table.iter_batches(self._size, row_groups=[stretch.group], columns=kept, use_threads=False)
        self._open, self._at = (stretch.path, stretch.group), 0

    def _named(self, table: pa.Table) -> pa.Table:
        table.validate(full=True)  # text that is no UTF-8
        names = tables.names_of(table.column_names)
        columns = zip(names, table.columns, strict=True)
        return pa.table({name: column if name in self._known else pa.nulls(len(table)) for name, column in columns})


def stretches(file: Path, size: int) -> Iterator[Stretch]:
    """A file's rows, so many at a time."""
    with parquet.ParquetFile(file) as table:
        groups = [table.metadata.row_group(group).num_rows for group in range(table.num_row_groups)]
    for group, rows in enumerate(groups):
        for start in range(0, rows, size):
            yield Stretch(path=str(file), group=group, start=start, rows=min(size, rows - start))


def columns_of(table: parquet.ParquetFile) -> list[str]:
    """All but pandas' row numbers."""
    return [name for name in table.schema_arrow.names if not name.startswith("__index_level_")]

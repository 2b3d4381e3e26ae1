"""Where the output of a batch job goes that is no file of this machine: S3, PostgreSQL, MySQL, SQLite.

What is put there is whole, or not there at all: an object appears when its last byte has come, a table is filled
aside and then takes its name.
"""

import os
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forewarn import databases, sources
from forewarn.errors import BadInput, ForewarnError

# SQLAlchemy and pyarrow are imported where they are used: hardly any job puts its output elsewhere.
if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    import sqlalchemy as sa

AT_ONCE = 5_000
ASIDE, BEFORE = "__part", "__before"
TEXTS, SCHEMES = (".csv", ".parquet"), ("postgresql", "postgres", "mysql", "mariadb", "sqlite")


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """An address to which files of rows can be put.

    Attributes:
        table: of a database; of an object empty.
    """

    uri: str
    table: str = ""

    @classmethod
    def of(cls, uri: str, table: str = "") -> "Elsewhere":
        """Held against what can be written to.

        Raises:
            BadInput: that is none, or no table is named.
        """
        scheme = uri.partition("://")[0].partition("+")[0]
        if scheme == "s3":
            sources.bucket_and_key(uri)
            return cls(uri=uri)
        if scheme not in SCHEMES:
            raise BadInput(
                f"{scheme}: no such kind of output; give a path, s3://, postgresql://, mysql:// or sqlite://"
            )
        if not sources.IDENTIFIER.fullmatch(table) or "." in table:
            raise BadInput(f"{sources.described(uri)}: no table is named; add --table NAME")
        return cls(uri=uri, table=table)

    @property
    def suffix(self) -> str:
        """Of the file in which the rows are to be brought."""
        return ".parquet" if self.table else Path(self.uri).suffix

    @property
    def described(self) -> str:
        """As records and messages name it: without password."""
        return f"{sources.described(self.uri)}{f'#{self.table}' if self.table else ''}"

    @property
    def rejects(self) -> "Elsewhere":
        """Where the rejected rows are listed."""
        if self.table:
            return Elsewhere(uri=self.uri, table=f"{self.table}_rejects")
        return Elsewhere(uri=f"{self.uri.removesuffix(self.suffix)}.rejects.csv")

    def is_there(self) -> bool:
        """Whether something of that name is.

        Raises:
            ForewarnError: it cannot be reached.
        """
        with _worded(self.described):
            if not self.table:
                return bool(_s3(self.uri).get_file_info(_place(self.uri)).is_file)
            import sqlalchemy as sa

            engine = _engine(self.uri)
            try:
                return bool(sa.inspect(engine).has_table(self.table))
            finally:
                engine.dispose()

    def put(self, file: Path) -> None:
        """The rows of a file, in place of what may be there.

        Raises:
            ForewarnError: it cannot be reached or written; what was there is there still.
        """
        with _worded(self.described):
            if self.table:
                _put_table(self.uri, self.table, file)
            else:
                _put_object(self.uri, file)


@contextmanager
def _worded(described: str) -> "Iterator[None]":
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (OSError, SQLAlchemyError) as error:
        said = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
        raise ForewarnError(
            f"{described}: cannot be written ({said}); check the address and who may write there, then run it again: "
            "it goes on from here"
        ) from None


def _s3(uri: str) -> Any:
    return sources.s3(sources.bucket_and_key(uri)[0])


def _place(uri: str) -> str:
    return "/".join(sources.bucket_and_key(uri))


def _put_object(uri: str, file: Path) -> None:
    """In parts, all at once visible when the last has come."""
    from pyarrow import fs

    fs.copy_files(str(file), _place(uri), source_filesystem=fs.LocalFileSystem(), destination_filesystem=_s3(uri))


def _engine(uri: str) -> "sa.Engine":
    url = databases.address(uri, "--output")
    secret = os.environ.get(sources.PASSWORD)
    return databases.engine(url.set(password=secret) if secret and url.username and not url.password else url)


def _put_table(uri: str, table: str, file: Path) -> None:
    """All rows into a table aside, in one transaction; then it takes the name, in another."""
    import sqlalchemy as sa

    engine = _engine(uri)
    try:
        batches = _batches(file)
        first = next(batches)
        aside = sa.Table(f"{table}{ASIDE}", sa.MetaData(), *_columns(first.schema))
        aside.drop(engine, checkfirst=True)
        aside.create(engine)
        with engine.begin() as connection:
            for batch in (first, *batches):
                if rows := batch.to_pylist():
                    connection.execute(aside.insert(), rows)
        _rename(engine, table)
    finally:
        engine.dispose()


def _batches(file: Path) -> "Iterator[pa.RecordBatch]":
    """At least one, which may be empty: it says what the columns are."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    if file.suffix == ".parquet":
        with parquet.ParquetFile(file) as held:
            yield pa.RecordBatch.from_pylist([], schema=held.schema_arrow)
            yield from held.iter_batches(AT_ONCE)
        return
    text = csv.ConvertOptions(column_types={"row": pa.int64(), "file": pa.string(), "reason": pa.string()})
    found = csv.read_csv(file, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=text)
    yield pa.RecordBatch.from_pylist([], schema=found.schema)
    yield from found.to_batches(AT_ONCE)


def _columns(schema: "pa.Schema") -> "Iterable[sa.Column[Any]]":
    import pyarrow as pa
    import sqlalchemy as sa

    kinds: dict[Any, Any] = {pa.int64(): sa.BigInteger, pa.float64(): sa.Double, pa.bool_(): sa.Boolean}
    return [sa.Column(field.name, kinds.get(field.type, sa.Text)) for field in schema]


def _rename(engine: "sa.Engine", table: str) -> None:
    """Whoever reads sees the old rows or the new ones, never none."""
    import sqlalchemy as sa

    quoted = engine.dialect.identifier_preparer.quote_identifier
    name, aside, before = (quoted(one) for one in (table, f"{table}{ASIDE}", f"{table}{BEFORE}"))
    with engine.begin() as connection:
        there = sa.inspect(connection).has_table(table)
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {before}")
        if engine.dialect.name == "mysql":  # where no transaction holds a change of tables, but this one statement does
            away = f"{name} TO {before}, " if there else ""
            connection.exec_driver_sql(f"RENAME TABLE {away}{aside} TO {name}")
        else:
            if there:
                connection.exec_driver_sql(f"ALTER TABLE {name} RENAME TO {before}")
            connection.exec_driver_sql(f"ALTER TABLE {aside} RENAME TO {name}")
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {before}")

"""Files of rows put into buckets and databases: whole, or not at all."""

from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest
import sqlalchemy as sa
from pyarrow import csv, parquet

from forewarn import sources
from forewarn.errors import BadInput, ForewarnError
from forewarn.sinks import Elsewhere

pytest_plugins = ["tests.servers"]

ROWS = [{"row": 0, "who": "Zoë", "probability": 0.1 + 0.2, "event": True, "note": None},
        {"row": 2, "who": 'a "b", c', "probability": None, "event": False, "note": "x\ny"}]  # fmt: skip
DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "sqlite": "sqlite"}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return written(tmp_path / "scores.parquet", ROWS)


def written(file: Path, rows: list[dict[str, Any]]) -> Path:
    table = pa.Table.from_pylist(rows, schema=pa.schema([
        ("row", pa.int64()), ("who", pa.string()), ("probability", pa.float64()), ("event", pa.bool_()),
        ("note", pa.string())]))  # fmt: skip
    parquet.write_table(table, file)
    return file


@pytest.fixture(params=["sqlite", "postgres_uri", "mysql_uri"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'out.db'}"
    uri: str = request.getfixturevalue(request.param)
    return uri


def read(uri: str, table: str) -> list[dict[str, Any]]:
    scheme, _, rest = uri.partition("://")
    engine = sa.create_engine(f"{DRIVERS[scheme]}://{rest}")
    try:
        with engine.connect() as connection:
            found = connection.execute(sa.text(f"SELECT * FROM {table} ORDER BY 1")).mappings()
            return [dict(row) for row in found]
    finally:
        engine.dispose()


def tables_of(uri: str) -> set[str]:
    scheme, _, rest = uri.partition("://")
    engine = sa.create_engine(f"{DRIVERS[scheme]}://{rest}")
    try:
        return set(sa.inspect(engine).get_table_names())
    finally:
        engine.dispose()


def test_a_table_has_the_files_rows_to_the_last_bit_and_is_replaced_whole(
    database: str, rows: Path, tmp_path: Path
) -> None:
    to = Elsewhere.of(database, "told_scores")
    assert not to.is_there()
    to.put(rows)
    assert to.is_there()
    assert [{**row, "event": bool(row["event"])} for row in read(database, "told_scores")] == ROWS
    to.put(written(tmp_path / "fewer.parquet", ROWS[:1]))
    assert [row["who"] for row in read(database, "told_scores")] == ["Zoë"]
    assert {name for name in tables_of(database) if name.startswith("told_scores")} == {"told_scores"}


def test_rejects_are_a_table_beside_it(database: str, tmp_path: Path) -> None:
    file = tmp_path / "rejects.csv"
    csv.write_csv(pa.table({"row": [3], "file": ["a.csv"], "reason": ["age: is\nwrong"]}), file)
    to = Elsewhere.of(f"{database}", "out").rejects
    to.put(file)
    assert read(database, "out_rejects") == [{"row": 3, "file": "a.csv", "reason": "age: is\nwrong"}]
    file.write_text('"row","file","reason"\n')
    to.put(file)
    assert read(database, "out_rejects") == []


def test_what_breaks_off_leaves_what_was_there(database: str, rows: Path, tmp_path: Path) -> None:
    to = Elsewhere.of(database, "kept")
    to.put(rows)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(rows.read_bytes()[:-9] + b"x" * 9)
    with pytest.raises((ForewarnError, OSError, ValueError)):
        to.put(broken)
    assert len(read(database, "kept")) == 2


def test_an_object_is_the_file(s3: str, rows: Path) -> None:
    to = Elsewhere.of(f"s3://{s3}/out/scores.parquet")
    assert (to.is_there(), to.rejects.uri) == (False, f"s3://{s3}/out/scores.rejects.csv")
    to.put(rows)
    assert to.is_there()
    with closing(boto3.client("s3")) as client:
        assert client.get_object(Bucket=s3, Key="out/scores.parquet")["Body"].read() == rows.read_bytes()
    assert [row["who"] for row in sources.load(to.uri)] == ["Zoë", 'a "b", c']


def test_a_bucket_that_is_not_there_is_one_sentence(s3: str, rows: Path) -> None:
    with pytest.raises(ForewarnError, match=r"s3://no-such-bucket-here/a\.csv: cannot be written .*goes on from here"):
        Elsewhere.of("s3://no-such-bucket-here/a.csv").put(rows)


def test_a_database_that_does_not_answer_is_one_sentence_without_the_password(rows: Path) -> None:
    with pytest.raises(ForewarnError, match="cannot be written") as raised:
        Elsewhere.of("postgresql://me:secret@127.0.0.1:1/db", "t").put(rows)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("uri", "table", "said"),
    [
        ("gs://bucket/key.csv", "", "no such kind of output"),
        ("postgresql://me@host/db", "", "no table is named; add --table"),
        ("postgresql://me:secret@host/db", "a; DROP TABLE b", "no table is named"),
        ("s3://bucket", "", "no bucket and key"),
    ],
)
def test_what_is_no_place_for_rows_is_refused(uri: str, table: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as raised:
        Elsewhere.of(uri, table)
    assert "secret" not in str(raised.value)

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from forewarn import scoring, sources, tables, usecases
from forewarn.errors import BadInput
from forewarn.usecase import UseCase
from tests import databases, fronts

pytest_plugins = ["tests.servers"]

ROWS = [{"Name": "Ann", "Level": "007", "Note": None}, {"Name": "Zoë", "Level": "2", "Note": "NA"}]
DELETING = "BEGIN DELETE FROM staff; RETURN 1; END"
BODIES = {"postgresql": f"LANGUAGE plpgsql AS '{DELETING}'", "mysql": DELETING}


@pytest.fixture(params=["postgres_uri", "mysql_uri"])
def database(request: pytest.FixtureRequest) -> str:
    """The URI of a database that holds the table `staff`."""
    uri: str = request.getfixturevalue(request.param)
    databases.put_table(uri, "staff", ROWS)
    return uri


def refused(uri: Any, **options: Any) -> str:
    """The sentence with which a source is refused."""
    with pytest.raises(BadInput) as raised:
        sources.load(uri, **options)
    return str(raised.value)


@pytest.mark.requirement("S2-12")
def test_parquet_reads_like_csv(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("Name,Level ,Note\nAnn,007, \nZoë,2,NA\n")
    pd.DataFrame(ROWS, index=[7, 3]).rename(columns={"Level": " Level "}).to_parquet(tmp_path / "rows.parquet")
    for uri in (tmp_path / "rows.csv", f"file://{tmp_path}/rows.csv", tmp_path / "rows.parquet"):
        assert sources.load(uri) == ROWS


def test_a_folder_is_its_files_by_name(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("Name,Level,Note\nAnn,007,\n")
    pd.DataFrame(ROWS[1:]).to_parquet(tmp_path / "c.parquet")
    (tmp_path / "README.md").write_text("not a table")
    assert sources.load(tmp_path) == ROWS
    before = sources.fingerprint(tmp_path)
    (tmp_path / "a.csv").write_text("Name,Level\nAnn,007\n")
    assert sources.fingerprint(tmp_path) != before
    assert "b.csv: its columns differ from a.csv's in Note" in refused(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.csv", None, "no such file"),
        ("rows.csv", b"", "it is empty"),
        ("rows.csv", b"A,B\n1,2\n1,2,3\n", "line 3 has 3 cells"),
        ("rows.parquet", b"PAR1 but not really", "cannot be read as a table"),
        ("rows.parquet", b"", "cannot be read as a table"),
    ],
)
def test_a_file_that_is_no_table_is_named_in_one_sentence(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    sentence = refused(tmp_path / name)
    assert str(tmp_path / name) in sentence
    assert said in sentence
    assert len(sentence.splitlines()) == 1


def test_an_empty_folder_and_an_empty_parquet_file_are_said(tmp_path: Path) -> None:
    assert "no CSV or Parquet file is in this folder" in refused(tmp_path)
    pd.DataFrame({"A": []}).to_parquet(tmp_path / "a.parquet")
    assert "holds no rows" in refused(tmp_path)


@pytest.mark.requirement("S2-12")
def test_every_source_gives_the_same_rows(
    case: UseCase, tmp_path: Path, postgres_uri: str, mysql_uri: str, s3: str
) -> None:
    rows = case.sample(60, seed=1)
    places = [tmp_path / "rows.csv", tmp_path / "rows.parquet"]
    places[0].write_text(tables.csv_of(rows))
    pd.DataFrame(rows).to_parquet(places[1])
    for place in places:
        databases.put_object(s3, f"{case.name}/{place.name}", place.read_bytes())
    for uri in (postgres_uri, mysql_uri):
        databases.put_table(uri, case.name, rows)
    uris = [*places, *(f"s3://{s3}/{case.name}/{place.name}" for place in places), postgres_uri, mysql_uri]
    expected = scoring.validate(case, rows).values
    for uri in uris:
        loaded = sources.load(uri, case, labelled=True)
        assert scoring.validate(case, loaded).values == expected
        assert [str(row[case.target]) for row in loaded] == [str(row[case.target]) for row in rows]


@pytest.mark.requirement("S2-12")
def test_a_database_is_read_by_table_or_query(database: str) -> None:
    schema = "public" if database.startswith("postgresql") else sa.make_url(database).database
    assert sources.load(f"{database}#staff") == ROWS
    assert sources.load(f"{database}#{schema}.staff") == ROWS
    assert sources.load(database, query="SELECT * FROM staff ORDER BY 1;") == ROWS
    found = sources.load(database, query="WITH a AS (SELECT 1 AS one) SELECT one, '50% :off; ' AS said FROM a")
    assert found == [{"one": 1, "said": "50% :off; "}]


def test_a_table_larger_than_a_chunk_arrives_whole(database: str) -> None:
    count = 2 * sources.CHUNK + 1
    databases.put_table(database, "many", [{"id": number} for number in range(count)])
    assert sorted(row["id"] for row in sources.load(f"{database}#many")) == list(range(count))


def test_values_of_a_database_are_plain(postgres_uri: str, mysql_uri: str) -> None:
    made = "SELECT CAST(1.5 AS DECIMAL(5,2)) AS rate, CAST('2026-01-02' AS DATE) AS day, NULL AS gone, ' ' AS blank"
    expected = [{"rate": 1.5, "day": "2026-01-02", "gone": None, "blank": None}]
    assert sources.load(postgres_uri, query=made) == expected
    assert sources.load(mysql_uri, query=made) == expected


@pytest.mark.requirement("S2-14")
def test_a_database_is_only_read(database: str) -> None:
    for query in (
        "DELETE FROM staff",
        "SELECT 1; DELETE FROM staff",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "x",
        "-- SELECT",
    ):
        assert "only read" in refused(database, query=query)
    assert len(sources.load(f"{database}#staff")) == len(ROWS)


@pytest.mark.requirement("S2-14")
def test_a_select_that_writes_is_refused_by_the_server(database: str) -> None:
    made = f"CREATE OR REPLACE FUNCTION gone() RETURNS INT {BODIES[database.partition(':')[0]]}"
    databases.run(databases.engine_of(database), [made])
    assert "read only transaction" in refused(database, query="SELECT gone()").lower().replace("-", " ")
    assert len(sources.load(f"{database}#staff")) == len(ROWS)


@pytest.mark.requirement("S2-14")
def test_connections_are_used_again(postgres_uri: str, mysql_uri: str) -> None:
    for uri, who in ((postgres_uri, "SELECT pg_backend_pid() AS who"), (mysql_uri, "SELECT CONNECTION_ID() AS who")):
        assert sources.load(uri, query=who) == sources.load(uri, query=who)


@pytest.mark.requirement("S2-14")
def test_a_connection_that_the_server_closed_is_replaced(postgres_uri: str) -> None:
    who = "SELECT pg_backend_pid() AS who"
    before = sources.load(postgres_uri, query=who)[0]["who"]
    databases.run(databases.engine_of(databases.POSTGRES), [f"SELECT pg_terminate_backend({before})"])
    assert sources.load(postgres_uri, query=who)[0]["who"] != before


@pytest.mark.requirement("S2-14")
def test_a_database_that_is_away_for_a_moment_is_asked_again(database: str, caplog: pytest.LogCaptureFixture) -> None:
    with fronts.tcp_front(database, failures=2) as (front, uri):
        assert sources.load(f"{uri}#staff") == ROWS
        sources.close()
    assert len(front.seen) > 2
    assert "trying again" in caplog.text


def test_what_the_server_will_say_again_is_not_asked_again(mysql_uri: str) -> None:
    with fronts.tcp_front(mysql_uri, failures=0) as (front, uri):
        wrong = sa.make_url(uri).set(password="wrong").render_as_string(hide_password=False)
        assert "Access denied" in refused(f"{wrong}#staff")
    assert front.seen == ["connection"]


def test_a_password_may_come_from_the_environment(mysql_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    databases.put_table(mysql_uri, "staff", ROWS)
    url = sa.make_url(mysql_uri)
    bare = f"mysql://{url.username}@{url.host}:{url.port}/{url.database}"
    assert "Access denied" in refused(f"{bare}#staff")
    monkeypatch.setenv("FOREWARN_SOURCE_PASSWORD", str(url.password))
    assert sources.load(f"{bare}#staff") == ROWS


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("data/rows.csv", "data/rows.csv"),
        ("s3://bucket/a@b.csv", "s3://bucket/a@b.csv"),
        ("s3://KEY:hidden/x@bucket/rows.csv", "s3://…"),
        ("postgresql://ann:hidden@db:5432/crm#public.staff", "postgresql://ann@db:5432/crm#public.staff"),
        ("mysql://ann@db/crm?password=hidden", "mysql://ann@db/crm"),
        ("postgresql://db/crm?password=hidden#staff", "postgresql://db/crm#staff"),
        ("postgresql://ann:p#hidden@db/crm", "postgresql://ann@db/crm"),
        ("postgresql://ann:p/hidden@db/crm", "postgresql://ann@db/crm"),
        ("postgresql://ann:p@hidden@db/crm", "postgresql://…"),
        ("postgresql://ann:p?hidden@db/crm", "postgresql://…"),
        ("postgresql://ann:p@db/crm#hi dden", "postgresql://ann@db/crm"),
    ],
)
def test_a_source_is_described_without_its_secrets(uri: str, shown: str) -> None:
    assert sources.described(uri) == shown


@pytest.mark.parametrize(
    "uri",
    [
        "mysql://ann:hidden@127.0.0.1:1/db#staff",
        "postgresql://ann:hidden@127.0.0.1:1/db#staff",
        "postgresql://ann:hidden@nowhere.invalid/db#staff",
        "postgresql://ann:hidden@127.0.0.1:port/db#staff",
        "postgresql://ann:p@hidden@127.0.0.1:1/db#staff",
        "postgresql://ann:hidden@127.0.0.1:1/db",
        "postgresql://ann:hidden@127.0.0.1:1/db#no table",
        "postgresql://ann:x@127.0.0.1:1/db?hidden=1#staff",
        "mysql://ann:x@127.0.0.1:1/db?hidden=1#staff",
        "s3://ann:hidden@bucket/key",
        "oracle://ann:hidden@db/crm",
    ],
)
def test_no_message_holds_a_password(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    sentence = refused(uri)
    assert "; " in sentence
    assert len(sentence.splitlines()) == 1
    assert "hidden" not in sentence.replace('option "hidden"', "").replace("argument 'hidden'", "")
    assert "hidden" not in caplog.text


def test_a_table_that_is_not_there_or_has_no_rows_is_said(database: str) -> None:
    sentence = refused(f"{database}#nothing")
    assert sources.described(f"{database}#nothing") in sentence
    assert str(sa.make_url(database).password) not in sentence
    databases.run(databases.engine_of(database), ["DROP TABLE IF EXISTS bare", "CREATE TABLE bare (a INT)"])
    assert "holds no rows" in refused(f"{database}#bare")
    assert "the column a is there twice" in refused(database, query="SELECT 1 AS a, 2 AS a")


@pytest.fixture
def stored(s3: str) -> str:
    """The URI of a CSV object."""
    databases.put_object(s3, "staff/rows.csv", tables.csv_of(ROWS).encode())
    return f"s3://{s3}/staff/rows.csv"


@pytest.mark.requirement("S2-14")
def test_s3_is_asked_again_when_it_is_busy(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with fronts.http_front(os.environ["AWS_ENDPOINT_URL"], failures=2) as front:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{front.port}")
        assert sources.load(stored) == ROWS
    assert len(front.seen) > 2


@pytest.mark.requirement("S2-14")
@pytest.mark.slow
def test_s3_is_asked_four_times_at_most(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with fronts.http_front(os.environ["AWS_ENDPOINT_URL"], failures=100) as front:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{front.port}")
        assert "cannot be fetched" in refused(stored)
    assert len(front.seen) == sources.TRIES


@pytest.mark.requirement("S2-14")
def test_an_object_that_is_not_there_is_said_at_once(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with fronts.http_front(os.environ["AWS_ENDPOINT_URL"], failures=0) as front:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{front.port}")
        assert "no such object" in refused(f"{stored}.gone")
        assert "no such object" in refused("s3://no-such-bucket/rows.csv")
    assert [request.partition(" ")[0] for request in front.seen if "rows.csv.gone" in request] == ["HEAD"]


@pytest.mark.requirement("S2-14")
def test_columns_are_held_against_the_use_case(tmp_path: Path) -> None:
    case = usecases.get("attrition")
    (tmp_path / "rows.csv").write_text("Monthly Income,Age\n5000,40\n")
    assert refused(tmp_path / "rows.csv", case=case, labelled=True).splitlines() == [
        "attrition: the column MonthlyIncome is missing; is Monthly Income meant?",
        "attrition: the column OverTime is missing",
        "attrition: the column Attrition with the labels is missing",
    ]
    assert sources.load(tmp_path / "rows.csv") == [{"Monthly Income": "5000", "Age": "40"}]


@pytest.mark.requirement("S2-14")
def test_what_was_loaded_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "rows.csv").write_text("A\n1\n2\n")
    with caplog.at_level(logging.INFO, logger="forewarn.sources"):
        sources.load(tmp_path / "rows.csv")
    assert f"2 rows from {tmp_path / 'rows.csv'} in" in caplog.text


def test_a_fingerprint_is_of_a_file_s_bytes_or_of_the_rows(tmp_path: Path, database: str) -> None:
    (tmp_path / "rows.csv").write_text("A\n1\n")
    assert sources.fingerprint(tmp_path / "rows.csv") == hashlib.sha256(b"A\n1\n").hexdigest()
    of_rows = sources.fingerprint(f"{database}#staff")
    assert of_rows == sources.fingerprint(database, list(reversed(ROWS)))
    assert of_rows != sources.fingerprint(database, ROWS[:1])

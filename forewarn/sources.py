"""Where rows come from: files, folders, PostgreSQL, MySQL and S3, read as they are and handed on as plain rows."""

import hashlib
import logging
import os
import random
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import orjson

from forewarn import tables
from forewarn.errors import BadInput
from forewarn.tables import check as check
from forewarn.usecase import UseCase

# SQLAlchemy and pyarrow are imported where they are used: most callers read a CSV file.
if TYPE_CHECKING:
    from sqlalchemy import URL, Engine
    from sqlalchemy.exc import OperationalError

log = logging.getLogger(__name__)

Rows = list[dict[str, Any]]

PASSWORD = "FOREWARN_SOURCE_PASSWORD"  # noqa: S105 - its name, not itself
DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
}
TABLES = {".csv", ".tsv", ".txt", ".parquet"}

TRIES = 4
FIRST_WAIT_S = 0.2
CONNECT_S = 10
READ_S = 120
RECYCLE_S = 1800
POOLED = 2
CHUNK = 5_000

IDENTIFIER = re.compile(r"[^\W\d][\w$]*(\.[^\W\d][\w$]*)?")
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
LITERAL = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
SELECTS = re.compile(r"(select|with)\b(?!.*\binto\s+(outfile|dumpfile)\b)[^;]*", re.IGNORECASE | re.DOTALL)
# A server that says so will say it again: asking four times locks accounts.
FINAL = re.compile(r"password|authentic|denied|unknown database|does not exist|pg_hba", re.IGNORECASE)


_pools: "dict[URL, Engine]" = {}


def load(uri: str | Path, case: UseCase | None = None, *, query: str = "", labelled: bool = False) -> Rows:
    """Every row of a source: missing values and blank text as None, column names as `tables.names_of` cleans them.

    `uri` is a path, file://…, s3://bucket/key, or postgresql://user@host/db#table and mysql://… likewise. Without
    #table, `query` is read; without that, the table named as the use case. With a use case, `check` is made.
    A password comes from the URI or, better, from FOREWARN_SOURCE_PASSWORD.

    Raises:
        BadInput: the source cannot be reached or read, is empty, or lacks columns; says what to do, no secrets.
    """
    began = time.monotonic()
    rows = _rows_of(str(uri), query, case.name if case else "")
    if not rows:
        raise BadInput(f"{described(uri)}: holds no rows; export it again with data")
    if case:
        check(case, rows[0], labelled)
    log.info("%d rows from %s in %.2f s", len(rows), described(uri), time.monotonic() - began)
    return rows


def described(uri: str | Path) -> str:
    """The source as records and messages name it: without password and options."""
    scheme, remote, rest = str(uri).partition("://")
    if not remote or scheme == "file":
        return str(uri)
    if scheme == "s3":
        return str(uri) if BUCKET.fullmatch(rest.partition("/")[0]) else "s3://…"
    login, at, place = rest.rpartition("@")
    if "@" in login or "?" in login:  # there is no telling where the password ends
        return f"{scheme}://…"
    place, _, table = place.partition("#")
    shown = f"#{table}" if IDENTIFIER.fullmatch(table) else ""
    return f"{scheme}://{login.partition(':')[0]}{at}{place.partition('?')[0]}{shown}"


def fingerprint(uri: str | Path, rows: Rows | None = None) -> str:
    """sha256 in hex: of a file's bytes; of a folder's files; else of the rows' JSON, in whatever order they came.

    Raises:
        BadInput: as `load`.
    """
    if not is_local(str(uri)):
        given = load(uri) if rows is None else rows
        lines = sorted(orjson.dumps(row, default=str, option=orjson.OPT_SORT_KEYS) for row in given)
        return hashlib.sha256(b"\n".join(lines)).hexdigest()
    path = path_of(str(uri))
    digests = {file.name: hashlib.sha256(_bytes(file)).hexdigest() for file in files_of(path)}
    return hashlib.sha256(orjson.dumps(digests)).hexdigest() if path.is_dir() else digests[path.name]


def close() -> None:
    """Let go of the connections that this process keeps for the next `load`."""
    while _pools:
        _pools.popitem()[1].dispose()


def _rows_of(uri: str, query: str, fallback: str) -> Rows:
    scheme = uri.partition("://")[0].partition("+")[0]
    if is_local(uri):
        return _of_files(files_of(path_of(uri)))
    if scheme == "s3":
        return tables.rows_of(uri, _object(uri))
    if scheme in DRIVERS:
        return _of_database(uri, query, fallback)
    raise BadInput(f"{scheme}: no such kind of source; give a path, s3://, postgresql:// or mysql://")


def is_local(uri: str) -> bool:
    """Whether it names a file or folder of this machine."""
    return "://" not in uri or uri.startswith("file://")


def path_of(uri: str) -> Path:
    """The file or folder that a local URI names."""
    return Path(unquote(uri.removeprefix("file://"))) if uri.startswith("file://") else Path(uri)


def files_of(path: Path) -> list[Path]:
    """The file, or a folder's tables by name."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise BadInput(f"{path}: no such file (a relative path is looked up from {Path.cwd()}); give its absolute path")
    if found := sorted(file for file in path.iterdir() if file.suffix in TABLES):
        return found
    raise BadInput(f"{path}: no CSV or Parquet file is in this folder; put one there")


def _of_files(files: list[Path]) -> Rows:
    rows: Rows = []
    for file in files:
        more = tables.rows_of(str(file), _bytes(file))
        if rows and (odd := sorted(rows[0].keys() ^ more[0].keys())):
            raise BadInput(
                f"{file}: its columns differ from {files[0].name}'s in {', '.join(odd)}; give them all the same"
            )
        rows += more
    return rows


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInput(f"{file}: cannot be opened ({error.strerror}); check who may read it") from None


def bucket_and_key(uri: str) -> tuple[str, str]:
    """What an S3 URI names. Raises BadInput if it names none."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not BUCKET.fullmatch(bucket) or not key:
        raise BadInput("s3://…: no bucket and key; write s3://bucket/key, and credentials in AWS_* or ~/.aws")
    return bucket, key


def s3(bucket: str) -> Any:
    """Arrow's way to it. The SDK retries what may pass, with exponential back-off and jitter."""
    from pyarrow import fs

    asked = os.environ.get
    endpoint = asked("AWS_ENDPOINT_URL_S3") or asked("AWS_ENDPOINT_URL")
    region = asked("AWS_REGION") or asked("AWS_DEFAULT_REGION") or (None if endpoint else fs.resolve_s3_region(bucket))
    patience = fs.AwsStandardS3RetryStrategy(max_attempts=TRIES)
    waits = {"connect_timeout": CONNECT_S, "request_timeout": READ_S}
    return fs.S3FileSystem(endpoint_override=endpoint, region=region, retry_strategy=patience, **waits)


def _object(uri: str) -> bytes:
    """An S3 object's bytes."""
    bucket, key = bucket_and_key(uri)
    try:
        with s3(bucket).open_input_stream(f"{bucket}/{key}") as stream:
            return bytes(stream.read())
    except FileNotFoundError:
        raise BadInput(f"{uri}: no such object; check the bucket and the key") from None
    except OSError as error:
        said = " ".join(str(error).split())
        raise BadInput(f"{uri}: cannot be fetched ({said}); check the address and AWS_*, then try again") from None


def _of_database(uri: str, query: str, fallback: str) -> Rows:
    from sqlalchemy.exc import SQLAlchemyError

    url, table = _address(uri)
    asked = _only_reading(query) if query and not table else ""
    engine = _engine(url)
    try:
        return _patiently(engine, asked or _whole(engine, table or fallback))
    except BadInput as error:
        raise BadInput(f"{described(uri)}: {error}") from None
    except (SQLAlchemyError, TypeError, ValueError, OSError) as error:  # PyMySQL: TypeError for an unknown option
        raise BadInput(
            f"{described(uri)}: cannot be read ({_reason(error, url)}); "
            "check the address, the user and the table or query, then try again"
        ) from None


def _address(uri: str) -> "tuple[URL, str]":
    """What to connect to, password included; and the table after #."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    login, at, place = uri.rpartition("@")
    place, _, table = place.partition("#")
    scheme, _, rest = f"{login}{at}{place}".partition("://")
    try:
        url = make_url(f"{DRIVERS[scheme.partition('+')[0]]}://{rest}")
    except (ArgumentError, ValueError):
        url = None
    if url is None or described(uri).endswith("…"):
        raise BadInput(
            f"{scheme}://…: is no address of a database; write {scheme}://user@host/database#table, "
            "and in a password %40 for @ and %3F for ?"
        )
    secret = os.environ.get(PASSWORD)
    return (url.set(password=secret) if secret and url.username and not url.password else url), table


def _engine(url: "URL") -> "Engine":
    """One pool per address and process."""
    from sqlalchemy import create_engine

    if url in _pools:
        return _pools[url]
    waits = {"connect_timeout": CONNECT_S} | ({"read_timeout": READ_S} if url.drivername == DRIVERS["mysql"] else {})
    made = create_engine(url, pool_size=POOLED, pool_pre_ping=True, pool_recycle=RECYCLE_S, connect_args=waits)
    return _pools.setdefault(url, made)


def _only_reading(query: str) -> str:
    """The query without the semicolon at its end. The transaction refuses to write, too."""
    bare = query.strip().rstrip("; \t\r\n")
    if not SELECTS.fullmatch(LITERAL.sub("''", bare)):
        raise BadInput("a source is only read: the query must be one statement that begins with SELECT or WITH")
    return bare


def _whole(engine: "Engine", table: str) -> str:
    if not IDENTIFIER.fullmatch(table):
        raise BadInput("no table is named; end the address with #table or #schema.table, or give a query")
    quoted = map(engine.dialect.identifier_preparer.quote_identifier, table.split("."))
    return f"SELECT * FROM {'.'.join(quoted)}"  # noqa: S608 - an identifier, quoted


def _patiently(engine: "Engine", statement: str) -> Rows:
    """Read; when the server is away for a moment, begin again after a growing, random wait."""
    from sqlalchemy.exc import OperationalError

    for wait_s in (FIRST_WAIT_S * 2**tried for tried in range(TRIES - 1)):
        try:
            return _read(engine, statement)
        except OperationalError as error:
            if not _passing(error):
                raise
            log.warning("no connection to %s; trying again", engine.url.host)
        time.sleep(wait_s * random.uniform(0.5, 1.5))  # noqa: S311 - no secret is made of it
    return _read(engine, statement)


def _passing(error: "OperationalError") -> bool:
    """Whether the connection failed, not the login and not the statement."""
    return (error.connection_invalidated or error.statement is None) and not FINAL.search(str(error.orig))


def _read(engine: "Engine", statement: str) -> Rows:
    """Through a server-side cursor, in a transaction that cannot write."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(postgresql_readonly=True)
        else:
            connection.exec_driver_sql("START TRANSACTION READ ONLY")
        # Without parameters the driver takes % for what it is.
        connection.execution_options(yield_per=CHUNK, no_parameters=True)
        with connection.exec_driver_sql(statement) as found:
            return tables.records(found.keys(), found)


def _reason(error: Exception, url: "URL") -> str:
    """What the driver said, in one line and without the password."""
    said = getattr(error, "orig", None) or error
    text = " ".join(str(said.args[-1] if said.args else said).split())
    return text.replace(str(url.password), "***") if url.password else text

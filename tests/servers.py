"""Fixtures that are real servers: a fresh PostgreSQL and MariaDB database, and an S3 bucket; dropped at the end.

A test module asks for them with `pytest_plugins = ["tests.servers"]` and does not import this module itself.
"""

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager

import boto3
import pytest
import sqlalchemy as sa

from forewarn import sources
from tests.databases import MYSQL, POSTGRES, engine_of, run


@pytest.fixture(scope="session")
def postgres_uri() -> Iterator[str]:
    """postgresql://user:password@host:port/database: a database of its own, whose user owns it."""
    name, password = f"forewarn_{secrets.token_hex(4)}", secrets.token_hex(16)
    made = [f"CREATE ROLE {name} LOGIN PASSWORD '{password}'", f"CREATE DATABASE {name} OWNER {name}"]
    with fresh(POSTGRES, name, password, made, [f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {name}"]) as uri:
        yield uri


@pytest.fixture(scope="session")
def mysql_uri() -> Iterator[str]:
    """mysql://user:password@host:port/database: a database of its own, whose user may do anything in it."""
    name, password = f"forewarn_{secrets.token_hex(4)}", secrets.token_hex(16)
    user = f"{name}@'%%'"
    made = [
        f"CREATE DATABASE {name} CHARACTER SET utf8mb4",
        f"CREATE USER {user} IDENTIFIED BY '{password}'",
        f"GRANT ALL ON {name}.* TO {user}",
    ]
    with fresh(MYSQL, name, password, made, [f"DROP DATABASE {name}", f"DROP USER {user}"]) as uri:
        yield uri


@contextmanager
def fresh(admin: str, name: str, password: str, made: list[str], dropped: list[str]) -> Iterator[str]:
    """A database and its user, for as long as this lasts; skips where the server is not there."""
    engine = engine_of(admin)
    try:
        run(engine, made)
    except sa.exc.OperationalError as error:
        pytest.skip(f"no database server for tests: {error.orig}")
    try:
        url = engine.url.set(drivername=admin.partition(":")[0], username=name, password=password, database=name)
        yield url.render_as_string(hide_password=False)
    finally:
        sources.close()
        run(engine, dropped)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The name of an empty bucket on a local S3 server, which the environment leads to."""
    from moto.server import ThreadedMotoServer  # a second that only S3's tests wait for

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        with closing(boto3.client("s3")) as client:
            client.create_bucket(Bucket="forewarn-tests")
        yield "forewarn-tests"
    server.stop()

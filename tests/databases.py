"""What tests put into real databases and buckets, and who may make them."""

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import boto3
import sqlalchemy as sa

# Who may make databases. Read here because tests run without any FOREWARN_* in their environment.
POSTGRES = os.environ.get("FOREWARN_TEST_POSTGRES", "postgresql://root@127.0.0.1:5432/postgres")
MYSQL = os.environ.get("FOREWARN_TEST_MYSQL", "mysql://root@127.0.0.1:3306/")
DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}

COLUMN_TYPES = {bool: sa.Boolean(), int: sa.Integer(), float: sa.Double(), str: sa.String(255)}


def engine_of(uri: str) -> sa.Engine:
    scheme, _, rest = uri.partition("://")
    return sa.create_engine(f"{DRIVERS[scheme]}://{rest}", poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")


def run(engine: sa.Engine, statements: Sequence[str]) -> None:
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def put_table(uri: str, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table of these rows, in place of one of that name; types as in the first row that has a value."""
    kinds = {key: next(type(row[key]) for row in rows if row[key] is not None) for key in rows[0]}
    made = sa.Table(name, sa.MetaData(), *(sa.Column(key, COLUMN_TYPES[kind]) for key, kind in kinds.items()))
    with engine_of(uri).connect() as connection:
        made.drop(connection, checkfirst=True)
        made.create(connection)
        connection.execute(made.insert(), [dict(row) for row in rows])


def put_object(bucket: str, key: str, body: bytes) -> None:
    with closing(boto3.client("s3")) as client:
        client.put_object(Bucket=bucket, Key=key, Body=body)

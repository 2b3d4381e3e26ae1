from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from forewarn import tables, usecases
from forewarn.errors import BadInput
from forewarn.loader import DataLoader, handled
from tests import databases

pytest_plugins = ["tests.servers"]

CHURN = usecases.get("churn")
ROWS = CHURN.sample(5, seed=2)
KEY = CHURN.key


def ids(frame: pd.DataFrame) -> list[str]:
    return sorted(frame[KEY])


EXPECTED = sorted(row[KEY] for row in ROWS)


def config_of(uri: str) -> dict[str, Any]:
    """The document's keys for a database's URI, and its password apart."""
    url = sa.make_url(uri)
    return {
        "db_type": url.drivername,
        "db_host": url.host,
        "db_port": url.port,
        "db_name": url.database,
        "db_user": url.username,
    }


@pytest.fixture(params=["postgres_uri", "mysql_uri"])
def database(request: pytest.FixtureRequest) -> str:
    """The URI of a database that holds the table `churn`."""
    uri: str = request.getfixturevalue(request.param)
    databases.put_table(uri, CHURN.name, ROWS)
    return uri


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    (tmp_path / "churn.csv").write_text(tables.csv_of(ROWS))
    return tmp_path / "churn.csv"


@pytest.mark.requirement("S2-11")
def test_each_of_the_document_s_loaders_gives_a_frame_of_the_rows(csv_file: Path, database: str, s3: str) -> None:
    databases.put_object(s3, "churn.csv", csv_file.read_bytes())
    loader = DataLoader(CHURN)
    assert ids(loader.load_from_csv(str(csv_file))) == EXPECTED
    assert ids(loader.load_from_s3(s3, "churn.csv")) == EXPECTED
    some = loader.load_from_database("SELECT * FROM churn WHERE tenure_months >= 0", database)
    assert ids(some) == EXPECTED
    assert some["monthly_charges"].dtype == "float64"
    loader.validate_schema(some)


@pytest.mark.requirement("S2-11")
def test_every_problem_of_a_frame_is_said_at_once() -> None:
    frame = pd.DataFrame({"monthly_charges": [1.0], "MonthlyCharges": [1.0], "city": ["x"]})
    loader = DataLoader.from_config(CHURN, {"csv_path": "x.csv", "required_columns": ["city", "region"]})
    with pytest.raises(BadInput) as raised:
        loader.validate_schema(frame)
    assert str(raised.value).splitlines() == [
        "churn: the column tenure_months (or tenure) is missing",
        "churn: the columns monthly_charges and MonthlyCharges both give monthly_charges; keep one",
        "churn: the column contract (or Contract) is missing",
        "churn: the column region is missing",
    ]


@pytest.mark.requirement("S2-13")
def test_a_config_names_its_file(csv_file: Path) -> None:
    config = {"csv_path": str(csv_file), "required_columns": ["support_calls", "Churn"]}
    assert ids(DataLoader.from_config(CHURN, config).load()) == EXPECTED


@pytest.mark.requirement("S2-13")
def test_a_config_names_its_database(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREWARN_SOURCE_PASSWORD", str(sa.make_url(database).password))
    config = config_of(database)
    assert ids(DataLoader.from_config(CHURN, config).load()) == EXPECTED
    query = f"SELECT * FROM churn WHERE {KEY} = '{EXPECTED[0]}'"
    assert ids(DataLoader.from_config(CHURN, {**config, "query": query}).load()) == EXPECTED[:1]


@pytest.mark.requirement("S2-13")
def test_what_a_config_requires_is_looked_for_when_it_loads(csv_file: Path) -> None:
    loader = DataLoader.from_config(CHURN, {"csv_path": str(csv_file), "required_columns": ["city"]})
    with pytest.raises(BadInput, match="the column city is missing"):
        loader.load()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "name one source"),
        ({"csv_path": "x.csv", "db_type": "mysql"}, "name one source"),
        ({"db_type": "oracle"}, "db_type"),
        ({"csv_path": "x.csv", "db_password": "hidden"}, "db_password"),
        ({"db_type": "mysql", "db_port": "many"}, "db_port"),
    ],
)
def test_a_config_that_names_no_source_is_one_sentence(config: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said) as raised:
        DataLoader.from_config(CHURN, config)
    assert len(str(raised.value).splitlines()) == 1
    assert "hidden" not in str(raised.value)


def test_a_loader_without_a_config_says_so() -> None:
    with pytest.raises(BadInput, match="has no config"):
        DataLoader(CHURN).load()


@pytest.mark.requirement("S2-11")
def test_what_nobody_expected_is_logged_and_said_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    words = "no route to mysql://ann:hidden@db"

    @handled
    def fetch() -> None:
        raise ConnectionError(words)

    with pytest.raises(BadInput, match=r"fetch failed \(ConnectionError\)"):
        fetch()
    assert "test_loader.py" in caplog.text
    assert "hidden" not in caplog.text


@pytest.mark.requirement("S2-11")
def test_what_a_source_refuses_is_logged_and_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BadInput, match="no such file"):
        DataLoader(CHURN).load_from_csv("/nowhere/churn.csv")
    assert "load_from_csv: /nowhere/churn.csv: no such file" in caplog.text

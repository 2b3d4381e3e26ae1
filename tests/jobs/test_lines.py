"""Lines of columns are the lines of their rows: order, bits, words and reasons."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examined
from hypothesis import strategies as some
from pyarrow import csv, parquet

from forewarn import entities, usecases
from forewarn.feature_store import FeatureStore
from forewarn.growing import Growing
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from jobs.lines import AT_ONCE, WORDS, Order, Scorer, records
from tests.conftest import CASES, fitted
from tests.forewarn.test_blocks import tables_of
from tests.jobs.test_score import install

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def scorer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    case: UseCase = request.param
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    install(settings, *(fitted(one, seed=1) for one in case.profiles))
    return of(case, settings)


def of(case: UseCase, settings: Settings, *, explained: bool = False) -> Scorer:
    return Scorer(Order.of(case, settings, version=None, explained=explained, at=NOW))


@examined(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=some.data())
def test_lines_of_columns_are_the_lines_of_their_rows(scorer: Scorer, data: some.DataObject) -> None:
    table = data.draw(tables_of(scorer._case))
    assert scorer.of_columns(table).to_pylist() == scorer.of_rows(records(table)).to_pylist()


def test_a_recommendation_and_an_explanation_are_told_row_by_row(settings: Settings) -> None:
    case = usecases.get("churn")
    install(settings, fitted(case, seed=1))
    table = pa.Table.from_pylist(case.sample(4, seed=3))
    told = of(case, settings, explained=True).of_columns(table)
    assert told.to_pylist() == of(case, settings, explained=True).of_rows(records(table)).to_pylist()
    assert all(told["explanation"].to_pylist())
    assert all(of(case, settings).of_columns(table)["recommendation"].to_pylist())


def test_rows_that_the_store_may_fill_are_filled_and_the_others_need_no_rows(settings: Settings) -> None:
    case = usecases.get("attrition")
    install(settings, fitted(case, seed=1))
    known = [{name: value for name, value in row.items() if name != case.target} for row in case.sample(6, seed=3)]
    store = FeatureStore.open(settings)
    store.put(case, list(entities.admit(case, known).rows.values()), valid_from=NOW, loaded_at=NOW)
    table = pa.Table.from_pylist([{**row, "JobLevel": None} if n % 2 else row for n, row in enumerate(known)])
    told = of(case, settings).of_columns(table)
    assert told.to_pylist() == of(case, settings).of_rows(known).to_pylist()
    assert told["features_imputed"].to_pylist() == [""] * 6


def test_few_different_words_are_held_once(settings: Settings) -> None:
    case = usecases.get("attrition")
    install(settings, fitted(case, seed=1))
    told = of(case, settings).of_columns(pa.Table.from_pylist(case.sample(100, seed=3)))
    assert told.schema.field("prediction").type == WORDS
    assert len(told["model_version"].chunk(0).dictionary) == 1
    assert told.schema.field("EmployeeNumber").type == pa.string()


class Watched(Scorer):
    """Remembers how many rows went one by one."""

    def of_rows(self, raw: list[dict[str, Any]]) -> pa.Table:
        self.seen = len(raw)
        return super().of_rows(raw)


def test_a_bad_row_of_a_block_goes_alone(settings: Settings) -> None:
    case = usecases.get("attrition")
    install(settings, fitted(case, seed=1))
    rows: list[dict[str, Any]] = case.sample(50, seed=3)
    rows[7]["MonthlyIncome"] = -1
    scorer = Watched(Order.of(case, settings, version=None, explained=False, at=NOW))
    told = scorer.of_columns(pa.Table.from_pylist(rows))
    assert scorer.seen == 1
    assert [place for place, line in enumerate(told.to_pylist()) if line["reason"]] == [7]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_many_rows_of_both_ways_are_written_in_order(settings: Settings, tmp_path: Path, suffix: str) -> None:
    case = usecases.get("attrition")
    install(settings, fitted(case, seed=1))
    rows = [{**row, "Gender": "Ä" if n % 2 else "x"} for n, row in enumerate(case.sample(3 * AT_ONCE, seed=3))]
    rows[-1]["JobRole"] = None
    told = of(case, settings).of_columns(pa.Table.from_pylist(rows))
    growing = Growing(tmp_path / f"told{suffix}", told.schema.remove(len(told.schema) - 1))
    growing.write(told)
    growing.settle()
    growing.finish([growing.size])
    read = (csv.read_csv if suffix == ".csv" else parquet.read_table)(tmp_path / f"told{suffix}")
    assert read["EmployeeNumber"].to_pylist() == [row["EmployeeNumber"] for row in rows]
    assert read["risk_level"].to_pylist() == told["risk_level"].to_pylist()
    assert read["features_imputed"].to_pylist()[-2:] == ["", "JobRole"]
    assert read.schema.field("risk_level").type == pa.string()

"""Scoring files, where no Ray is needed: reading in pieces, lines of an output, what is refused."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from forewarn import answering, entities, scoring, tables, usecases
from forewarn.errors import BadInput, ForewarnError, NotFound
from forewarn.feature_store import FeatureStore
from forewarn.manifest import SoFar
from forewarn.package import ModelPackage
from forewarn.releases import Releases, ReleaseState
from forewarn.settings import PROJECT, Settings
from forewarn.usecase import UseCase
from jobs import score, stream
from jobs.lines import ABOUT_REQUESTS, Order, Scorer, flat, schema
from jobs.stretches import Reader, Stretch
from tests.conftest import fitted

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ABSENTEEISM = usecases.get("absenteeism")
TOLD = pa.schema([("a", pa.int64()), ("reason", pa.string())])


def install(settings: Settings, *packages: ModelPackage) -> None:
    """Make them champions of this home."""
    releases = Releases(settings.packages)
    for package in packages:
        releases.admit(package.case, "v1", package.save(settings.make_home() / "saved" / package.case.name))
        releases.put_up(package.case, ReleaseState(champion="v1"))


def lines(settings: Settings, case: UseCase, rows: list[dict[str, Any]], *, explained: bool = False) -> pa.Table:
    """What one actor makes of them."""
    scorer = Scorer(Order.of(case, settings, version=None, explained=explained, at=NOW))
    return pa.concat_tables(stream.piece_of(scorer(block)) for block in stream.parts(0, stream.pieces(rows, 1000)))


@pytest.mark.parametrize(
    "raw",
    [
        b"a,b\n1,x\n2,\n",
        b"\xef\xbb\xbfa,b\r\n1,x\r\n\r\n2, \r\n",
        b'a;b\n"1;5";"one\ntwo"\n2;"say ""so"""\n',
        "a\tb\nM\u00fcnchen\tgr\u00fc\u00df\n".encode("cp1252"),
        "a,b\n1,M\u00fcnchen\n".encode("utf-16"),
        b"\n\na ,  b  c ,\n1,2,\n3,4,\n",
        b'"a, b";c\n1;2\n',
        b"a,b\n" + b"1,2\n" * 5000 + "3,\u00fc\n".encode("cp1252"),
        b"a,b\n" + b"1,2\n" * 5000 + "3,\u4e2d\n".encode(),
    ],
)
def test_a_file_in_pieces_has_the_rows_of_the_file_at_once(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(raw)
    assert list(stream.rows_of(file)) == tables.rows_of(str(file), raw)


@pytest.mark.parametrize(
    "raw", [b"", b" \n\n", b"a,b\n", b"a,b\n1\n", b"a,b\n1,2,3\n", b"a,b\n\0,1\n", b'a,b\n"1,2\n', b"a,a\n1,2\n"]
)
def test_a_bad_file_in_pieces_is_refused_in_the_same_words(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(raw)
    with pytest.raises(BadInput) as at_once:
        tables.rows_of(str(file), raw)
    with pytest.raises(BadInput) as in_pieces:
        list(stream.rows_of(file))
    assert str(in_pieces.value) == str(at_once.value)


def test_parquet_in_pieces_keeps_what_values_are(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    columns = {"n": [1, None, 3], "x": [0.1, float("nan"), float("inf")], " day ": [NOW.date(), None, NOW.date()]}
    parquet.write_table(pa.table(columns | {"__index_level_0__": [7, 8, 9]}), file, row_group_size=2)
    assert list(stream.rows_of(file)) == tables.rows_of(str(file), file.read_bytes())


def test_what_is_no_parquet_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    file.write_bytes(b"PAR1 no")
    with pytest.raises(BadInput, match=r"rows\.parquet: cannot be read as a table"):
        list(stream.rows_of(file))


def test_files_of_a_folder_must_agree_and_have_what_is_required(tmp_path: Path) -> None:
    for name, text in (("a.csv", "MonthlyIncome,OverTime\n1,Yes\n"), ("b.csv", "MonthlyIncome,OverTime,X\n1,Yes,2\n")):
        (tmp_path / name).write_text(text)
    case, files = usecases.get("attrition"), sorted(tmp_path.iterdir())
    with pytest.raises(BadInput, match=r"b\.csv: its columns differ from a\.csv's in X"):
        stream.check(case, files)
    with pytest.raises(BadInput, match="the column tenure_months"):
        stream.check(usecases.get("churn"), files[:1])


def test_without_the_hinge_a_files_columns_are_held_against_the_other_profile(tmp_path: Path) -> None:
    row = {name: str(value) for name, value in ABSENTEEISM.examples[1].row.items()}
    (tmp_path / "rows.csv").write_text(tables.csv_of([row]))
    stream.check(ABSENTEEISM, [tmp_path / "rows.csv"])


def test_parts_say_where_they_belong_and_which_is_the_last() -> None:
    blocks = list(stream.parts(3, stream.pieces([{"a": n} for n in range(5)], 4)))
    assert [stream.trace_of(block) for block in blocks] == [(3, 0, 4, False), (3, 4, 1, True)]
    assert [row["a"] for block in blocks for row in stream.piece_of(block)] == list(range(5))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_parts_of_a_file_are_its_rows_whoever_reads_which(tmp_path: Path, suffix: str) -> None:
    case = usecases.get("attrition")
    rows = [{**row, "Extra": "x"} for row in case.sample(50, seed=1)]
    file = tmp_path / f"rows{suffix}"
    if suffix == ".csv":
        file.write_text(tables.csv_of(rows))
    else:
        parquet.write_table(pa.Table.from_pylist(rows), file, row_group_size=20)
    found = [stream.piece_of(block) for block in stream.parts(0, stream.pieces_of(file, 7))]
    for mine in (found[::2], found[1::2], found[::-1]):
        reader = Reader(case, 7)
        read = [reader(piece) if isinstance(piece, Stretch) else piece for piece in mine]
        assert all({"Extra", case.target} <= set(table.column_names) for table in read)
        ids = [name for table in read for name in table["EmployeeNumber"].to_pylist()]
        assert ids == [rows[place]["EmployeeNumber"] for place in places_of(found, mine)]


def places_of(pieces: list[Any], mine: list[Any]) -> list[int]:
    starts = np.cumsum([0, *map(len, pieces)])
    return [int(starts[at]) + n for one in mine for at in [pieces.index(one)] for n in range(len(one))]


def test_a_file_that_became_shorter_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"Age": [30, 31]}), file)
    gone = Stretch(path=str(file), group=0, start=1, rows=2)
    with pytest.raises(BadInput, match=r"rows\.parquet: it became shorter while it was read"):
        Reader(usecases.get("attrition"), 10)(gone)


@pytest.mark.parametrize("explained", [False, True])
def test_a_line_has_the_columns_that_were_promised_and_no_others(package: ModelPackage, explained: bool) -> None:
    case = package.case
    rows = scoring.validate(case, case.sample(2, seed=3))
    scores = scoring.score(package, rows.values, why=explained or case.recommends)
    answer = answering.tell(case, rows, scores, package.card, at=NOW, explained=explained)[0]
    assert not ABOUT_REQUESTS & answer.keys()
    key = {case.spec[case.key].wire} if case.key else set()
    alone = schema(case, explained=explained) if not case.otherwise else None
    assert key | flat(answer).keys() <= set(schema(case, explained=explained).names)
    assert alone is None or key | flat(answer).keys() == set(alone.names)


def test_an_answer_becomes_cells() -> None:
    explanation = {"scale": "hours", "contributions": [{"field": "Age"}]}
    answer = {"interval": {"low": 0.5, "high": 2.0}, "reasons": ["a", "b"], "explanation": explanation, "x": None}
    assert flat(answer) == {
        "interval_low": 0.5,
        "interval_high": 2.0,
        "reasons": "a; b",
        "explanation": json.dumps(explanation, separators=(",", ":")),
        "x": None,
    }


def test_lines_are_the_one_paths_scores_to_the_last_bit(settings: Settings, package: ModelPackage) -> None:
    install(settings, package)
    raw = package.case.sample(1500, seed=11)
    told = lines(settings, package.case, raw)
    scores = scoring.score(package, scoring.validate(package.case, raw).values).values
    name = "probability" if "probability" in told.column_names else "prediction"
    assert told[name].to_pylist() == scores.tolist()


def test_each_row_says_which_profile_answered_and_keeps_its_place(settings: Settings) -> None:
    install(settings, fitted(ABSENTEEISM, seed=1), fitted(ABSENTEEISM.otherwise, seed=2))
    raw = [
        {**row, "Reason for absence": None} if n % 3 else row for n, row in enumerate(ABSENTEEISM.sample(30, seed=4))
    ]
    told = lines(settings, ABSENTEEISM, raw, explained=True).to_pylist()
    assert [line["served_by"] for line in told] == [
        "absenteeism_forecast" if n % 3 else "absenteeism" for n in range(30)
    ]
    assert [line["ID"] for line in told] == [row["ID"] for row in raw]
    assert all(line["interval_low"] <= line["prediction"] <= line["interval_high"] for line in told)
    assert "Age" in told[0]["explanation"]
    assert told[0]["recommendation"]


def test_a_profile_without_a_champion_rejects_its_rows_and_no_others(settings: Settings) -> None:
    install(settings, fitted(ABSENTEEISM, seed=1))
    raw = ABSENTEEISM.sample(2, seed=4)
    told = lines(settings, ABSENTEEISM, [raw[0], {**raw[1], "Reason for absence": None}]).to_pylist()
    assert told[0]["reason"] is None
    assert told[1]["reason"].startswith("absenteeism_forecast has no champion yet; train one")


def test_a_bad_row_has_its_reason_and_neither_itself_nor_its_subject(settings: Settings) -> None:
    case = usecases.get("churn")
    install(settings, fitted(case, seed=1))
    good = case.sample(1, seed=4)[0]
    bad = {**good, "customer_id": "C" * 65, "tenure_months": "-1", "contract": None}
    told = lines(settings, case, [good, bad, good]).to_pylist()
    assert [line["reason"] is None for line in told] == [True, False, True]
    assert all(said in told[1]["reason"] for said in ("customer_id: ", "tenure_months: ", "contract: "))
    assert "CCC" not in str(told[1])
    assert {name for name, value in told[1].items() if value is not None} == {"reason"}


def test_the_version_is_chosen_once_and_must_be_there(settings: Settings, package: ModelPackage) -> None:
    with pytest.raises(NotFound, match="has no champion yet; train one"):
        Order.of(package.case, settings, version=None, explained=False, at=NOW)
    install(settings, package)
    order = Order.of(package.case, settings, version="1", explained=False, at=NOW)
    assert order.versions[package.case.name] == "v1"
    with pytest.raises(NotFound, match="version v9 is not in the package store; there is v1"):
        Order.of(package.case, settings, version="v9", explained=False, at=NOW)


def ignored(value: object) -> None:
    """Nobody wants it."""


class Heap:
    """Keeps all it is given."""

    def __init__(self) -> None:
        self.so_far = SoFar()
        self.good: list[pa.Table] = []
        self.bad: list[pa.Table] = []

    def kept(self, lines: pa.Table) -> None:
        self.good.append(lines)

    def rejects(self, lines: pa.Table) -> None:
        self.bad.append(lines)

    def note(self, until: SoFar, **_: bool) -> SoFar:
        return until


def told_of(file: int, place: int, rows: int, last: bool) -> pa.Table:
    lines = [{"a": 1, "reason": None if row else "bad"} for row in range(rows)]
    return stream.part((file, place, rows, last), pa.Table.from_pylist(lines, schema=TOLD))


def test_rows_are_numbered_over_all_files_and_parted() -> None:
    heap = Heap()
    until = score.collect([told_of(0, 0, 2, True), told_of(1, 0, 2, True)], ["a.csv", "b.csv"], heap, ignored)
    assert until.told() == {"rows": 4, "scored": 2, "rejected": 2, "opted_out": 0}
    assert [row for table in heap.good for row in table["row"].to_pylist()] == [1, 3]
    bad = [(row["row"], row["file"]) for table in heap.bad for row in table.to_pylist()]
    assert bad == [(0, "a.csv"), (2, "b.csv")]


@pytest.mark.parametrize(
    "trace",
    [
        [(0, 0, 2, False), (0, 3, 1, True)],
        [(0, 2, 2, False), (0, 0, 2, True)],
        [(0, 0, 2, False), (0, 2, 2, False)],
        [(0, 0, 2, True), (1, 0, 2, True)],
    ],
    ids=["one lost", "out of order", "end lost", "one too many"],
)
def test_a_row_that_is_lost_or_out_of_order_is_an_error(trace: list[stream.Trace]) -> None:
    with pytest.raises(ForewarnError, match="lost"):
        score.collect([told_of(*one) for one in trace], ["a.csv"], Heap(), ignored)


def called(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FOREWARN_HOME": str(settings.home)}
    command = [sys.executable, "-m", "jobs.score", "churn", *arguments]
    return subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=100)


@pytest.mark.slow
def test_what_cannot_be_is_one_sentence_before_any_ray_starts(settings: Settings, tmp_path: Path) -> None:
    install(settings, fitted(usecases.get("churn"), seed=1))
    (tmp_path / "there.csv").write_text("mine")
    for name, said in (("there.csv", "is there already; choose another name"), ("new.csv", "no such file")):
        done = called(settings, "--input", str(tmp_path / "rows.csv"), "--output", str(tmp_path / name))
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert [path.read_text() for path in tmp_path.glob("*.csv")] == ["mine"]


@pytest.mark.slow
def test_an_output_of_no_known_kind_is_a_bad_argument(settings: Settings, tmp_path: Path) -> None:
    assert called(settings, "--input", "rows.csv", "--output", str(tmp_path / "scores.json")).returncode == 2


def test_what_the_store_knows_is_filled_in_as_the_service_does(settings: Settings) -> None:
    case = usecases.get("churn")
    install(settings, fitted(case, seed=1))
    whole = [{k: v for k, v in row.items() if k != case.target} for row in case.sample(4, seed=3)]
    store = FeatureStore.open(settings)
    store.put(case, list(entities.admit(case, whole).rows.values()), valid_from=NOW, loaded_at=NOW)
    alone = lines(settings, case, [{"customer_id": row["customer_id"]} for row in whole])
    assert alone["reason"].null_count == 4
    assert alone["probability"].equals(lines(settings, case, whole)["probability"])

"""A batch job that is stopped and run again: what was written stands, what comes after follows on; no Ray is needed."""

import csv
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from forewarn import tables, usecases
from forewarn.errors import BadInput, ForewarnError
from forewarn.growing import Growing
from forewarn.ledger import files
from forewarn.ledger.audit import By
from forewarn.ledger.privacy import Privacy
from forewarn.ledger.store import Ledger
from forewarn.locks import Lock
from forewarn.manifest import LOCK, Manifest, folder_of
from forewarn.releases import Releases, ReleaseState
from forewarn.settings import Settings
from jobs import parts, score, stream
from jobs.lines import Order, Scorer
from jobs.outputs import Output, rejects_of
from jobs.stream import Source
from tests.conftest import fitted
from tests.jobs.test_score import ignored, install

pytestmark = pytest.mark.slow

CASE = usecases.get("attrition")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
BY = By(actor="operator")
SIZE = 40


class Killed(BaseException):
    """Nothing can be done any more."""


@pytest.fixture
def home(settings: Settings) -> Settings:
    install(settings, fitted(CASE, seed=1))
    return settings


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 2 * SIZE)


def sampled(n: int) -> list[dict[str, Any]]:
    """Every ninth is bad."""
    rows = [{name: v for name, v in row.items() if name != CASE.target} for row in CASE.sample(n, seed=7)]
    return [
        {**row, "EmployeeNumber": f"E{n}", **({} if n % 9 else {"MonthlyIncome": -1})} for n, row in enumerate(rows)
    ]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two files, of 500 rows."""
    rows, folder = sampled(500), tmp_path / "in"
    folder.mkdir()
    (folder / "a.csv").write_text(tables.csv_of(rows[:230]), newline="")
    parquet.write_table(pa.Table.from_pylist(rows[230:]), folder / "b.parquet", row_group_size=100)
    return folder


def order_of(home: Settings, *, version: str | None = None, at: datetime = NOW) -> Order:
    return Order.of(CASE, home, version=version, explained=False, at=at)


def blocks(kept: parts.Parts, source: Source, size: int = SIZE) -> Iterator[pa.Table]:
    """As actors make them."""
    scorer, before = Scorer(kept.order), kept.so_far
    for number, file in enumerate(source.files):
        if number >= before.file:
            place = before.place if number == before.file else 0
            yield from map(scorer, stream.parts(number, stream.pieces_of(file, size), place))


def killed_after(count: int, found: Iterator[pa.Table], error: BaseException | None = None) -> Iterator[pa.Table]:
    for number, block in enumerate(found):
        if number == count:
            raise error or Killed
        yield block


def scored(
    home: Settings, data: Path, output: Path, *, killed: int | None = None, error: BaseException | None = None,
    order: Order | None = None, overwrite: bool = False, size: int = SIZE, suits: Callable[[Any], None] = ignored,
) -> dict[str, int]:  # fmt: skip
    """One attempt."""
    source, wanted = Source.of(str(data), CASE), Output(path=output)
    with parts.held(order or order_of(home), source, wanted, overwrite=overwrite) as kept:
        suits(kept)
        found = blocks(kept, source, size)
        score.collect(found if killed is None else killed_after(killed, found, error), source.names, kept, ignored)
        done = kept.finish()
        files.register(home, CASE.name, "v1", output, done, at=kept.order.at)
    return done


def told(output: Path) -> list[dict[str, Any]]:
    if output.suffix == ".parquet":
        return parquet.read_table(output).to_pylist()
    with output.open(newline="") as file:
        return list(csv.DictReader(file))


def subjects(output: Path) -> list[str]:
    return [row["EmployeeNumber"] for row in told(output)]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("killed", [0, 1, 3, 5, 6, 7, 11])
def test_a_run_that_was_killed_goes_on_and_is_as_if_it_had_not_been(
    home: Settings, data: Path, tmp_path: Path, suffix: str, killed: int
) -> None:
    whole, output = tmp_path / f"whole{suffix}", tmp_path / f"again{suffix}"
    expected = scored(home, data, whole)
    with pytest.raises(Killed):
        scored(home, data, output, killed=killed)
    assert not output.exists()
    later = NOW if killed < 2 else NOW + timedelta(hours=1)  # than the first of whose rows some are there
    done = scored(home, data, output, order=order_of(home, at=later))
    assert done == expected == {"rows": 500, "scored": 444, "rejected": 56, "opted_out": 0}
    assert told(output) == told(whole)
    assert rejects_of(output).read_bytes() == rejects_of(whole).read_bytes()
    assert suffix == ".parquet" or output.read_bytes() == whole.read_bytes()
    assert not folder_of(output).exists()


def test_it_goes_on_after_the_last_whole_part_and_says_so(
    home: Settings, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output, seen = tmp_path / "scores.csv", []
    with pytest.raises(Killed):
        scored(home, data, output, killed=3)
    scored(home, data, output, suits=lambda kept: seen.append((kept.so_far.rows, kept.order.at)),
           order=order_of(home, at=NOW + timedelta(hours=1)))  # fmt: skip
    assert seen == [(80, NOW)]
    assert "going on after 80 rows" in capfd.readouterr().err


def test_parts_of_another_size_join_too(home: Settings, data: Path, tmp_path: Path) -> None:
    for killed, size in ((3, 40), (2, 70)):
        with pytest.raises(Killed):
            scored(home, data, tmp_path / "scores.parquet", killed=killed, size=size)
    scored(home, data, tmp_path / "scores.parquet", size=33)
    scored(home, data, tmp_path / "whole.parquet")
    assert told(tmp_path / "scores.parquet") == told(tmp_path / "whole.parquet")


@pytest.mark.parametrize("name", ["scores.csv", "rejects.csv", "manifest.jsonl"])
@pytest.mark.parametrize("spoilt", [lambda raw: raw[:-3], lambda raw: raw + b"torn", lambda raw: raw[:9] + raw[10:]])
def test_what_is_not_as_it_was_written_is_done_again(
    home: Settings, data: Path, tmp_path: Path, name: str, spoilt: Callable[[bytes], bytes]
) -> None:
    whole, output = tmp_path / "whole.csv", tmp_path / "scores.csv"
    scored(home, data, whole)
    with pytest.raises(Killed):
        scored(home, data, output, killed=5)
    file = folder_of(output) / name
    file.write_bytes(spoilt(file.read_bytes()))
    scored(home, data, output)
    assert output.read_bytes() == whole.read_bytes()


def test_a_crash_between_the_last_part_and_the_name_costs_nothing(home: Settings, data: Path, tmp_path: Path) -> None:
    whole, output = tmp_path / "whole.parquet", tmp_path / "scores.parquet"
    scored(home, data, whole)
    source = Source.of(str(data), CASE)
    with suppress(Killed), parts.held(order_of(home), source, Output(path=output)) as kept:
        score.collect(blocks(kept, source), source.names, kept, ignored)
        kept._files["scores"].finish([part.ends["scores"] for part in kept._parts])
        raise Killed
    with parts.held(order_of(home), source, Output(path=output)) as kept:
        assert list(blocks(kept, source)) == []
        assert kept.finish()["rows"] == 500
    assert told(output) == told(whole)


def test_another_order_is_refused_and_overwrite_begins_anew(home: Settings, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.csv"
    with pytest.raises(Killed):
        scored(home, data, output, killed=3)
    with (data / "a.csv").open("a") as file:
        file.write("\r\n")
    said = (
        r"scores\.csv: an earlier run was broken off after 80 rows, .* is the input \(a\.csv changed\); .*--overwrite"
    )
    with pytest.raises(ForewarnError, match=said):
        scored(home, data, output)
    assert (folder_of(output) / "scores.csv").stat().st_size
    scored(home, data, output, overwrite=True)
    assert len(told(output)) == 444


def test_a_version_that_was_promoted_meanwhile_is_another_order(home: Settings, data: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        scored(home, data, tmp_path / "scores.csv", killed=3)
    releases = Releases(home.packages)
    releases.admit(CASE, "v2", fitted(CASE, seed=2).save(tmp_path / "v2"))
    releases.put_up(CASE, ReleaseState(champion="v2"))
    with pytest.raises(ForewarnError, match=r"the version \(attrition v1, now v2\) and the package of that version"):
        scored(home, data, tmp_path / "scores.csv")
    assert scored(home, data, tmp_path / "scores.csv", order=order_of(home, version="v1"))["rows"] == 500


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_whoever_opted_out_meanwhile_is_taken_out_of_what_was_written(
    home: Settings, data: Path, tmp_path: Path, suffix: str
) -> None:
    """E9 is bad anyway, E25 and E71 are in the first parts, E240 comes later, E300 opted out before."""
    output, whole, privacy = tmp_path / f"scores{suffix}", tmp_path / f"whole{suffix}", Privacy(home)
    privacy.opt_out(privacy.person("E300", "attrition"), BY, at=NOW)
    with pytest.raises(Killed):
        scored(home, data, output, killed=5)
    for one in ("E9", "E25", "E71", "E240"):
        privacy.opt_out(privacy.person(one, "attrition"), BY, at=NOW)
    with pytest.raises(Killed):
        scored(home, data, output, killed=3)
    done = scored(home, data, output)
    assert scored(home, data, whole)["rows"] == 500
    assert (done["rows"], done["scored"]) == (500, 440)
    assert told(output) == told(whole)
    theirs = {(line["row"], line["file"]) for line in told(rejects_of(output)) if "opted out" in line["reason"]}
    assert theirs >= {("25", "a.csv"), ("71", "a.csv"), ("240", "b.parquet"), ("300", "b.parquet")}
    listed = [int(line["row"]) for line in told(rejects_of(output))]
    assert listed == sorted(listed)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_whoever_was_erased_meanwhile_is_not_in_the_output(
    home: Settings, data: Path, tmp_path: Path, suffix: str
) -> None:
    output, privacy = tmp_path / f"scores{suffix}", Privacy(home)
    with pytest.raises(Killed):
        scored(home, data, output, killed=5)
    privacy.erase(privacy.person("E25", "attrition"), BY, at=NOW + timedelta(minutes=1))
    scored(home, data, output, order=order_of(home, at=NOW + timedelta(hours=1)))
    expected = [f"E{n}" for n in range(500) if n % 9 and n != 25]
    assert subjects(output) == expected
    with closing(Ledger.open(home)) as ledger, ledger.begin() as connection:
        assert [one["path"] for one in files.registered(connection, ["attrition"])] == [str(output)]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_erasure_leaves_nothing_in_parts_that_nobody_is_writing(
    home: Settings, data: Path, tmp_path: Path, suffix: str
) -> None:
    output, privacy = tmp_path / f"scores{suffix}", Privacy(home)
    with pytest.raises(Killed):
        scored(home, data, output, killed=5)
    assert suffix == ".parquet" or b"E25" in (folder_of(output) / "scores.csv").read_bytes()
    privacy.erase(privacy.person("E25", "churn"), BY, at=NOW + timedelta(minutes=1))
    receipt = privacy.erase(privacy.person("E25", "attrition"), BY, at=NOW + timedelta(minutes=1))
    assert receipt["files"]["rewritten"] == [str(folder_of(output))]
    assert not [file for file in folder_of(output).iterdir() if b"E25" in file.read_bytes()]
    seen: list[int] = []
    scored(home, data, output, suits=lambda kept: seen.append(kept.so_far.rows),
           order=order_of(home, at=NOW + timedelta(hours=1)))  # fmt: skip
    assert seen == [160]
    assert subjects(output) == [f"E{n}" for n in range(500) if n % 9 and n != 25]


def test_an_erasure_empties_parts_that_are_not_as_they_were_written(home: Settings, data: Path, tmp_path: Path) -> None:
    output, privacy = tmp_path / "scores.csv", Privacy(home)
    with pytest.raises(Killed):
        scored(home, data, output, killed=5)
    file = folder_of(output) / "scores.csv"
    file.write_bytes(b"x" + file.read_bytes())
    receipt = privacy.erase(privacy.person("E25", "attrition"), BY, at=NOW + timedelta(minutes=1))
    assert (receipt["files"]["dropped"], file.exists()) == ([str(folder_of(output))], False)
    scored(home, data, output, order=order_of(home, at=NOW + timedelta(hours=1)))
    assert subjects(output) == [f"E{n}" for n in range(500) if n % 9 and n != 25]


def test_an_erasure_waits_for_no_run_and_the_run_is_gone_through_at_its_end(
    home: Settings, data: Path, tmp_path: Path
) -> None:
    output, privacy = tmp_path / "scores.csv", Privacy(home)

    def erase(kept: object) -> None:
        receipt = privacy.erase(privacy.person("E25", "attrition"), BY, at=NOW + timedelta(minutes=1))
        assert receipt["files"] == {"rewritten": [], "not_found": [], "unreadable": [], "archives": []}

    scored(home, data, output, suits=erase)
    assert "E25" not in subjects(output)


def elsewhere(home: Settings, data: Path, uri: str, *, fails: bool = False) -> dict[str, int]:
    """One attempt at a database."""
    source, wanted = Source.of(str(data), CASE), Output.of(uri, "told", home, overwrite=False)
    with parts.held(order_of(home), source, wanted) as kept:
        score.collect(blocks(kept, source), source.names, kept, ignored)
        if fails:
            raise Killed
        return kept.finish()


def test_an_output_elsewhere_is_put_there_once_it_is_whole_without_the_erased(
    home: Settings, data: Path, tmp_path: Path
) -> None:
    uri, privacy = f"sqlite:///{tmp_path / 'out.db'}", Privacy(home)
    with pytest.raises(Killed):
        elsewhere(home, data, uri, fails=True)
    (tmp_path / "out.db").unlink()
    (tmp_path / "out.db").mkdir()
    with pytest.raises(ForewarnError, match=r"out\.db#told_rejects: cannot be written .* goes on from here"):
        elsewhere(home, data, uri)
    (tmp_path / "out.db").rmdir()
    privacy.erase(privacy.person("E25", "attrition"), BY, at=NOW + timedelta(minutes=1))
    assert elsewhere(home, data, uri)["scored"] == 444
    with closing(sqlite3.connect(tmp_path / "out.db")) as database:
        rows = [number for (number,) in database.execute('SELECT "row" FROM told ORDER BY 1')]
        assert rows == [n for n in range(500) if n % 9 and n != 25]
        assert database.execute("SELECT count(*) FROM told_rejects").fetchone() == (56,)
    with pytest.raises(ForewarnError, match="is there already"):
        elsewhere(home, data, uri)
    assert not list(home.outputs.glob("*/*"))


def test_two_runs_of_one_output_do_not_meet(home: Settings, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.csv"
    folder_of(output).mkdir()
    lock = Lock(folder_of(output) / LOCK)
    assert lock.take()
    with pytest.raises(ForewarnError, match="another run is writing it just now"):
        scored(home, data, output)
    lock.free()
    assert scored(home, data, output)["rows"] == 500


def test_a_bad_file_leaves_no_parts_and_a_lost_cluster_does(home: Settings, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.csv"
    with pytest.raises(ForewarnError):
        scored(home, data, output, killed=5, error=ForewarnError("the cluster could not finish"))
    assert folder_of(output).exists()
    with pytest.raises(BadInput):
        scored(home, data, output, killed=1, error=BadInput("line 7 is no CSV"))
    assert [path.name for path in tmp_path.glob("*scores*")] == []


def test_a_folder_that_cannot_be_written_is_one_sentence(home: Settings, data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ForewarnError, match=r"scores\.csv: cannot be written .*check the folder"):
        scored(home, data, tmp_path / "file" / "scores.csv")


def test_rows_of_a_database_must_come_in_the_same_order() -> None:
    rows = [{"a": n, "at": NOW} for n in range(3)]
    source = Source(names=["postgresql://…"], rows=rows)
    assert source.fingerprint() == replace(source, rows=list(rows)).fingerprint()
    assert source.fingerprint() != replace(source, rows=rows[::-1]).fingerprint()
    assert source.total() == 3


def test_each_part_tells_which_rows_are_in_it(home: Settings, data: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        scored(home, data, tmp_path / "scores.csv", killed=9)
    head, found = Manifest.of(tmp_path / "scores.csv").read()
    assert [(part.number, part.first, part.last) for part in found] == [(1, 0, 79), (2, 80, 159), (3, 160, 269)]
    assert [(part.until.file, part.until.place) for part in found] == [(0, 80), (0, 160), (1, 40)]
    assert [part.until.began for part in found] == [{"0": 0}, {}, {"1": 230}]
    assert (head["use_case"], head["versions"]) == ("attrition", {"attrition": "v1"})
    assert json.dumps(head)


def test_a_parquet_file_of_parts_is_row_groups_of_one_file(tmp_path: Path) -> None:
    """PyArrow begins files at byte 0 only; ours begins each part behind the last (`Growing`)."""
    schema = pa.schema([("n", pa.int64()), ("word", pa.dictionary(pa.int32(), pa.string()))])
    ends = []
    growing = Growing(tmp_path / "rows.parquet", schema)
    for start in (0, 10, 20):
        words = pa.array(["a", "b"] * 5).dictionary_encode()
        growing.write(pa.table({"n": range(start, start + 10), "word": words}))
        growing.settle()
        ends.append(growing.size)
    growing.finish(ends)
    with parquet.ParquetFile(growing.path) as file:
        assert (file.num_row_groups, file.metadata.num_rows) == (3, 30)
        assert [file.read_row_group(group)["n"][0].as_py() for group in (2, 0, 1)] == [20, 0, 10]
        assert file.read()["word"].to_pylist() == ["a", "b"] * 15
    assert growing.path.read_bytes()[:4] == b"PAR1"

from pathlib import Path

import pandas as pd
import pytest

from forewarn import sources
from forewarn.errors import BadInput

ROWS = [{"Name": "Ann", "Level": "007", "Note": None}, {"Name": "Zoë", "Level": "2", "Note": "NA"}]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_reads_the_same_however_it_was_saved(tmp_path: Path, separator: str, encoding: str, end: str) -> None:
    lines = [separator.join(cells) for cells in (["Name", "Level ", "Note"], ["Ann", "007", " "], ["Zoë", "2", "NA"])]
    (tmp_path / "rows.csv").write_bytes(end.join([*lines, ""]).encode(encoding))
    assert sources.load(tmp_path / "rows.csv") == ROWS


def test_a_comma_at_the_end_of_each_row_shifts_nothing(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("A,B\n1,2,\n3,4,\n")
    assert sources.load(tmp_path / "rows.csv") == [{"A": "1", "B": "2"}, {"A": "3", "B": "4"}]


def test_parquet_reads_like_csv(tmp_path: Path) -> None:
    pd.DataFrame(ROWS).to_parquet(tmp_path / "rows.parquet")
    assert sources.load(tmp_path / "rows.parquet") == ROWS


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "cannot be read as a table"),
        (b"A,B\n", "holds no rows"),
        (b"A,B\n1,2\n1,2,3\n", "cannot be read as a table"),
        (b"A,B\n1,2,9\n3,4,9\n", "cannot be read as a table"),
        (b"A,A \n1,2\n", "the column A is there twice"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "it is a binary file"),
        (b"just one line of prose", "cannot be read as a table"),
    ],
)
def test_what_is_no_table_is_one_sentence_with_a_remedy(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "rows.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput) as raised:
        sources.load(path)
    assert said in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        sources.load(tmp_path)


def test_a_broken_parquet_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(BadInput, match="cannot be read as a table"):
        sources.load(tmp_path / "rows.parquet")

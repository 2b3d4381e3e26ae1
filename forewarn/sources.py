"""Where rows come from: CSV and Parquet files, read as they are and handed on as plain rows."""

import csv
import hashlib
import warnings
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from forewarn.errors import BadInput

SNIFFED_BYTES = 65_536
DELIMITERS = ",;\t|"


def load(path: Path) -> list[dict[str, Any]]:
    """Every row of a file, missing values as None, column names without surrounding blanks.

    Byte-order mark, encoding (UTF-8, else Windows-1252), line ends and the separator are found out.

    Raises:
        BadInput: the file is not there, empty, or not a table; the sentence says what to do.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such file (a relative path is looked up from {Path.cwd()}); give its absolute path")
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    except (OSError, ValueError, csv.Error, pd.errors.ParserWarning) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(
            f"{path}: cannot be read as a table ({reason}); save it as CSV with a header line or as .parquet"
        ) from None
    if frame.empty:
        raise BadInput(f"{path}: holds no rows below its header; export it again with data")
    frame.columns = frame.columns.astype(str).str.strip()
    if twice := sorted(set(frame.columns[frame.columns.duplicated()])):
        raise BadInput(f"{path}: the column {twice[0]} is there twice; name each column once")
    return _records(frame)


def fingerprint(path: Path) -> str:
    """sha256 of the file's bytes, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_csv(path: Path) -> pd.DataFrame:
    text = _decoded(path.read_bytes())
    header = text.lstrip().partition("\n")[0]
    delimiter = csv.Sniffer().sniff(header, DELIMITERS).delimiter
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
        # Text stays text until the schema reads it: 007 is an id. And only a blank cell is missing: pandas' own
        # list would also swallow levels such as "None" and "NA".
        return pd.read_csv(
            StringIO(text), sep=delimiter, dtype=str, index_col=False, keep_default_na=False, na_values=["", " "]
        )


def _decoded(raw: bytes) -> str:
    if b"\0" in raw[:SNIFFED_BYTES]:
        raise ValueError("it is a binary file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with Python values."""
    columns = {}
    for name in frame.columns:
        values = frame[name].tolist()
        gaps = frame[name].isna().tolist()
        columns[name] = [None if gap else value for value, gap in zip(values, gaps, strict=True)]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

"""Tables as bytes and as plain rows: CSV in and out, Parquet in. No pandas: requests come this way."""

import codecs
import csv
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from difflib import get_close_matches
from io import StringIO
from itertools import chain, islice
from typing import Any

import orjson

from forewarn.errors import BadInput
from forewarn.fields import FieldSpec
from forewarn.usecase import UseCase

PARQUET = ".parquet"
SEPARATORS = ",;\t|"
BETWEEN_LISTED = "; "
MAX_COLUMNS = 5_000
QUOTED = re.compile(r'"(?:[^"]|"")*"')
AS_THEY_ARE = frozenset({int, bool, list, dict, type(None)})


def rows_of(name: str, raw: bytes) -> list[dict[str, Any]]:
    """Every row of a file's bytes: Parquet if its name ends so, else CSV. Blanks and NaN are None.

    Raises:
        BadInput: it is not what its name says, or as `rows_of_csv`; names the file.
    """
    try:
        return _rows_of_parquet(raw) if name.endswith(PARQUET) else rows_of_csv(raw)
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from None
    except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's own derive from these
        said = str(error).partition("\n")[0]
        raise BadInput(f"{name}: cannot be read as a table ({said}); save it again as .parquet or CSV") from None


def rows_of_csv(raw: bytes, *, most: int | None = None) -> list[dict[str, Any]]:
    """Every row as text, a blank cell as None; header names as `names_of` cleans them. No more than `most` are read.

    Byte-order mark, encoding (UTF-8, else Windows-1252), line ends and the separator are found out.
    A line with nothing on it is passed over, and so are blank cells beyond the header's last.

    Raises:
        BadInput: binary, empty, no rows, a column twice, or a line whose cells do not match the header's.
    """
    text = _decoded(raw)
    if not text.strip():
        raise BadInput("it is empty; send a header line and the rows below it")
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator_of(text), strict=True)
    try:
        return _some(list(islice(rows_in(reader), most)))
    except csv.Error as error:
        raise BadInput(
            f"line {reader.line_num} is no CSV ({error}); close each quote and double those within"
        ) from None


def csv_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV text. The header is every key in the order of first appearance; None is an empty cell.

    Lines end in CRLF, as RFC 4180 has it. A list is written as its items between "; ", an object as JSON.
    """
    names = list(dict.fromkeys(chain.from_iterable(rows)))
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return text.getvalue()


def records(names: Iterable[object], rows: Iterable[Iterable[Any]]) -> list[dict[str, Any]]:
    """Rows of any values, n × len(names), as plain rows.

    Raises:
        BadInput: two columns of one name.
    """
    clean = names_of(names)
    return [dict(zip(clean, map(plain, row), strict=True)) for row in rows]


def names_of(columns: Iterable[object]) -> list[str]:
    """Column names without surrounding blanks, each run of blanks within as one; a nameless one by its place.

    Raises:
        BadInput: two columns of one name.
    """
    names = [" ".join(str(name).split()) or f"Unnamed: {place}" for place, name in enumerate(columns)]
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise BadInput(f"the column {twice[:80]} is there twice; name each column once")
    return names


def check(case: UseCase, columns: Iterable[str], labelled: bool = False, also: Iterable[str] = ()) -> None:
    """Hold a source's columns against the use case; `labelled` asks for the label's too, `also` for further ones.

    Raises:
        BadInput: a line for each problem: a required column is missing, or a field is given twice.
    """
    there, wanted = list(columns), [*also, *([case.target] if labelled else [])]
    known = {name for spec in case.fields for name in _accepted(spec)}
    strange = [name for name in there if name not in known | {case.target}]
    problems = [problem for spec in case.fields for problem in _problems(spec, there, wanted, strange)]
    missing = [name for name in dict.fromkeys(wanted) if name not in known and name not in there]
    problems += [f"the column {_titled(case, name)} is missing{_nearest([name], strange)}" for name in missing]
    if problems:
        raise BadInput("\n".join(f"{case.name}: {problem}" for problem in problems))


def _problems(spec: FieldSpec, there: list[str], wanted: list[str], strange: list[str]) -> Iterable[str]:
    names = _accepted(spec)
    given = [name for name in there if name in names]
    if len(given) > 1:
        yield f"the columns {' and '.join(given)} both give {spec.wire}; keep one"
    elif not given and (spec.required or set(names) & set(wanted)):
        others = f" (or {', '.join(names[1:])})" if names[1:] else ""
        yield f"the column {spec.wire}{others} is missing{_nearest(names, strange)}"


def _titled(case: UseCase, name: str) -> str:
    return f"{name} with the labels" if name == case.target else name


def _accepted(spec: FieldSpec) -> list[str]:
    return list(dict.fromkeys([*spec.aliases, spec.name]))


def _nearest(names: list[str], strange: list[str]) -> str:
    """A column that nobody knows and whose name is near: `monthly income` for MonthlyIncome."""
    folded = {_folded(name): name for name in strange}
    near = [match for name in names for match in get_close_matches(_folded(name), folded, n=1, cutoff=0.75)]
    return f"; is {folded[near[0]]} meant?" if near else ""


def _folded(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def plain(value: Any) -> Any:
    """A value as JSON knows it: decimals as floats, dates as ISO text, blank text and NaN as None."""
    kind = type(value)
    if kind is str:
        return value if value.strip() else None
    if kind in AS_THEY_ARE:
        return value
    if isinstance(value, float | Decimal):
        return None if math.isnan(value) else float(value)
    return _unusual(value)


def _unusual(value: Any) -> Any:
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return plain(bytes(value).decode("utf-8", errors="replace"))
    if hasattr(value, "tolist"):  # a NumPy scalar or array
        return plain(value.tolist())
    return str(value)


def _rows_of_parquet(raw: bytes) -> list[dict[str, Any]]:
    import pyarrow as pa  # a tenth of a second that CSV need not wait for
    from pyarrow import parquet

    table = parquet.read_table(pa.BufferReader(raw))
    kept = [name for name in table.column_names if not name.startswith("__index_level_")]  # pandas' row numbers
    return _some(records(kept, zip(*(table[name].to_pylist() for name in kept), strict=True)))


def _some(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not rows:
        raise BadInput("it holds no rows below its header; export it again with data")
    return rows


def _decoded(raw: bytes) -> str:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", errors="replace")  # what Excel calls Unicode text
    if b"\0" in raw:
        raise BadInput("it is a binary file; save it as CSV with a header line")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def separator_of(text: str) -> str:
    """The one that is most often in the header, outside quotes."""
    head = QUOTED.sub("", text.lstrip("\r\n")[:65_536])
    header = re.split(r"[\r\n]", head, maxsplit=1)[0]
    return max(SEPARATORS, key=header.count)


def rows_in(reader: Any) -> Iterable[dict[str, Any]]:
    """Rows of a `csv.reader`, the first line with cells being the header."""
    lines = filter(None, reader)
    names = names_of(next(lines))
    if len(names) > MAX_COLUMNS:
        raise BadInput(f"it has {len(names)} columns, at most {MAX_COLUMNS} are read; is this a table of rows?")
    for cells in lines:
        if len(cells) != len(names):
            cells = _fitted(cells, names, reader.line_num)
        yield dict(zip(names, [cell if cell.strip() else None for cell in cells], strict=True))


def _fitted(cells: list[str], names: list[str], line: int) -> list[str]:
    """Without the blank cells that a separator at the end of a line makes."""
    if len(cells) < len(names) or any(cell.strip() for cell in cells[len(names) :]):
        raise BadInput(
            f"line {line} has {len(cells)} cells where the header has {len(names)}; quote what holds the separator"
        )
    return cells[: len(names)]


def _cell(value: Any) -> Any:
    if isinstance(value, Mapping):
        return orjson.dumps(dict(value), default=str).decode()
    if isinstance(value, list | tuple):
        return BETWEEN_LISTED.join(str(_cell(item)) for item in value)
    return value

"""People who opted out after their rows were scored, and before the output was whole: taken out of what is written."""

from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from forewarn import ids
from forewarn.ledger import rewriting
from forewarn.ledger.records import Recorder
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from jobs.unwilling import OPTED_OUT


def take_out(
    case: UseCase,
    settings: Settings,
    scores: Path,
    rejects: Path,
    late: frozenset[str],
    began: Mapping[str, int],
    names: list[str],
) -> int:
    """Move the rows of these people, known by their pseudonyms, from the scores to the rejects; how many.

    `began` has the number of each input file's first row. What is left of the scores stays as it was.
    """
    if not case.key:
        return 0
    column, recorder = case.spec[case.key].wire, Recorder.of(case, settings)
    named = (one for one in rewriting.ids_in(scores, column) if ids.text_of(one))
    theirs = {one for one in named if recorder.is_among(late, one)}
    if not theirs:
        return 0
    rows = sorted(int(row["row"]) for row in rewriting.rows_of(scores, column, theirs))
    _list(rejects, rows, began, names)
    rewriting.without(scores, column, theirs)
    return len(rows)


def _list(rejects: Path, rows: list[int], began: Mapping[str, int], names: list[str]) -> None:
    """Put these among the rejects, in the order of the rows; what is there stands as it was."""
    files = sorted((first, names[int(file)]) for file, first in began.items())
    starts = [first for first, _ in files]
    found = [files[bisect_right(starts, row) - 1][1] for row in rows]
    more = pa.table({"row": pa.array(rows, pa.int64()), "file": found, "reason": [OPTED_OUT] * len(rows)})
    if rejects.exists() and rejects.stat().st_size:
        text = csv.ConvertOptions(column_types=more.schema, strings_can_be_null=False)
        before = csv.read_csv(rejects, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=text)
        more = pa.concat_tables([before, more]).sort_by("row")
    aside = rejects.with_name(f".{rejects.name}")
    csv.write_csv(more, aside)
    rewriting.on_disk(aside)
    aside.replace(rejects)

"""Who has opted out, among the rows of a batch job."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from forewarn import entities
from forewarn.blocks import Mask
from forewarn.ledger.records import Recorder
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from jobs.stream import Row

OPTED_OUT = "this person has opted out; no score is made"


@dataclass(frozen=True, kw_only=True)
class Unwilling:
    """Knows them by their pseudonyms."""

    case: UseCase
    recorder: Recorder
    subjects: frozenset[str]

    @classmethod
    def of(cls, case: UseCase, settings: Settings, subjects: frozenset[str]) -> "Unwilling | None":
        """None where nobody is, or rows name nobody: then nothing is to be done for a row."""
        if not subjects or not case.key:
            return None
        return cls(case=case, recorder=Recorder.of(case, settings), subjects=subjects)

    def parted(self, piece: pa.Table | list[Row]) -> tuple[Mask, Any]:
        """Which rows are theirs; and the piece without those."""
        if isinstance(piece, pa.Table):
            out = self._marks(self._named(piece))
            return out, piece.filter(pa.array(~out))
        out = self._marks(piece)
        return out, [row for row, theirs in zip(piece, out, strict=True) if not theirs]

    def _marks(self, rows: list[Row]) -> Mask:
        named = (entities.subject_of(self.case, row, whole=True) for row in rows)
        return np.array([bool(one) and self.recorder.is_among(self.subjects, str(one)) for one in named], dtype=bool)

    def _named(self, table: pa.Table) -> list[Row]:
        """Of a table's rows the ids alone."""
        names = (*self.case.spec[self.case.key].aliases, self.case.key)
        held = [name for name in dict.fromkeys(names) if name in table.column_names]
        columns = [table[name].to_pylist() for name in held]
        return [dict(zip(held, row, strict=True)) for row in zip(*columns, strict=True)] if held else [{}] * len(table)

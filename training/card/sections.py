"""What a version's card says, section by section: plain values that the templates lay out.

Written for auditors: no subject's id and no row is in here, only counts, groups and figures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from forewarn.evidence import Evidence
from forewarn.tasks import Task
from forewarn.usecase import UseCase
from training import wording

STATUSES = {
    "pending_approval": "Waits for a person's approval",
    "approved": "Approved",
    "rejected": "Rejected",
}
Cells = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Given:
    """Everything that a card is made from."""

    case: UseCase
    metadata: Mapping[str, Any]
    evidence: Evidence
    verdict: Mapping[str, Any]

    @property
    def task(self) -> Task:
        """What is asked of the model."""
        return self.case.task

    def part(self, name: str) -> Mapping[str, Any]:
        """A part of the metadata; empty where the version has none."""
        found: Mapping[str, Any] = self.metadata.get(name) or {}
        return found


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text under headings; the first cell of each row names it."""

    caption: str
    headings: Cells
    rows: tuple[Cells, ...]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns are figures, and stand to the right."""
        return tuple(all(map(wording.is_number, column)) for column in zip(*self.rows, strict=True))

    def without_empty_columns(self) -> "Table":
        """Amounts have no events: a column of dashes says nothing."""
        kept = [place for place, column in enumerate(zip(*self.rows, strict=True)) if {*column} != {wording.NONE}]
        rows = tuple(tuple(row[place] for place in kept) for row in self.rows)
        return replace(self, headings=tuple(self.headings[place] for place in kept), rows=rows)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture by its file name, and what it shows for those who do not see it."""

    name: str
    alt: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with what stands below it, in this order."""

    title: str
    says: Cells = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()

    @property
    def anchor(self) -> str:
        """Its name in links."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())

    def with_pictures(self, there: Mapping[str, bytes]) -> "Section":
        """Without pictures that were not drawn, and without tables and columns that hold nothing."""
        drawn = tuple(picture for picture in self.pictures if picture.name in there)
        return replace(
            self, pictures=drawn, tables=tuple(table.without_empty_columns() for table in self.tables if table.rows)
        )


def status(verdict: Mapping[str, Any]) -> str:
    """Where the version stands, in a few words."""
    return STATUSES.get(verdict["status"], str(verdict["status"]))

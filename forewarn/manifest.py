"""What the parts of an unfinished output are: of which order, how far each goes, and how to tell that it is whole.

One line of JSON each: the order's, then one more for every part. A part counts once its line has ended; a line that a
crash tore does not count, and neither does whatever of the files it would have told of.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from forewarn import state

FORM = 1
NAME, LOCK = "manifest.jsonl", "lock"
# What the files with rows in them end in.
HELD = (".csv", ".parquet")
# What an order says, in the words of whoever gives it. The time of the order is the first attempt's.
SAID = {
    "form": "how this version of Forewarn keeps parts",
    "use_case": "the use case",
    "versions": "the version",
    "packages": "the package of that version",
    "explained": "--explain",
    "query": "--query",
    "input": "the input",
    "columns": "the columns of the output",
}


@dataclass(frozen=True, kw_only=True)
class SoFar:
    """How far a job has come.

    Attributes:
        file, place: of the row that comes next: which input file, and the row's place in it.
        rows: that were read; a row's number is how many there were before it.
        began: input file -> the number of its first row, of those that began in this part.
    """

    file: int = 0
    place: int = 0
    rows: int = 0
    rejected: int = 0
    opted_out: int = 0
    began: Mapping[str, int] = field(default_factory=dict)

    def told(self) -> dict[str, int]:
        """The counts."""
        scored = self.rows - self.rejected - self.opted_out
        return {"rows": self.rows, "scored": scored, "rejected": self.rejected, "opted_out": self.opted_out}


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows that are on disk.

    Attributes:
        first, last: numbers of its rows.
        until: how far the job had come with it.
        ends: where the part ends in each file, in bytes; sha256: of its bytes there.
    """

    number: int
    first: int
    last: int
    until: SoFar
    ends: Mapping[str, int]
    sha256: Mapping[str, str]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Part":
        """As its line tells it."""
        return cls(**{**told, "until": SoFar(**told["until"])})


def folder_of(output: Path) -> Path:
    """Where an output's parts lie until it is whole."""
    return output.with_name(f".{output.name}.parts")


class Manifest:
    """The file with those lines."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def of(cls, output: Path) -> "Manifest":
        """That of an output's parts."""
        return cls(folder_of(output) / NAME)

    def read(self) -> tuple[dict[str, Any], list[Part]]:
        """The order and its parts, up to the first line that is not whole; nothing where there is none."""
        *lines, _torn = self._path.read_bytes().split(b"\n") if self._path.exists() else [b""]
        try:
            head: dict[str, Any] = orjson.loads(lines[0]) if lines else {}
        except ValueError:
            return {}, []
        return head, _parts(lines[1:])

    def replace(self, head: Mapping[str, Any], parts: list[Part]) -> None:
        """Begin anew with these, by one rename."""
        lines = [orjson.dumps(head), *(orjson.dumps(asdict(part)) for part in parts)]
        state.write(self._path, b"\n".join([*lines, b""]).decode())

    def append(self, part: Part) -> None:
        """One more, which is on disk when this returns."""
        with self._path.open("ab") as file:
            file.write(orjson.dumps(asdict(part)) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def rows(self) -> int:
        """How many rows are done, for whoever looks on."""
        parts = self.read()[1]
        return parts[-1].until.rows if parts else 0


def _parts(lines: list[bytes]) -> list[Part]:
    found: list[Part] = []
    for line in lines:
        try:
            found.append(Part.of(orjson.loads(line)))
        except (ValueError, TypeError, KeyError):
            break
    return found


def joined(parts: list[Part]) -> Part:
    """All of them as one, whose bytes are no longer known."""
    began: dict[str, int] = {}
    for part in parts:
        began |= part.until.began
    return replace(parts[-1], number=1, first=parts[0].first, until=replace(parts[-1].until, began=began))


def differences(head: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """In which ways two orders are not one and the same."""
    return [_difference(name, head.get(name), wanted[name]) for name in SAID if head.get(name) != wanted[name]]


def _difference(name: str, before: Any, now: Any) -> str:
    if name == "versions" and isinstance(before, dict):
        changed = [f"{case} {before.get(case)}, now {now.get(case)}" for case in {**before, **now}
                   if before.get(case) != now.get(case)]  # fmt: skip
        return f"the version ({'; '.join(changed)})"
    if name == "input" and isinstance(before, list) and isinstance(now, list):
        odd = [Path(str(one[0])).name for one in [*before, *now] if (one in before) != (one in now)]
        return f"the input ({', '.join(list(dict.fromkeys(odd))[:5])} changed)"
    return SAID[name]

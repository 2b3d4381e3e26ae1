"""Where the output of a batch job goes: a file of this machine, or elsewhere once it is whole."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import typer

from forewarn.errors import ForewarnError
from forewarn.manifest import folder_of
from forewarn.settings import Settings
from forewarn.sinks import Elsewhere

KINDS = (".csv", ".parquet")


@dataclass(frozen=True, kw_only=True)
class Output:
    """A file of answers, and one of rejects.

    Attributes:
        path: of the answers; where they go elsewhere, of the file of this home in which they are brought together.
    """

    path: Path
    to: Elsewhere | None = None

    @classmethod
    def of(cls, wanted: str, table: str, settings: Settings, *, overwrite: bool) -> "Output":
        """What was asked for, if it may be written.

        Raises:
            ForewarnError: something is there already that no unfinished run of ours was about to write.
        """
        found = cls._elsewhere(wanted, table, settings) if "://" in wanted else cls._here(wanted)
        there = "" if overwrite or folder_of(found.path).exists() else found._there()
        if there:
            raise ForewarnError(f"{there} is there already; choose another name, or replace it with --overwrite")
        return found

    @classmethod
    def _here(cls, wanted: str) -> "Output":
        return cls(path=_of_kind(Path(wanted)).expanduser().resolve())

    @classmethod
    def _elsewhere(cls, wanted: str, table: str, settings: Settings) -> "Output":
        uri, _, named = wanted.partition("#")
        to = Elsewhere.of(uri, table or named)
        digest = sha256(f"{uri}#{to.table}".encode()).hexdigest()[:16]
        name = f"{to.table}{to.suffix}" if to.table else Path(uri).name
        return cls(path=settings.outputs / digest / _of_kind(Path(name)), to=to)

    @property
    def scores(self) -> str:
        """Where the answers are, as records and messages say it."""
        return self.to.described if self.to else str(self.path)

    @property
    def rejects(self) -> str:
        """Where the rejects are."""
        return self.to.rejects.described if self.to else str(rejects_of(self.path))

    def put(self, scores: Path | None, rejects: Path) -> None:
        """Give whole files their names there; without scores, of not one row, only the rejects.

        Raises:
            ForewarnError: it cannot be reached.
        """
        if self.to is None:
            rejects.replace(rejects_of(self.path))
            if scores:
                scores.replace(self.path)
            return
        self.to.rejects.put(rejects)
        if scores:
            self.to.put(scores)

    def _there(self) -> str:
        if self.to is None:
            return next((str(one) for one in (self.path, rejects_of(self.path)) if one.exists()), "")
        return next((one.described for one in (self.to, self.to.rejects) if one.is_there()), "")


def rejects_of(output: Path) -> Path:
    """Where the rejected rows of an output are listed."""
    return output.with_name(f"{output.stem}.rejects.csv")


def _of_kind(path: Path) -> Path:
    if path.suffix not in KINDS:
        raise typer.BadParameter(f"{path}: must end in .csv or .parquet", param_hint="--output")
    return path

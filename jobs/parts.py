"""An output on its way: it lies in a hidden folder beside its name until it is whole, and a run that was killed goes on
after the last part that is on disk.

Whoever opted out meanwhile is taken out of those parts before the run goes on. Whoever was erased meanwhile is taken
out at once if nobody is writing, and at the end, as for every job: the order's time is the first attempt's
(`forewarn.ledger.files`).
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

import pyarrow as pa

from forewarn import state, unfinished, usecases
from forewarn.databases import written
from forewarn.errors import BadInput, ForewarnError
from forewarn.growing import Growing
from forewarn.ledger import files
from forewarn.locks import Lock
from forewarn.manifest import FORM, LOCK, Manifest, Part, SoFar, differences, folder_of, joined
from forewarn.releases import Releases
from forewarn.unfinished import REJECTS, SCORES
from jobs import terminal, withdrawn
from jobs.lines import Order
from jobs.outputs import Output
from jobs.stream import Source

# Whichever comes first, after a block of rows: a part costs 10 ms, most of it waiting for the disk.
PART_ROWS = 100_000
PART_SECONDS = 5.0
REJECTED = pa.schema([("row", pa.int64()), ("file", pa.string()), ("reason", pa.string())])
OPTED_OUT = "opted_out.json"


class Parts:
    """Takes lines and rejects; gives the files their names when all are there."""

    def __init__(self, order: Order, source: Source, output: Output) -> None:
        self.order, self.output = order, output
        self._source = source
        folder = folder_of(output.path)
        columns = pa.schema([pa.field("row", pa.int64()), *order.schema])
        self._files = {SCORES: Growing(folder / f"{SCORES}{output.path.suffix}", columns),
                       REJECTS: Growing(folder / f"{REJECTS}.csv", REJECTED)}  # fmt: skip
        self._folder, self._manifest = folder, Manifest.of(output.path)
        self._parts: list[Part] = []
        self._settled = monotonic()

    @property
    def so_far(self) -> SoFar:
        """What is on disk."""
        return replace(self._parts[-1].until, began={}) if self._parts else SoFar()

    def kept(self, lines: pa.Table) -> None:
        """Numbered lines of rows that were scored."""
        self._files[SCORES].write(lines)

    def rejects(self, lines: pa.Table) -> None:
        """Numbered reasons why rows were not."""
        self._files[REJECTS].write(lines)

    def note(self, until: SoFar, *, last: bool = False) -> SoFar:
        """So far the rows have come that were handed over: end the part, if it is large or old enough, or the last."""
        rows, seconds = until.rows - self.so_far.rows, monotonic() - self._settled
        if not rows or not (last or rows >= PART_ROWS or seconds >= PART_SECONDS):
            return until
        sha256 = {name: file.settle() for name, file in self._files.items()}
        ends = {name: file.size for name, file in self._files.items()}
        part = Part(number=len(self._parts) + 1, first=self.so_far.rows, last=until.rows - 1, until=until, ends=ends,
                    sha256=sha256)  # fmt: skip
        self._manifest.append(part)
        self._parts.append(part)
        self._settled = monotonic()
        return replace(until, began={})

    def finish(self) -> dict[str, int]:
        """All rows are on disk: put the files where they belong; how many rows there were, were scored, were rejected.

        Raises:
            ForewarnError: not one row was good; then there are the rejects alone. Or it cannot be put there.
        """
        done = self.so_far.told()
        for name, file in self._files.items():
            file.finish([part.ends[name] for part in self._parts])
        if self.output.to and done["scored"]:  # where no erasure reaches it any more
            files.without_erased(self.order.settings, self.order.use_case, self.scores, at=self.order.at)
        self.output.put(self.scores if done["scored"] else None, self._files[REJECTS].path)
        if not done["scored"]:
            self.drop()
            raise ForewarnError(f"not one of {done['rows']} rows could be scored; read why in {self.output.rejects}")
        return done

    @property
    def scores(self) -> Path:
        """Where the answers lie on this machine."""
        found = self._files[SCORES].path
        return found if found.exists() else self.output.path

    def drop(self) -> None:
        """Nothing is to go on."""
        shutil.rmtree(self._folder, ignore_errors=True)
        files.end(self.order.settings, self._folder)

    def let_go(self) -> None:
        """Close what is open."""
        for file in self._files.values():
            with suppress(OSError, ValueError):
                file.let_go()

    def begin(self) -> None:
        """Go on where an earlier attempt stopped, or begin.

        Raises:
            ForewarnError: that attempt was of another order.
        """
        head, parts = self._manifest.read()
        wanted = self._head()
        if head and (odd := differences(head, wanted)):
            raise ForewarnError(self._of_another(odd, parts))
        if head:
            self.order = replace(self.order, at=datetime.fromisoformat(head["at"]))
            wanted = {**wanted, "at": head["at"]}
        self._parts = unfinished.sound(self._files, parts)
        self._without_late(wanted)
        self._say()

    def _without_late(self, head: Mapping[str, Any]) -> None:
        """Opt-outs hold for what was written before them, too; only new ones are looked for."""
        known = state.read_json(self._folder / OPTED_OUT).get("subjects", [])
        late = self.order.opted_out.difference(known)
        if late and self._parts:
            self._withdraw(late)
        self._manifest.replace(head, self._parts)
        state.write_json(self._folder / OPTED_OUT, {"subjects": sorted(self.order.opted_out)})

    def _withdraw(self, late: frozenset[str]) -> None:
        case, began = usecases.get(self.order.use_case), joined(self._parts).until.began
        scores, rejects = (self._files[name].path for name in (SCORES, REJECTS))

        def take_out() -> int:
            return withdrawn.take_out(case, self.order.settings, scores, rejects, late, began, self._source.names)

        self._parts, gone = unfinished.changed(self._files, self._parts, take_out)
        if gone:
            (one,) = self._parts
            self._parts = [replace(one, until=replace(one.until, opted_out=one.until.opted_out + gone))]

    def _head(self) -> dict[str, Any]:
        """What must be the same for a run to go on, and the time of the order."""
        order, releases = self.order, Releases(self.order.settings.packages)
        packages = {name: releases.digest(usecases.get(name), found) for name, found in order.versions.items()}
        return {
            "form": FORM,
            "use_case": order.use_case,
            "versions": dict(order.versions),
            "packages": packages,
            "explained": order.explained,
            "query": self._source.query,
            "input": self._source.fingerprint(),
            "columns": [[field.name, str(field.type)] for field in order.schema],
            "opted_out": "whoever has opted out when the last attempt begins",
            "at": written(order.at),
        }

    def _of_another(self, odd: list[str], parts: list[Part]) -> str:
        done = f"{parts[-1].until.rows if parts else 0:,} rows"
        return (
            f"{self.output.scores}: an earlier run was broken off after {done}, and what differs since then is "
            f"{' and '.join(odd)}; run it again as it was to go on, or begin anew with --overwrite"
        )

    def _say(self) -> None:
        if self._parts:
            total = self._source.total()
            of = f" of {total:,}" if total else ""
            terminal.console.print(f"going on after {self.so_far.rows:,}{of} rows")


@contextmanager
def held(order: Order, source: Source, output: Output, *, overwrite: bool = False) -> Iterator[Parts]:
    """The output's parts, for this process alone. A run that ends early leaves them, unless nothing could go on.

    Raises:
        ForewarnError: another run writes this output just now, or it cannot be written.
    """
    folder = folder_of(output.path)
    lock = Lock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not lock.take():
            raise ForewarnError(
                f"{output.scores}: another run is writing it just now; wait for that, or choose another"
            )
        if overwrite:
            _clear(folder)
        files.begin(order.settings, order.use_case, folder)
        parts = Parts(order, source, output)
        yield from _going_on(parts)
    except OSError as error:
        raise ForewarnError(
            f"{output.scores}: cannot be written ({error}); check the folder and the space left, then run it again"
        ) from error
    finally:
        lock.free()


def _going_on(parts: Parts) -> Iterator[Parts]:
    parts.begin()
    try:
        yield parts
    except BaseException as error:
        parts.let_go()
        if isinstance(error, BadInput) or not parts.so_far.rows:
            parts.drop()
        raise
    parts.drop()


def _clear(folder: Path) -> None:
    for file in folder.iterdir():
        if file.name != LOCK:
            file.unlink()

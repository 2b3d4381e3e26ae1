"""Files that batch jobs wrote: the ledger knows where each lies, so that what is in them of a person goes with the
person.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from forewarn import locks, manifest, state, usecases
from forewarn.databases import written
from forewarn.errors import BadInput, LedgerUnavailable
from forewarn.ids import IdKey
from forewarn.ledger import rewriting, schema
from forewarn.ledger.store import Ledger, named, together
from forewarn.settings import Settings

WROTE = schema.BATCHES.c
PENDING, UNFINISHED, LOCK = "batches.pending.json", "batches.unfinished.json", "batches.lock"


def register(
    settings: Settings, case: str, version: str, path: Path | str, counts: Mapping[str, int], *, at: datetime
) -> None:
    """Write down that a batch job left this file. Where the ledger is away now, beside it, for whoever comes next."""
    told = {name: int(counts.get(name, 0)) for name in ("scored", "rejected", "opted_out")}
    line = {"id": secrets.token_hex(16), "use_case": case, "version": version, "path": str(path), "at": written(at)}
    with _alone(settings):
        state.write_json(settings.home / PENDING, {"batches": [*_waiting(settings), {**line, **told}]})
    with closing(Ledger.open(settings)) as ledger, suppress(LedgerUnavailable):
        settle(settings, ledger)


def begin(settings: Settings, case: str, folder: Path) -> None:
    """Write down that a batch job has begun to keep parts of its output in this folder."""
    with _alone(settings):
        known = state.read_json(settings.home / UNFINISHED)
        state.write_json(settings.home / UNFINISHED, {**known, str(folder): case})


def end(settings: Settings, folder: Path) -> None:
    """They are no more."""
    with _alone(settings):
        left = {path: case for path, case in state.read_json(settings.home / UNFINISHED).items() if path != str(folder)}
        state.write_json(settings.home / UNFINISHED, left)


def forget_unfinished(settings: Settings, use_cases: Iterable[str], subject: str) -> dict[str, list[str]]:
    """Take a person out of the parts of outputs that are not whole, and may never be. One that is written just now is
    gone through when its run ends.
    """
    wanted = set(use_cases)
    told: dict[str, list[str]] = {}
    for path, name in state.read_json(settings.home / UNFINISHED).items():
        if name in wanted and (case := usecases.get(name)).key:
            done = _forgotten(Path(path), case.spec[case.key].wire, subject)
            told.setdefault(done, []).append(path)
    return {done: paths for done, paths in told.items() if done}


def _forgotten(folder: Path, column: str, subject: str) -> str:
    from forewarn import unfinished  # it needs PyArrow

    lock = locks.Lock(folder / manifest.LOCK)
    try:
        if not folder.is_dir() or not lock.take():
            return ""
        return unfinished.forget(folder, lambda path: rewriting.without(path, column, {subject}))
    except (OSError, BadInput):
        return "unreadable"
    finally:
        lock.free()


def without_erased(settings: Settings, case: str, path: Path, *, at: datetime) -> None:
    """Take out of a file whoever was erased since its job was ordered, before it goes where no erasure reaches it.

    Raises:
        LedgerUnavailable: who that is, is not known.
    """
    with closing(Ledger.open(settings)) as ledger, ledger.begin() as connection:
        _catch_up(connection, settings, {"use_case": case, "path": str(path), "at": written(at)})


def settle(settings: Settings, ledger: Ledger) -> None:
    """Put into the ledger what waits beside it. What is there already, because a job was killed just then, stays.

    Raises:
        LedgerUnavailable: it waits on.
    """
    if not (settings.home / PENDING).exists():
        return
    with _alone(settings):
        if waiting := _waiting(settings):
            insert = (sqlite if ledger.dialect == "sqlite" else postgresql).insert(schema.BATCHES)
            with ledger.begin() as connection:
                together(connection)
                for line in waiting:
                    _catch_up(connection, settings, line)
                connection.execute(insert.on_conflict_do_nothing(index_elements=["id"]), waiting)
        (settings.home / PENDING).unlink(missing_ok=True)


def _catch_up(connection: sa.Connection, settings: Settings, line: Mapping[str, Any]) -> None:
    """Whoever was erased while the job ran stands in its file still. Of the erased only pseudonyms are known, so each
    id in the file is held against them; hardly ever is there any to hold against.
    """
    tomb = schema.ERASURES.c
    later = sa.select(tomb.subject).where(tomb.use_case == line["use_case"], tomb.at >= line["at"])
    erased = set(connection.execute(later).scalars())
    case = usecases.get(line["use_case"])
    if not erased or not case.key:
        return
    id_key, path = IdKey.open(settings.id_key, settings.id_secret.get_secret_value()), Path(line["path"])
    column = case.spec[case.key].wire
    with suppress(OSError, BadInput):  # the file is gone again, or is none: the next erasure tells so
        found = rewriting.ids_in(path, column) - {""}
        theirs = {one for one in found if not erased.isdisjoint(id_key.pseudonyms(case.name, one))}
        if theirs:
            rewriting.without(path, column, theirs)


def _alone(settings: Settings) -> AbstractContextManager[None]:
    """Two jobs that end at once lose neither's line."""
    return locks.held(settings.make_home() / LOCK)


def _waiting(settings: Settings) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = state.read_json(settings.home / PENDING).get("batches", [])
    return found


def registered(connection: sa.Connection, use_cases: Iterable[str]) -> list[dict[str, Any]]:
    """The files of these use cases."""
    chosen = sa.select(schema.BATCHES).where(WROTE.use_case.in_(list(use_cases))).order_by(WROTE.at)
    return [named(row) for row in connection.execute(chosen)]


def mentions(found: Sequence[Mapping[str, Any]], subject: str) -> list[dict[str, Any]]:
    """What these files say of a person; of a file that is gone, or that nobody can read, that it is so."""
    told: list[dict[str, Any]] = []
    for path, column in _columns(found).items():
        try:
            rows = rewriting.rows_of(Path(path), column, {subject})
        except FileNotFoundError:
            told.append({"path": path, "gone": True})
        except (OSError, BadInput):
            told.append({"path": path, "unreadable": True})
        else:
            told += [{"path": path, "rows": rows}] if rows else []
    return told


def without(found: Sequence[Mapping[str, Any]], subject: str) -> dict[str, list[str]]:
    """Rewrite each file without a person's rows: which were; which are not where they were written; and which cannot
    be read or written, so that somebody must look.
    """
    told: dict[str, list[str]] = {"rewritten": [], "not_found": [], "unreadable": []}
    for path, column in _columns(found).items():
        try:
            if rewriting.without(Path(path), column, {subject}):
                told["rewritten"].append(path)
        except FileNotFoundError:
            told["not_found"].append(path)
        except (OSError, BadInput):
            told["unreadable"].append(path)
    return told


def _columns(found: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Path -> the column with the ids."""
    cases = {one["path"]: usecases.get(one["use_case"]) for one in found}
    return {path: case.spec[case.key].wire for path, case in cases.items() if case.key}

"""Files that batch jobs wrote and archives of the ledger: what is in them of a person goes when the person does."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from forewarn import state, usecases
from forewarn.databases import written
from forewarn.errors import LedgerUnavailable
from forewarn.ledger import schema
from forewarn.ledger.store import Ledger, named
from forewarn.settings import Settings

WROTE = schema.BATCHES.c
PENDING = "batches.pending.json"


def register(
    settings: Settings, case: str, version: str, path: Path, counts: Mapping[str, int], *, at: datetime
) -> None:
    """Write down that a batch job left this file. Where the ledger is away now, beside it, for the next one."""
    told = {name: int(counts.get(name, 0)) for name in ("scored", "rejected", "opted_out")}
    line = {"id": secrets.token_hex(16), "use_case": case, "version": version, "path": str(path), "at": written(at)}
    waiting = [*_waiting(settings), {**line, **told}]
    ledger = Ledger.open(settings)
    try:
        with ledger.begin() as connection:
            connection.execute(sa.insert(schema.BATCHES), waiting)
        (settings.home / PENDING).unlink(missing_ok=True)
    except LedgerUnavailable:
        state.write_json(settings.home / PENDING, {"batches": waiting})
    finally:
        ledger.close()


def _waiting(settings: Settings) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = state.read_json(settings.home / PENDING).get("batches", [])
    return found


def registered(connection: sa.Connection, known_as: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """The files of these use cases."""
    chosen = sa.select(schema.BATCHES).where(WROTE.use_case.in_(list(known_as))).order_by(WROTE.at)
    return [named(row) for row in connection.execute(chosen)]


def mentions(connection: sa.Connection, known_as: Mapping[str, Sequence[str]], subject: str) -> list[dict[str, Any]]:
    """What these files say of a person; of a file that is gone, that it is."""
    told: list[dict[str, Any]] = []
    for one in registered(connection, known_as):
        path = Path(one["path"])
        if not path.exists():
            told.append({"path": str(path), "gone": True})
            continue
        rows = _theirs(_table(path), _column(one["use_case"]), subject)
        if len(rows):
            told.append({"path": str(path), "rows": rows.to_pylist()})
    return told


def without(found: Sequence[Mapping[str, Any]], subject: str) -> dict[str, list[str]]:
    """Rewrite each file without a person's rows: which were, and which are not where they were written."""
    rewritten: list[str] = []
    missing: list[str] = []
    for path, use_case in {one["path"]: one["use_case"] for one in found}.items():
        file = Path(path)
        if not file.exists():
            missing.append(path)
        elif _rewrite(file, _column(use_case), subject):
            rewritten.append(path)
    return {"rewritten": rewritten, "not_found": missing}


def _rewrite(file: Path, column: str, subject: str) -> bool:
    import pyarrow as pa  # 40 MB that a replica of the service does without
    from pyarrow import compute, csv, parquet

    table = _table(file)
    if column not in table.column_names or not len(_theirs(table, column, subject)):
        return False
    kept = table.filter(compute.not_equal(compute.cast(table[column], pa.string()), subject).fill_null(True))
    aside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    parquet.write_table(kept, aside) if file.suffix == ".parquet" else csv.write_csv(kept, aside)
    aside.replace(file)
    return True


def _theirs(table: Any, column: str, subject: str) -> Any:
    import pyarrow as pa
    from pyarrow import compute

    if column not in table.column_names:
        return table.slice(0, 0)
    return table.filter(compute.equal(compute.cast(table[column], pa.string()), subject).fill_null(False))


def _table(file: Path) -> Any:
    """Ids stay text: 007 is not 7."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    if file.suffix == ".parquet":
        return parquet.read_table(file)
    with file.open("rb") as stream:
        names = next(csv.open_csv(stream)).schema.names
    return csv.read_csv(file, convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())))


def _column(use_case: str) -> str:
    case = usecases.get(use_case)
    return case.spec[case.key].wire if case.key else ""

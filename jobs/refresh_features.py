"""Refresh the feature store: what a source knows of each subject is kept, with the time from which it holds.

    forewarn refresh-features USE_CASE --data postgresql://reader@host/crm#customers --time-column updated_at
    python -m jobs.refresh_features USE_CASE --data /absolute/rows.csv

It may run twice: a row of the same subject and time takes the place of the one before. Prints one JSON line.
Exits 0 when rows were stored, 1 with one sentence if none could be, 2 on bad arguments.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from forewarn import entities, sources, state, tables, usecases
from forewarn.entities import EntityRow
from forewarn.errors import BadInput
from forewarn.feature_store import FeatureStore
from forewarn.fields import Row
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from jobs import submit, terminal
from jobs.train import absolute

SHOWN_REASONS = 5
# Above this the source is not what it is thought to be, and its good rows are not to be trusted either.
MAX_REJECTED = 0.5


@dataclass(frozen=True, kw_only=True)
class Reject:
    """Why a row is not stored: of what kind, and the sentence. Neither holds its id."""

    kind: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """A source's rows: those to store, each with the time from which it holds; the others by their index."""

    rows: list[EntityRow]
    since: list[datetime]
    rejects: dict[int, Reject]


def refresh_features(
    use_case: Annotated[str, typer.Argument(help="Which use case; `forewarn status` lists them.")],
    data: Annotated[str, typer.Option(help="Rows with an id: a CSV or Parquet file, or a database or S3 URI.")],
    query: Annotated[str, typer.Option(help="SELECT to run, where the URI is a database.")] = "",
    time_column: Annotated[
        str, typer.Option(help="Column with the ISO time from which a row holds, UTC without a zone; else now.")
    ] = "",
    rejects: Annotated[
        Path | None, typer.Option(help="CSV file to write, with the reason why a row was left out.")
    ] = None,
    submit_job: Annotated[bool, typer.Option("--submit", help="Run as a job on the running cluster.")] = False,
) -> None:
    """Keep what a source knows of each subject, so that a request needs to send the id alone.

    Example: forewarn refresh-features USE_CASE --data customers.csv --time-column updated_at
    """
    case, settings = usecases.get(use_case), Settings()
    if submit_job:
        given = {"--data": absolute(data), "--query": query, "--time-column": time_column}
        given |= {"--rejects": str(rejects.resolve())} if rejects else {}
        options = [word for option, value in given.items() if value for word in (option, value)]
        submit.follow(settings, "jobs.refresh_features", [case.name, *options])
        return
    refreshed = run(case, data, settings, query=query, time_column=time_column, rejects=rejects, now=datetime.now(UTC))
    print(orjson.dumps(refreshed).decode())


def run(case: UseCase, data: str, settings: Settings, *, now: datetime, query: str = "", time_column: str = "",
        rejects: Path | None = None) -> dict[str, Any]:  # fmt: skip
    """Read, check, store; what came of it.

    Raises:
        BadInput: the source cannot be read, or more than half of its rows are bad: then nothing is stored.
        StoreUnavailable: the store does not answer.
    """
    watch = terminal.Watch()
    with watch.step(f"Reading {sources.described(data)}"):
        raw = sources.load(data, entities.partial(case), query=query)
    with watch.step(f"Checking {len(raw)} rows"):
        found = sort(case, raw, time_column, now)
    if rejects:
        write_rejects(rejects, found.rejects)
    say(len(raw), found.rejects)
    refuse_bad(case, len(raw), found.rejects)
    with closing(FeatureStore.open(settings)) as store, watch.step(f"Storing {len(found.rows)} rows"):
        stored = store.put(case, found.rows, valid_from=found.since, loaded_at=now)
        for other in case.profiles[1:]:  # it answers in this one's place, and looks up under its own name
            kept = sort(other, raw, time_column, now)
            store.put(other, kept.rows, valid_from=kept.since, loaded_at=now)
        holding = store.describe(case)
    if again := len(found.rows) - stored:
        terminal.console.print(f"{again} rows repeat a subject and its time; the last of each is kept")
    return {
        "use_case": case.name,
        "rows": len(raw),
        "stored": stored,
        "rejected": len(found.rejects),
        "entities": holding.entities,
        "newest": holding.newest,
        "source": sources.described(data),
    }


def sort(case: UseCase, raw: Sequence[Row], time_column: str, now: datetime) -> Sorted:
    """Tell what is to be stored from what is not, and why not.

    Raises:
        BadInput: the source has no column of ids, or none of that time.
    """
    _check_columns(case, raw[0], time_column)
    admitted = entities.admit(case, raw)
    key = case.spec[case.key].wire
    rejects = {index: Reject(kind="no id", reason=f"{key} is empty, or is no id") for index in admitted.nameless}
    rejects |= {index: Reject(kind="invalid value", reason=reason) for index, reason in admitted.invalid.items()}
    rows, since = [], []
    for index, row in admitted.rows.items():
        held = time_of(raw[index][time_column], now) if time_column else now
        if isinstance(held, datetime):
            rows.append(row)
            since.append(held)
        else:
            rejects[index] = Reject(kind="bad time", reason=f"{time_column} {held}")
    return Sorted(rows=rows, since=since, rejects=dict(sorted(rejects.items())))


def time_of(value: Any, now: datetime) -> datetime | str:
    """The time of an ISO text, in UTC where it names no zone; or what is wrong with it."""
    if value is None:
        return "is empty; it must hold an ISO date or time"
    try:
        read = datetime.fromisoformat(str(value).strip())
        at = read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return "is no ISO date or time, such as 2026-10-31 or 2026-10-31T08:00:00Z"
    return at if at <= now else "lies in the future"


def write_rejects(path: Path, rejects: Mapping[int, Reject]) -> None:
    """Every row that was left out, by its number in the source (the first is 0), for the file's owner alone."""
    rows = [{"row": index, "kind": reject.kind, "reason": reject.reason} for index, reject in rejects.items()]
    state.write(path, tables.csv_of(rows) if rows else "row,kind,reason\n")


def say(total: int, rejects: Mapping[int, Reject]) -> None:
    """How many rows were left out, for what, and the first of them."""
    if not rejects:
        return
    terminal.console.print(f"{len(rejects)} of {total} rows were left out ({_counted(rejects)}), such as")
    for index, reject in list(rejects.items())[:SHOWN_REASONS]:
        terminal.console.print(f"  row {index}: {reject.reason}", markup=False, soft_wrap=True)


def refuse_bad(case: UseCase, total: int, rejects: Mapping[int, Reject]) -> None:
    """Take nothing from a source that is mostly bad.

    Raises:
        BadInput: more than half of the rows were rejected.
    """
    if len(rejects) > MAX_REJECTED * total:
        raise BadInput(
            f"{case.name}: {len(rejects)} of {total} rows are bad ({_counted(rejects)}), so nothing was stored; "
            "mend the source, or choose its good rows with --query"
        )


def _check_columns(case: UseCase, columns: Row, time_column: str) -> None:
    names = [*case.spec[case.key].aliases, case.key] if case.key else []
    if names and not any(name in columns for name in names):
        raise BadInput(f"{case.name}: the column {names[0]} is missing; the source must name each row's subject")
    if time_column and time_column not in columns:
        raise BadInput(f"{case.name}: the source has no column {time_column}; it has {', '.join(columns)}")


def _counted(rejects: Mapping[int, Reject]) -> str:
    kinds = Counter(reject.kind for reject in rejects.values())
    return ", ".join(f"{count} × {kind}" for kind, count in kinds.most_common())


if __name__ == "__main__":
    terminal.command(refresh_features)

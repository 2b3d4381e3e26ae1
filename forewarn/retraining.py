"""Whether a use case is to be trained anew, and from which rows: pure functions of what is known (S2-59, C40)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from forewarn import ids
from forewarn.errors import BadInput
from forewarn.fields import Row
from forewarn.ids import IdKey
from forewarn.policy import Watching
from forewarn.tasks import Classification
from forewarn.usecase import UseCase

Cause = Literal["drift", "degradation", "schedule", "hand"]
# What people did about a prediction changes what comes true of it: such rows teach that whoever is warned of stays.
Acted = Literal["leave-out", "keep"]
MONTH = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """A row of the ledger whose outcome is known.

    Attributes:
        subject: the pseudonym of whom it is about.
        acted: whether somebody did something about it.
    """

    row: Row
    label: float
    subject: str | None
    acted: bool


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether to begin, and why or why not."""

    go: bool
    why: str


def decide(cause: Cause, began: Sequence[datetime], fresh: int, rules: Watching, *, now: datetime) -> Decision:
    """By hand always. By itself not again within the cool-down, not beyond the month's budget, and not where nothing
    new could be learned.

    Args:
        began: when trainings of this use case were begun by any cause, in any order.
        fresh: rows of the ledger with known outcomes, without those that are left out.
    """
    if cause == "hand":
        return Decision(go=True, why="asked for by hand")
    last = max(began, default=None)
    if last is not None and now - last < timedelta(days=rules.cooldown_days):
        return Decision(go=False, why=f"one was begun at {last:%Y-%m-%d %H:%M}; {rules.cooldown_days:g} days must pass")
    lately = sum(now - one < MONTH for one in began)
    if lately >= rules.most_a_month:
        return Decision(go=False, why=f"{lately} were begun within 30 days; {rules.most_a_month} is the budget")
    if fresh < rules.min_rows:
        return Decision(go=False, why=f"{fresh} rows with known outcomes are new; {rules.min_rows} are needed")
    return Decision(go=True, why=f"{cause}, with {fresh} new rows")


def refuse_poor(case: UseCase, rows: int, champion_rows: int) -> None:
    """The champion is held against the candidate by its recipe, fitted on the same rows: where these are few, a model
    that knows less than the champion passes.

    Raises:
        BadInput: there are fewer than half of what the champion learned from.
    """
    if rows < champion_rows / 2:
        raise BadInput(
            f"{case.name}: {rows:,} rows are fewer than half of the {champion_rows:,} that the champion learned from; "
            "name the base set with --data"
        )


def table(
    case: UseCase, fresh: Sequence[Fresh], base: Sequence[Mapping[str, Any]], id_key: IdKey, *, acted: Acted
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Raw labelled rows, the newest first, and how many of which kind. Of everybody but a pseudonym is left, so that
    whoever is in the base set and in the ledger is one subject.

    Args:
        fresh: oldest first. base: raw labelled rows that are learned from beside them.
    """
    flagged = sum(one.acted for one in fresh)
    kept = [one for one in fresh if acted == "keep" or not one.acted]
    words = _words(case, base)
    rows = [_told(case, one, words) for one in reversed(kept)]
    counts = {"ledger": len(rows), "acted_on": flagged, "left_out": len(fresh) - len(kept), "base": len(base)}
    return [*rows, *_hidden(case, base, id_key)], counts


def _words(case: UseCase, base: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """How the base set writes its labels, so that all rows of a table write them alike."""
    if not isinstance(case.task, Classification):
        return "", ""
    event = case.task.event
    written = (str(row[case.target]).strip() for row in base if row.get(case.target) is not None)
    return next((word for word in written if word != event), case.task.verdicts[0]), event


def _told(case: UseCase, one: Fresh, words: tuple[str, str]) -> dict[str, Any]:
    raw = {spec.wire: one.row[spec.name] for spec in case.fields if one.row[spec.name] is not None}
    label = words[int(one.label)] if isinstance(case.task, Classification) else one.label
    key = {case.spec[case.key].wire: one.subject} if case.key and one.subject else {}
    return {**raw, **key, case.target: label}


def _hidden(case: UseCase, base: Sequence[Mapping[str, Any]], id_key: IdKey) -> Iterator[dict[str, Any]]:
    names = {*case.spec[case.key].aliases, case.key} if case.key else set()
    for row in base:
        subject = ids.text_of(next((row[name] for name in names if row.get(name) is not None), None))
        plain = {name: value for name, value in row.items() if name not in names}
        known = {case.spec[case.key].wire: id_key.pseudonym(case.name, subject)} if subject else {}
        yield {**plain, **known}

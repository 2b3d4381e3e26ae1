"""The history of releases: every change of which version answers whom, by whom and why. Append-only, and the truth;
what replicas read beside the packages is its newest line, put up by whoever wrote it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa

from forewarn.databases import bound, written
from forewarn.errors import BadInput
from forewarn.ledger import schema
from forewarn.ledger.audit import By, Chain
from forewarn.ledger.store import Ledger, named, raise_counter
from forewarn.releases import Releases, ReleaseState
from forewarn.releases.roles import PREVIOUS, SHADOW
from forewarn.settings import Settings
from forewarn.usecase import UseCase

COLUMN = schema.RELEASES.c
Step = Callable[[ReleaseState], ReleaseState]


class History:
    """One installation's."""

    def __init__(self, ledger: Ledger, releases: Releases, chain: Chain, *, load: bool = True):
        self._ledger, self._releases, self._chain, self._load = ledger, releases, chain, load

    @classmethod
    def of(cls, settings: Settings, ledger: Ledger, *, load: bool = True) -> "History":
        """With this installation's packages and secrets.

        Args:
            load: prove a version by its smoke rows before it takes a role; else by its bytes alone, where the libraries
                that score must not be loaded and replicas prove it anyway.
        """
        return cls(ledger, Releases(settings.packages), Chain.of(settings), load=load)

    def state(self, case: UseCase) -> ReleaseState:
        """As the newest line has it; before the first, as the package store does.

        Raises:
            LedgerUnavailable.
        """
        with self._ledger.begin() as connection:
            return self._state(connection, case)

    def change(
        self, case: UseCase, act: str, by: By, why: str, step: Step, *, at: datetime,
        version: str = "", verdict: Mapping[str, Any] | None = None,
    ) -> ReleaseState:  # fmt: skip
        """Take a step, and let every replica know. The history, the log of privileged acts and the state are of one
        transaction; versions that come into a role are loaded and proved before it. A previous one or a shadow that the
        package store has lost meanwhile has no role any more.

        Raises:
            NotAllowed, BadInput: as the step; or no reason was given.
            NotFound, PackageDamaged: a version is not in the store, or not whole; nothing changes.
            LedgerUnavailable: nothing changes.
        """
        refuse_empty(why)
        with self._releases.changing(case):
            before = self.state(case)
            self._prove(case, before, self._without_lost(case, before, step(before)))
            with self._ledger.begin() as connection:
                number, before = self._begun(connection, case)
                new = self._without_lost(case, before, step(before))
                release = number if new.challenger and not new.release else new.release
                new = replace(new, number=number, release=release)
                version = version or _concerned(before, new)
                _append(connection, case, act, by, why, (before.champion, version), new, at, verdict)
                told = {"use_case": case.name, "version": version, "from": before.champion, "why": why,
                        "roles": new.roles, "share": new.share}  # fmt: skip
                self._chain.append(connection, f"release.{act}", by, told, at=at)
            self._releases.put_up(case, new)
        return new

    def note(
        self, case: UseCase, act: str, by: By, why: str, *, version: str, at: datetime,
        verdict: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """A line that changes nothing: a verdict to wait, or a version that replicas refused.

        Raises:
            LedgerUnavailable.
        """
        with self._ledger.begin() as connection:
            number, state = self._begun(connection, case)
            state = replace(state, number=number)
            _append(connection, case, act, by, why, (state.champion, version), state, at, verdict)

    def mend(self, case: UseCase) -> ReleaseState:
        """Put up again what the newest line says, where whoever wrote it died before that.

        Raises:
            LedgerUnavailable, NotFound.
        """
        with self._releases.changing(case):
            state = self.state(case)
            if state.number > self._releases.state(case).number:
                self._releases.put_up(case, state)
        return state

    def listed(self, case: UseCase, *, after: int = 0, most: int = 100) -> list[dict[str, Any]]:
        """Lines, the newest first; `after` is the number of the last one that is known already."""
        chosen = sa.select(schema.RELEASES).where(COLUMN.use_case == case.name)
        chosen = chosen.where(COLUMN.number < after) if after else chosen
        with self._ledger.begin() as connection:
            found = connection.execute(chosen.order_by(COLUMN.number.desc()).limit(most))
            return [_told(named(row)) for row in found]

    def at(self, case: UseCase, moment: str) -> dict[str, Any] | None:
        """The line that was the newest at a time: which version served then (S2-66). None before the first.

        Raises:
            BadInput: this is no time.
        """
        chosen = sa.select(schema.RELEASES).where(COLUMN.use_case == case.name, COLUMN.at <= bound(moment, "at"))
        with self._ledger.begin() as connection:
            found = connection.execute(chosen.order_by(COLUMN.number.desc()).limit(1)).one_or_none()
        return _told(named(found)) if found else None

    def since(self, case: UseCase, acts: Sequence[str], *, number: int = 0) -> list[dict[str, Any]]:
        """The lines of these acts after that number, oldest first."""
        chosen = sa.select(schema.RELEASES).where(
            COLUMN.use_case == case.name, COLUMN.act.in_(acts), COLUMN.number > number
        )
        with self._ledger.begin() as connection:
            return [_told(named(row)) for row in connection.execute(chosen.order_by(COLUMN.number))]

    def _state(self, connection: sa.Connection, case: UseCase) -> ReleaseState:
        chosen = sa.select(COLUMN.state).where(COLUMN.use_case == case.name)
        newest = connection.execute(chosen.order_by(COLUMN.number.desc()).limit(1)).scalar()
        return ReleaseState.of(orjson.loads(newest)) if newest else self._releases.state(case)

    def _prove(self, case: UseCase, before: ReleaseState, new: ReleaseState) -> None:
        """Whatever is to answer must load and give its smoke rows their scores, before it is asked by anybody."""
        for role, version in new.roles.items():
            if before.roles.get(role) != version:
                (self._releases.load if self._load else self._releases.verify)(case, version)
            self._releases.folder(case, version)

    def _without_lost(self, case: UseCase, before: ReleaseState, new: ReleaseState) -> ReleaseState:
        there = self._releases.versions(case)
        lost = [role for role in (PREVIOUS, SHADOW)
                if new.roles.get(role) not in (None, *there) and new.roles[role] in before.versions]  # fmt: skip
        return replace(new, **dict.fromkeys(lost))  # type: ignore[arg-type]

    def _begun(self, connection: sa.Connection, case: UseCase) -> tuple[int, ReleaseState]:
        """The next number, and with it the right to write: nobody else gets one until the transaction ends. Where the
        ledger began anew it counts on from what the package store was told by the one before.
        """
        number = raise_counter(connection, schema.RELEASED)
        known = self._releases.state(case).number
        while number <= known:
            number = raise_counter(connection, schema.RELEASED)
        return number, self._state(connection, case)


def _append(
    connection: sa.Connection, case: UseCase, act: str, by: By, why: str, versions: tuple[str | None, str],
    new: ReleaseState, at: datetime, verdict: Mapping[str, Any] | None,
) -> None:  # fmt: skip
    line = {
        "number": new.number,
        "use_case": case.name,
        "at": written(at),
        "actor": by.actor,
        "key_id": by.key_id,
        "act": act,
        "why": why,
        "from_version": versions[0],
        "to_version": versions[1],
        "verdict": orjson.dumps(verdict, option=orjson.OPT_SORT_KEYS).decode() if verdict else None,
        "state": orjson.dumps(new.told()).decode(),
    }
    connection.execute(sa.insert(schema.RELEASES), line)


def _concerned(before: ReleaseState, new: ReleaseState) -> str:
    """The version that a step is about: whichever has got another role, else the challenger."""
    moved = [version for role, version in new.roles.items() if before.roles.get(role) != version]
    gone = [version for version in before.versions if version not in new.versions]
    return (moved or gone or [new.challenger or new.champion or ""])[0]


def refuse_empty(why: str) -> None:
    """Nobody decides without a reason.

    Raises:
        BadInput: there is none.
    """
    if not why.strip():
        raise BadInput("why is empty; say in a sentence why, it is kept with the version")


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    verdict = orjson.loads(row["verdict"]) if row["verdict"] else None
    return {**row, "state": orjson.loads(row["state"]), "verdict": verdict}

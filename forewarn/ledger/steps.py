"""The steps of a release as people ask for them, at a shell or over HTTP, and what is refused of them."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from forewarn.databases import written
from forewarn.errors import BadInput, MissingField, NotAllowed
from forewarn.ledger.audit import By
from forewarn.ledger.releases import History, Step
from forewarn.releases import ReleaseState
from forewarn.usecase import UseCase

Act = Literal["start", "share", "shadow", "promote", "rollback", "pause"]
# Who may take them: whoever approves brings a version to the people; whoever operates may hold it back.
SCOPES: Mapping[Act, str] = {
    "start": "approve", "promote": "approve", "share": "operate", "shadow": "operate", "rollback": "operate",
    "pause": "operate",
}  # fmt: skip
JUDGE = "judge"


class NewStep(BaseModel):
    """What is asked for.

    Attributes:
        version: for start, shadow (empty: no shadow any more) and promote (empty: the challenger).
        share: percent of the subjects, for start and share.
        cohorts: field -> values, for start: whoever has one of them is answered by the challenger.
        again: start a version that was rolled back by itself a short while ago.
        why: mandatory, in words.
    """

    model_config = ConfigDict(extra="forbid")

    act: Act
    why: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
    version: Annotated[str, Field(max_length=32)] = ""
    share: Annotated[float | None, Field(ge=0, le=100)] = None
    cohorts: dict[str, list[str]] = Field(default_factory=dict)
    again: bool = False


def take(history: History, case: UseCase, asked: NewStep, by: By, *, at: datetime) -> ReleaseState:
    """Take the step; the state after it.

    Raises:
        NotAllowed: it cannot be taken from where things stand.
        BadInput, MissingField: it is not said what is to be done.
        NotFound: the version was not approved, so that it is not in the package store.
        PackageDamaged: the version is not whole; nothing changes.
        LedgerUnavailable: nothing changes.
    """
    step = _step(history, case, asked, at)
    return history.change(case, asked.act, by, asked.why, step, at=at)


def _step(history: History, case: UseCase, asked: NewStep, at: datetime) -> Step:
    version, since = named(asked.version), written(at)
    if asked.act == "start":
        if not version:
            raise MissingField("version: which one is to be started, such as v2")
        _refuse_cooling(history, case, version, asked, at)
        share = case.canary.share if asked.share is None else asked.share
        cohorts = _cohorts(case, asked.cohorts)
        return lambda state: state.started(version, share=share, cohorts=cohorts, since=since)
    if asked.act == "share":
        if asked.share is None:
            raise MissingField("share: which percentage, from 0 to 100")
        share = asked.share
        return lambda state: state.shared(share)
    if asked.act == "shadow":
        return lambda state: state.shadowed(version or None, since=since)
    if asked.act == "promote":
        _refuse_cooling(history, case, version, asked, at)
        return lambda state: state.promoted(version or _challenger(state))
    return ReleaseState.rolled_back if asked.act == "rollback" else ReleaseState.held


def named(version: str) -> str:
    """As the registry names it: 3 is v3.

    Raises:
        BadInput: it is no version's name.
    """
    if version and not re.fullmatch(r"v?[0-9]{1,9}", version):
        raise BadInput(f"version: {version[:20]} is none; give it as v2")
    return f"v{version.removeprefix('v')}" if version else ""


def _challenger(state: ReleaseState) -> str:
    if state.challenger is None:
        raise MissingField("version: there is no challenger; which one is to be promoted, such as v2")
    return state.challenger


def _refuse_cooling(history: History, case: UseCase, version: str, asked: NewStep, at: datetime) -> None:
    """A version that was just rolled back by itself has not become better since (S2-74)."""
    since = written(at - timedelta(hours=case.canary.cooldown_hours))
    lost = [line for line in history.since(case, ["rollback"]) if line["actor"] == JUDGE and line["at"] >= since]
    mine = [line for line in lost if line["to_version"] == version]
    if mine and not asked.again:
        raise NotAllowed(
            f"{case.name} {version} was rolled back by itself at {mine[-1]['at']}: {mine[-1]['why']}; wait "
            f"{case.canary.cooldown_hours:g} hours after that, or say that it is to be started again"
        )


def _cohorts(case: UseCase, asked: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """By the names of the wire. Nobody is singled out by what a model must not even know of them."""
    found = {}
    for name, values in asked.items():
        spec = case.by_alias.get(name)
        if spec is None or spec.name == case.key:
            raise BadInput(f"cohorts: {case.name} has no field {name[:40]}; name one of the row's")
        if spec.name in case.protected | case.sensitive:
            raise NotAllowed(f"cohorts: {spec.wire} is protected; choose people by another field")
        unknown = [value for value in values if spec.levels and value not in map(str, spec.levels)]
        if unknown or not values:
            raise BadInput(
                f"cohorts: {spec.wire} is one of {', '.join(map(str, spec.levels))}; got {unknown or 'none'}"
            )
        found[spec.wire] = tuple(values)
    return found

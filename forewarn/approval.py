"""Who lets a version in: what passed its gates waits for a person, or for the use case's rule.

Each step is written on the registered version, with who took it, why and when; only an approved package gets into
the store from which is served.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from forewarn.errors import NotAllowed
from forewarn.ledger import steps
from forewarn.ledger.audit import By
from forewarn.ledger.releases import History, refuse_empty
from forewarn.ledger.steps import NewStep
from forewarn.ledger.store import Ledger
from forewarn.package import ModelPackage
from forewarn.registry import Registry
from forewarn.releases import Releases, ReleaseState
from forewarn.releases.roles import CHAMPION, ROLES
from forewarn.settings import Settings
from forewarn.usecase import UseCase

APPROVED, PENDING, REJECTED = "approved", "pending_approval", "rejected"
RULE = "rule"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a version stands.

    Attributes:
        trained_by: who gave the order; by: who decided last, "gates" and "rule" among them.
        metric: the selection metric as it was proved, "roc_auc 0.847".
        role: champion, challenger, shadow or previous; empty for none.
    """

    version: str
    status: str
    trained_by: str
    by: str
    why: str
    at: str
    metric: str
    role: str = ""

    @classmethod
    def of(cls, version: str, tags: dict[str, str], state: ReleaseState) -> "Standing":
        """From what is written on the version."""
        told = {name: tags.get(name, "") for name in ("status", "trained_by", "by", "why", "at", "metric")}
        return cls(version=version, role=state.role_of(version), **told)

    @property
    def champion(self) -> bool:
        """Whether it is."""
        return self.role == CHAMPION


def standings(case: UseCase, settings: Settings) -> list[Standing]:
    """Every registered version, oldest first."""
    state = Releases(settings.packages).state(case)
    return [Standing.of(version, tags, state) for version, tags in Registry(settings).versions(case).items()]


def approve(case: UseCase, version: str, settings: Settings, *, by: str, why: str) -> Standing:
    """Let a version in: it may be given traffic from now on. The first one of a use case is champion at once, for
    there is nothing that it could be compared with.

    Raises:
        NotFound: no such version.
        NotAllowed: its gates or a person rejected it; or four eyes are asked for, and these two are the trainer's.
        BadInput: no reason was given.
        PackageDamaged: it does not load, or another release made it.
        LedgerUnavailable: the history of releases cannot be written; nothing changes.
    """
    registry, version = Registry(settings), named(version)
    tags = registry.tags(case, version)
    refuse_empty(why)
    if tags.get("status") == REJECTED:
        raise NotAllowed(f"{case.name} {version} was rejected by {tags['by']}: {tags['why']}; train another version")
    if settings.four_eyes and by == tags.get("trained_by"):
        raise NotAllowed(
            f"{case.name} {version} was trained by {by}, and FOREWARN_FOUR_EYES asks for another person to approve it"
        )
    releases, at = Releases(settings.packages), datetime.now(UTC)
    with _history(settings) as history:
        is_first = history.state(case).champion is None
        source = registry.fetch(case, version)
        ModelPackage.load(case, source, version=version)
        releases.admit(case, version, source)
        step = (lambda state: state.promoted(version)) if is_first else (lambda state: state)
        state = history.change(case, "approve", By(actor=by), why, step, at=at, version=version)
        registry.note(case, version, {"status": APPROVED, "by": by, "why": why, "at": _told(at)})
    mirror(case, registry, state)
    return Standing.of(version, registry.tags(case, version), state)


def reject(case: UseCase, version: str, settings: Settings, *, by: str, why: str) -> Standing:
    """Refuse a version for good, also one that was let in before.

    Raises:
        NotFound: no such version.
        NotAllowed: it answers, or did before the champion; roll it back, or promote another first.
        BadInput: no reason was given.
        LedgerUnavailable: the history of releases cannot be written; nothing changes.
    """
    registry, version = Registry(settings), named(version)
    registry.tags(case, version)
    refuse_empty(why)
    at = datetime.now(UTC)
    with _history(settings) as history:
        if role := history.state(case).role_of(version):
            raise NotAllowed(f"{case.name} {version} is {role}; give that role to another version first")
        state = history.change(case, "reject", By(actor=by), why, lambda state: state, at=at, version=version)
        registry.note(case, version, {"status": REJECTED, "by": by, "why": why, "at": _told(at)})
        Releases(settings.packages).expel(case, version)
    return Standing.of(version, registry.tags(case, version), state)


def bring(
    case: UseCase, version: str, settings: Settings, act: Literal["start", "promote"], *, by: str, why: str
) -> bool:
    """Let an approved version answer some, or everybody; whether it does. Where another one is on its way it waits.

    Raises:
        LedgerUnavailable: nothing changes.
    """
    with _history(settings) as history:
        try:
            asked = NewStep(act=act, version=version, why=why)
            state = steps.take(history, case, asked, By(actor=by), at=datetime.now(UTC))
        except NotAllowed:
            return version in history.state(case).versions
    mirror(case, Registry(settings), state)
    return True


def mirror(case: UseCase, registry: Registry, state: ReleaseState) -> None:
    """MLflow's aliases say what the history says; whoever only reads them there is told the same."""
    for role in ROLES:
        registry.alias(case, role, state.roles.get(role))


@contextmanager
def _history(settings: Settings) -> Iterator[History]:
    with closing(Ledger.open(settings)) as ledger:
        yield History.of(settings, ledger)


def named(version: str) -> str:
    """As the registry names it: 3 is v3."""
    return f"v{version.removeprefix('v')}"


def _told(at: datetime) -> str:
    return at.isoformat(timespec="seconds")

"""Who lets a version in: what passed its gates waits for a person, or for the use case's rule.

Each step is written on the registered version, with who took it, why and when; only an approved package gets into
the store from which is served.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from forewarn.errors import BadInput, NotAllowed
from forewarn.ledger import notices
from forewarn.ledger.audit import By, Chain
from forewarn.ledger.store import Ledger
from forewarn.package import ModelPackage
from forewarn.registry import Registry
from forewarn.releases import Releases
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
    """

    version: str
    status: str
    trained_by: str
    by: str
    why: str
    at: str
    metric: str
    champion: bool = False

    @classmethod
    def of(cls, version: str, tags: dict[str, str], champion: str | None) -> "Standing":
        """From what is written on the version."""
        told = {name: tags.get(name, "") for name in ("status", "trained_by", "by", "why", "at", "metric")}
        return cls(version=version, champion=version == champion, **told)


def standings(case: UseCase, settings: Settings) -> list[Standing]:
    """Every registered version, oldest first."""
    champion = Releases(settings.packages).champion(case)
    return [Standing.of(version, tags, champion) for version, tags in Registry(settings).versions(case).items()]


def approve(case: UseCase, version: str, settings: Settings, *, by: str, why: str) -> Standing:
    """Let a version in and make it champion.

    Raises:
        NotFound: no such version.
        NotAllowed: its gates or a person rejected it; or four eyes are asked for, and these two are the trainer's.
        BadInput: no reason was given.
        PackageDamaged: it does not load, or another release made it.
        LedgerUnavailable: the log of privileged acts cannot be written.
    """
    registry, version = Registry(settings), named(version)
    tags = registry.tags(case, version)
    _refuse_empty(why)
    if tags.get("status") == REJECTED:
        raise NotAllowed(f"{case.name} {version} was rejected by {tags['by']}: {tags['why']}; train another version")
    if settings.four_eyes and by == tags.get("trained_by"):
        raise NotAllowed(
            f"{case.name} {version} was trained by {by}, and FOREWARN_FOUR_EYES asks for another person to approve it"
        )
    _refuse_unaudited(settings)
    releases, at = Releases(settings.packages), _now()
    before = releases.champion(case)
    source = registry.fetch(case, version)
    ModelPackage.load(case, source, version=version)
    releases.admit(case, version, source)
    registry.note(case, version, {"status": APPROVED, "by": by, "why": why, "at": at})
    releases.promote(case, version, by=by, why=why, at=at)
    registry.promote(case, version)
    told = {"use_case": case.name, "version": version, "from": before, "why": why}
    _audited(settings, "release.approve", by, told)
    return Standing.of(version, registry.tags(case, version), version)


def reject(case: UseCase, version: str, settings: Settings, *, by: str, why: str) -> Standing:
    """Refuse a version for good.

    Raises:
        NotFound: no such version.
        NotAllowed: it is the champion.
        BadInput: no reason was given.
    """
    registry, version = Registry(settings), named(version)
    registry.tags(case, version)
    _refuse_empty(why)
    champion = Releases(settings.packages).champion(case)
    if version == champion:
        raise NotAllowed(f"{case.name} {version} is champion; approve another version first")
    _refuse_unaudited(settings)
    registry.note(case, version, {"status": REJECTED, "by": by, "why": why, "at": _now()})
    _audited(settings, "release.reject", by, {"use_case": case.name, "version": version, "why": why})
    return Standing.of(version, registry.tags(case, version), champion)


def named(version: str) -> str:
    """As the registry names it: 3 is v3."""
    return f"v{version.removeprefix('v')}"


def _refuse_unaudited(settings: Settings) -> None:
    """Before anything is changed that could then not be told.

    Raises:
        LedgerUnavailable: the log of privileged acts cannot be written.
    """
    Chain.of(settings)
    with closing(Ledger.open(settings)) as ledger:
        notices.read(ledger)


def _audited(settings: Settings, act: str, by: str, told: Mapping[str, Any]) -> None:
    """A line in the log of privileged acts."""
    with closing(Ledger.open(settings)) as ledger, ledger.begin() as connection:
        Chain.of(settings).append(connection, act, By(actor=by), told, at=datetime.now(UTC))


def _refuse_empty(why: str) -> None:
    if not why.strip():
        raise BadInput("--why is empty; say in a sentence why, it is kept with the version")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

"""Which role each version has: champion, challenger, shadow, previous. A value; each step makes the next one."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import blake2b
from typing import Any

from forewarn.errors import BadInput, NotAllowed
from forewarn.fields import Row

CHAMPION, CHALLENGER, SHADOW, PREVIOUS = "champion", "challenger", "shadow", "previous"
ROLES = (CHAMPION, CHALLENGER, SHADOW, PREVIOUS)
# S2-63.
FIRST_SHARE = 10.0
DRAWN_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class ReleaseState:
    """Which version answers whom.

    Attributes:
        share: percent of the subjects that the challenger answers, 0 to 100.
        cohorts: field -> values: whoever has one of them is answered by the challenger, whatever the share (S1-43).
        shadow: scores what others answer, and is heard by nobody.
        previous: the champion before this one, kept warm: it answers where the champion cannot.
        paused: the challenger waits, and answers nobody.
        release: number of the line of the history that brought the challenger; subjects are drawn anew for each.
        since: when that was, as `databases.written`.
        number: of the line of the history that made this; 0 before the first.
    """

    champion: str | None = None
    challenger: str | None = None
    share: float = 0.0
    cohorts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shadow: str | None = None
    previous: str | None = None
    paused: bool = False
    release: int = 0
    since: str = ""
    number: int = 0

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "ReleaseState":
        """From JSON; what other releases of Forewarn wrote beside it is left out."""
        known = {one.name: told[one.name] for one in fields(cls) if one.name in told}
        known["cohorts"] = {name: tuple(values) for name, values in known.get("cohorts", {}).items()}
        return cls(**known)

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "cohorts": {name: list(values) for name, values in self.cohorts.items()}}

    @property
    def roles(self) -> dict[str, str]:
        """Role -> version, of those that there are."""
        found = {role: getattr(self, role) for role in ROLES}
        return {role: version for role, version in found.items() if version}

    def role_of(self, version: str) -> str:
        """Its first role; empty for none."""
        return next((role for role, one in self.roles.items() if one == version), "")

    @property
    def versions(self) -> list[str]:
        """Every version that has a role, the champion first, each once."""
        return list(dict.fromkeys(self.roles.values()))

    @property
    def splits(self) -> bool:
        """Whether anybody is answered by the challenger."""
        return self.challenger is not None and not self.paused and (self.share > 0 or bool(self.cohorts))

    def answers(self, row: Row, drawn: float) -> str:
        """Who answers a validated row, champion or challenger; `drawn` is the subject's number from 0 to 1."""
        if not self.splits:
            return CHAMPION
        if any(str(row.get(name)) in values for name, values in self.cohorts.items()):
            return CHALLENGER
        return CHALLENGER if 100 * drawn < self.share else CHAMPION

    def started(
        self, version: str, *, share: float, cohorts: Mapping[str, tuple[str, ...]], since: str
    ) -> "ReleaseState":
        """A challenger, with its first share.

        Raises:
            NotAllowed: another one is on its way; it is the champion already; there is no champion.
            BadInput: no such share.
        """
        if self.champion is None:
            raise NotAllowed("there is no champion to challenge; promote a first version")
        if version == self.champion:
            raise NotAllowed(f"{version} is the champion already")
        if self.challenger:
            raise NotAllowed(f"{self.challenger} is the challenger; promote it or roll it back first")
        shadow = None if version == self.shadow else self.shadow
        return replace(self, challenger=version, share=_percent(share), cohorts=dict(cohorts), shadow=shadow,
                       paused=False, release=0, since=since)  # fmt: skip

    def shared(self, share: float) -> "ReleaseState":
        """The challenger with another share; a paused one goes on.

        Raises:
            NotAllowed: there is no challenger.
            BadInput: no such share.
        """
        self._refuse_without_challenger()
        return replace(self, share=_percent(share), paused=False)

    def held(self) -> "ReleaseState":
        """The challenger answers nobody until it gets a share again.

        Raises:
            NotAllowed: there is no challenger, or it is paused already.
        """
        self._refuse_without_challenger()
        if self.paused:
            raise NotAllowed(f"{self.challenger} is paused already; give it a share to go on")
        return replace(self, paused=True)

    def shadowed(self, version: str | None, *, since: str) -> "ReleaseState":
        """A version that scores beside whoever answers; or none any more.

        Raises:
            NotAllowed: it answers already.
        """
        if version and version in (self.champion, self.challenger):
            raise NotAllowed(f"{version} answers already; a shadow is a version that does not")
        return replace(self, shadow=version, since=self.since if self.challenger else since)

    def promoted(self, version: str) -> "ReleaseState":
        """That version is champion, and the one before it is kept warm.

        Raises:
            NotAllowed: it is the champion already; or another one is the challenger.
        """
        if version == self.champion:
            raise NotAllowed(f"{version} is the champion already")
        if self.challenger not in (None, version):
            raise NotAllowed(f"{self.challenger} is the challenger; roll it back first")
        shadow = None if version == self.shadow else self.shadow
        return replace(self._without_challenger(), champion=version, previous=self.champion, shadow=shadow)

    def rolled_back(self) -> "ReleaseState":
        """Without the challenger; where there is none, the previous champion is champion again.

        Raises:
            NotAllowed: there is nothing to go back to.
        """
        if self.challenger:
            return self._without_challenger()
        if self.previous is None:
            raise NotAllowed("there is no challenger, and no version before this one to go back to")
        return replace(self, champion=self.previous, previous=None)

    def _without_challenger(self) -> "ReleaseState":
        since = self.since if self.shadow else ""
        return replace(self, challenger=None, share=0.0, cohorts={}, paused=False, release=0, since=since)

    def _refuse_without_challenger(self) -> None:
        if self.challenger is None:
            raise NotAllowed("there is no challenger; start a release first")


def drawn(secret: bytes, release: int, whose: str | bytes) -> float:
    """A number from 0 to 1 that is a subject's own for the length of a release, and tells nothing of it.

    Keyed BLAKE2b, so that nobody outside can choose an id that goes where he likes.
    """
    told = whose.encode() if isinstance(whose, str) else whose
    digest = blake2b(str(release).encode() + b"\0" + told, key=secret, digest_size=DRAWN_BYTES).digest()
    return int.from_bytes(digest, "big") / float(2 ** (8 * DRAWN_BYTES))


def _percent(share: float) -> float:
    if not 0 <= share <= 100:
        raise BadInput(f"share: {share:g} is no percentage; give a number from 0 to 100")
    return float(share)

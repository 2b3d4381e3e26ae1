"""What somebody is to look at, and in which words it is told. Texts name fields and figures, never people."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
INSTALLATION = "forewarn"
MOST_OF_A_NAME, MOST_OF_A_KEY = 128, 255


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Something that somebody is to look at.

    Attributes:
        use_case: empty for what concerns the whole installation.
        name: its kind, and behind a colon what it is about: `drift:MonthlyIncome`, `degraded`, `job:retrain`.
        text: a sentence or two, of fields and versions; ids and what is known of one person have no place in it.
        figures: what was measured, and the limits it broke.
    """

    use_case: str
    name: str
    severity: Severity
    text: str
    figures: Mapping[str, float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"{self.name}: {self.severity!r} is no severity; there are {', '.join(SEVERITIES)}")
        if not 0 < len(self.name) <= MOST_OF_A_NAME or len(self.use_case) > MOST_OF_A_NAME:
            raise ValueError(f"the name of an alert has 1 to {MOST_OF_A_NAME} characters, got {self.name[:40]!r}")

    @property
    def kind(self) -> str:
        """Which section of the runbook it is for."""
        return self.name.partition(":")[0]

    @property
    def told(self) -> str:
        """The text with its figures."""
        figures = ", ".join(f"{name} {_short(value)}" for name, value in self.figures.items())
        return f"{self.text.rstrip(' .')} ({figures})." if figures else self.text


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What the channels are told of an alert: that it is so, that it still is, or that it is over.

    Attributes:
        at, since: as `databases.written`; when this is told, and when the alert was opened.
        times: how often it was seen since.
        why: what is said of its end.
        installation: whose alert it is, where one channel hears of several.
        runbook: address of a page with a section for each kind of alert.
    """

    alert: Alert
    at: str
    since: str
    times: int = 1
    over: bool = False
    why: str = ""
    installation: str = INSTALLATION
    runbook: str = ""

    @property
    def key(self) -> str:
        """The same for as long as the alert lasts; PagerDuty takes 255 characters."""
        key = "/".join(filter(None, (self.installation, self.alert.use_case, self.alert.name)))
        return key if len(key) <= MOST_OF_A_KEY else sha256(key.encode()).hexdigest()

    @property
    def title(self) -> str:
        """One line, which names the field that the alert is about (S2-54)."""
        word = "RESOLVED" if self.over else self.alert.severity.upper()
        return " ".join(f"[{self.installation}] {word} {self.alert.use_case} {self.alert.name}".split())

    @property
    def lines(self) -> list[str]:
        """What stands below the title."""
        since = f"Since {self.since[:16].replace('T', ' ')} UTC, seen {self.times} times."
        end = f"Over: {self.why}" if self.why else "It is over."
        return [self.alert.told, *([since] if self.times > 1 else []), *([end] if self.over else [])]

    @property
    def link(self) -> str:
        """The section of the runbook; empty without one."""
        return f"{self.runbook}#{self.alert.kind}" if self.runbook else ""

    @property
    def facts(self) -> dict[str, Any]:
        """All of it, for a program to read."""
        alert = self.alert
        return {
            "event": "resolved" if self.over else "raised", "key": self.key, "installation": self.installation,
            "use_case": alert.use_case, "name": alert.name, "kind": alert.kind, "severity": alert.severity,
            "text": alert.told, "figures": dict(alert.figures), "at": self.at, "since": self.since,
            "times": self.times, "why": self.why, "runbook": self.link,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Told:
    """What came of it: how many notices each channel took, how many it failed of, and why it last did.

    Attributes:
        suppressed: why nobody was to be told; empty where somebody was.
    """

    sent: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    suppressed: str = ""

    def __add__(self, other: "Told") -> "Told":
        return Told(
            sent=Counter(self.sent) + Counter(other.sent),
            failed=Counter(self.failed) + Counter(other.failed),
            reasons={**self.reasons, **other.reasons},
            suppressed=""
            if self.sent or self.failed or other.sent or other.failed
            else other.suppressed or self.suppressed,
        )


def badness(severity: str) -> int:
    """A larger number is worse."""
    names: tuple[str, ...] = SEVERITIES
    return names.index(severity)


def _short(value: float | str) -> str:
    """Four digits are enough to look at."""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"

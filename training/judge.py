"""May this version serve? A pure function of what is known of it; the pipeline does what it says."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from forewarn import expectations, fairness
from forewarn.evidence import Comparison, Evidence
from forewarn.policy import Gates

Status = Literal["approved", "pending_approval", "rejected"]
TRIVIAL = ("majority", "median")
BASELINE = "logistic"
# Of metrics that are not in here, less is better.
MORE_IS_BETTER = frozenset(
    {"roc_auc", "pr_auc", "f1", "recall", "precision", "accuracy", "r2", "coverage", "majority_accuracy"}
)
# An interval that promises 0.9 and holds less than this on held-out rows does not keep its promise.
MIN_COVERAGE = 0.85


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What is known of a version that asks to serve.

    Attributes:
        champion: the version that serves now, as `Comparison.against` names it; None before the first.
        violations: what the data-quality gate found; `override` why it was trained all the same.
        row_ms: time for scoring one row in process, median, milliseconds.
        megabytes: size of the package.
    """

    evidence: Evidence
    champion: str | None
    violations: tuple[str, ...]
    override: str
    row_ms: float
    megabytes: float


@dataclass(frozen=True, kw_only=True)
class Check:
    """One gate: whether it was passed, and a sentence with the figures."""

    gate: str
    passed: bool
    says: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What may be done with a version, and every reason."""

    status: Status
    checks: tuple[Check, ...]

    @property
    def reasons(self) -> list[str]:
        """What it was rejected for."""
        return [check.says for check in self.checks if not check.passed]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"status": self.status, "checks": [asdict(check) for check in self.checks]}


def judge(candidate: Candidate, gates: Gates) -> Verdict:
    """Rejected if it fails one gate; else approved by rule, or put before a person.

    A version trained on a table that the quality gate refused is put before a person whatever the rule.
    """
    checks = tuple(_checks(candidate, gates))
    if not all(check.passed for check in checks):
        return Verdict(status="rejected", checks=checks)
    by_rule = gates.approval == "rule" and not candidate.violations
    return Verdict(status="approved" if by_rule else "pending_approval", checks=checks)


def _checks(candidate: Candidate, gates: Gates) -> Iterator[Check]:
    evidence = candidate.evidence
    yield _data_quality(candidate)
    yield from (_floor(evidence, metric, limit) for metric, limit in gates.floors.items())
    beside = [found for found in evidence.comparisons if _matters(found, candidate)]
    yield from (_against(found, candidate.champion, gates) for found in beside)
    yield _fairness(evidence)
    if "ece" in evidence.metrics:
        yield _at_most("calibration", "expected calibration error", evidence.metrics["ece"]["mean"], gates.max_ece, "")
    if "coverage" in evidence.metrics:
        yield _coverage(evidence.metrics["coverage"]["mean"])
    yield from (
        Check(gate="direction", passed=found.passed, says=expectations.sentence(found)) for found in evidence.directions
    )
    yield _at_most("latency", "scoring one row takes", candidate.row_ms, gates.max_ms, " ms")
    yield _at_most("size", "the package has", candidate.megabytes, gates.max_megabytes, " MB")


def _data_quality(candidate: Candidate) -> Check:
    found = candidate.violations
    says = f"overridden ({candidate.override}): {'; '.join(found)}" if found else "the table passed the quality gate"
    return Check(gate="data quality", passed=not found or bool(candidate.override), says=says)


def _floor(evidence: Evidence, metric: str, limit: float) -> Check:
    if metric not in evidence.metrics:
        return Check(gate=f"floor {metric}", passed=False, says=f"{metric} was not measured; the gate names no metric")
    mean = evidence.metrics[metric]["mean"]
    more = metric in MORE_IS_BETTER
    passed = mean >= limit if more else mean <= limit
    says = f"{metric} {mean:.3f}; at {'least' if more else 'most'} {limit:.3f} is asked"
    return Check(gate=f"floor {metric}", passed=passed, says=says)


def _matters(found: Comparison, candidate: Candidate) -> bool:
    return found.against in (*TRIVIAL, BASELINE, candidate.champion)


def _against(found: Comparison, champion: str | None, gates: Gates) -> Check:
    """Better than trivial has to be shown; worse than another model has to be shown too, to be held against it."""
    figures = f"{found.metric} {found.gain:+.4f} (90 % interval {found.low:+.4f} to {found.high:+.4f})"
    if found.against in TRIVIAL:
        passed = found.low > 0
        says = f"{'better' if passed else 'not shown to be better'} than the {found.against}: {figures}"
        return Check(gate="better than trivial", passed=passed, says=says)
    asked = gates.min_gain if found.against == champion else 0.0
    passed = found.high >= asked
    name = f"the champion {champion}" if found.against == champion else "logistic regression"
    wanted = f"; a gain of {asked:g} is asked" if asked else ""
    says = f"{'not worse' if passed else 'worse'} than {name}: {figures}{wanted}"
    return Check(gate="gain over champion" if found.against == champion else "baseline", passed=passed, says=says)


def _fairness(evidence: Evidence) -> Check:
    broken = [fairness.sentence(gap) for gap in evidence.fairness.breaches]
    judged = len({(gap.field, gap.group) for gap in evidence.fairness.after})
    says = "; ".join(broken) or f"no limit is broken in {judged} groups"
    return Check(gate="fairness", passed=not broken, says=says)


def _coverage(mean: float) -> Check:
    says = f"the 90 % interval holds {mean:.1%} of held-out outcomes; at least {MIN_COVERAGE:.0%} is asked"
    return Check(gate="calibration", passed=mean >= MIN_COVERAGE, says=says)


def _at_most(gate: str, what: str, value: float, limit: float, unit: str) -> Check:
    return Check(gate=gate, passed=value <= limit, says=f"{what} {value:.3g}{unit}; at most {limit:g}{unit} is allowed")

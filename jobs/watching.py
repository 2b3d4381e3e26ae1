"""What a job that watches leaves behind: alerts that somebody hears, and its report beside the versions in MLflow."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from forewarn.alerts import Alert
from forewarn.errors import ForewarnError
from forewarn.ledger.alerts import Alerts
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings
from forewarn.usecase import UseCase

log = logging.getLogger(__name__)
DRIFT, DEGRADED, UNFAIR, RELEASE, DAMAGED, JOB = "drift", "degraded", "unfair", "release", "damaged", "job"


def drifted(case: UseCase, settings: Settings, told: Mapping[str, Any], files: Sequence[Path], *, at: datetime) -> None:
    """An alert for each field that is an alarm; those that are none any more are resolved."""
    fields = {one["field"]: one for one in told["fields"]}
    alerts = [_of_field(case, told, fields[name]) for name in told["alarms"]]
    _tell(case, settings, f"{DRIFT}:", alerts, at=at)
    psi = {f"psi/{_plain(name)}": one["psi"] for name, one in fields.items()}
    _keep(case, settings, DRIFT, files, {**psi, "alarms": float(len(alerts))}, told["version"])


def degraded(case: UseCase, settings: Settings, told: Mapping[str, Any], files: Sequence[Path]) -> None:
    """An alert where a version that serves has degraded, or treats a group worse than is allowed."""
    at = datetime.fromisoformat(told["written"])
    serving = [one for one in told["versions"] if one["serves"]]
    worse = [one for one in serving if one["standing"]["level"] == "degraded"]
    _tell(case, settings, f"{DEGRADED}:", [_of_version(case, one) for one in worse], at=at)
    unfair = [one for one in serving if one["fairness"].get("broken")]
    _tell(case, settings, f"{UNFAIR}:", [_of_groups(case, one) for one in unfair], at=at)
    for one in serving:
        found = {f"realised/{m['metric']}": m["realised"]["value"] for m in one["standing"]["metrics"] if m["realised"]}
        found |= {f"estimated/{m['metric']}": m["estimated"]["value"] for m in one["standing"]["metrics"]
                  if m["estimated"]}  # fmt: skip
        _keep(case, settings, "performance", files, {**found, "outcomes": float(one["outcomes"])}, one["version"])


def rolled_back(case: UseCase, settings: Settings, ledger: Ledger, version: str, why: str, *, at: datetime) -> None:
    """A version lost its traffic by itself: somebody is to find out why it was let in."""
    said = f"{version} was rolled back by itself: {why}."
    alert = Alert(use_case=case.name, name=f"{RELEASE}:{version}", severity="critical", text=said)
    _heard(settings, ledger, alert, at=at)


def damaged(case: UseCase, settings: Settings, ledger: Ledger, found: Mapping[str, str], *, at: datetime) -> None:
    """Packages that replicas refuse, until they are whole again."""
    try:
        channels = Alerts.of(settings, ledger)
        for version, said in found.items():
            text = f"{version} does not take over, nothing else changes: {said}."
            channels.raise_(
                Alert(use_case=case.name, name=f"{DAMAGED}:{version}", severity="critical", text=text), at=at
            )
        channels.keep_only(case.name, f"{DAMAGED}:", [f"{DAMAGED}:{version}" for version in found], at=at)
    except ForewarnError as error:  # a bad alerts.yaml must not end the judging
        log.warning("%s: nobody is told of %s: %s", case.name, ", ".join(found) or "what is over", error)


def job_ended(settings: Settings, ledger: Ledger, job: str, trouble: str, *, at: datetime) -> None:
    """A job that failed; or that did its work, which ends the alert of the run before."""
    if trouble:
        text = f"The job {job} did not do its work: {trouble}; `forewarn schedule history {job}` has what it said."
        _heard(settings, ledger, Alert(use_case="", name=f"{JOB}:{job}", severity="critical", text=text), at=at)
        return
    Alerts.of(settings, ledger).resolve("", f"{JOB}:{job}", at=at, why="it ran well")


def _heard(settings: Settings, ledger: Ledger, alert: Alert, *, at: datetime) -> None:
    try:
        Alerts.of(settings, ledger).raise_(alert, at=at)
    except ForewarnError as error:
        log.warning("nobody is told of %s %s: %s", alert.use_case, alert.name, error)


def _tell(case: UseCase, settings: Settings, prefix: str, alerts: Sequence[Alert], *, at: datetime) -> None:
    with closing(Ledger.open(settings)) as ledger:
        channels = Alerts.of(settings, ledger)
        for alert in alerts:
            channels.raise_(alert, at=at)
        channels.keep_only(case.name, prefix, [alert.name for alert in alerts], at=at)


def _of_field(case: UseCase, told: Mapping[str, Any], one: Mapping[str, Any]) -> Alert:
    """S2-54: the alert names the field, with its figures. It is louder where the field moves the score."""
    loud = one["level"] == "drift" and (one["importance"] >= MATTERS or one["field"] in ("score", "label"))
    return Alert(
        use_case=case.name,
        name=f"{DRIFT}:{one['field']}",
        severity="critical" if loud else "warning",
        text=f"{one['field']} has moved, in {told['rows']:,} rows beside {told['reference_rows']:,} that "
        f"{told['version']} learned from.",
        figures={"PSI": round(one["psi"], 3), "reached by chance": round(one["floor"], 3),
                 "share of the score": round(one["importance"], 3)},
    )  # fmt: skip


# A field of which a twentieth of what moves the score hangs.
MATTERS = 0.05


def _of_version(case: UseCase, one: Mapping[str, Any]) -> Alert:
    reasons = "; ".join(one["standing"]["reasons"])
    figures = {m["metric"]: round(m["realised"]["value"], 4) for m in one["standing"]["metrics"] if m["realised"]}
    return Alert(use_case=case.name, name=f"{DEGRADED}:{one['version']}", severity="critical",
                 text=f"{one['version']} has degraded: {reasons}.", figures=figures)  # fmt: skip


def _of_groups(case: UseCase, one: Mapping[str, Any]) -> Alert:
    said = f"{one['version']} treats groups unalike: {'; '.join(one['fairness']['broken'])}."
    return Alert(use_case=case.name, name=f"{UNFAIR}:{one['version']}", severity="critical", text=said, figures={})


def _keep(
    case: UseCase, settings: Settings, kind: str, files: Sequence[Path], metrics: Mapping[str, float], version: str
) -> None:
    """In MLflow, where there is one; that it cannot be written to is no reason to fail."""
    if not settings.has_registry:
        return
    from forewarn.registry import Registry  # MLflow takes seconds to import

    try:
        Registry(settings).log_report(case, kind, files, metrics=metrics, version=version)
    except (ForewarnError, OSError) as error:
        log.warning("%s: the report is not in MLflow: %s", case.name, error)


def _plain(name: str) -> str:
    """MLflow takes no other characters in the names of metrics."""
    return "".join(one if one.isalnum() or one in "_-. /" else "_" for one in name)

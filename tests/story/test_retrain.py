"""`forewarn retrain`: an open alarm trains anew, from what came true, on the session's cluster."""

import json
from contextlib import closing
from datetime import UTC, datetime

import pytest

from forewarn import usecases
from forewarn.alerts import Alert
from forewarn.ledger import retrainings
from forewarn.ledger.alerts import Alerts
from forewarn.ledger.store import Ledger
from forewarn.registry import Registry
from forewarn.settings import Settings
from tests.conftest import Service, admitted
from tests.jobs.test_commands import forewarn
from tests.jobs.test_realised import answer

pytestmark = pytest.mark.cluster

CASE = usecases.get("attrition")


def alarm(settings: Settings, severity: str) -> None:
    told = Alert(use_case=CASE.name, name="drift:OverTime", severity=severity, text="OverTime has moved")  # type: ignore[arg-type]
    with closing(Ledger.open(settings)) as ledger:
        Alerts.of(settings, ledger).raise_(told, at=datetime.now(UTC))


@pytest.mark.requirement("S2-59")
@pytest.mark.requirement("S2-61")
def test_an_alarm_trains_anew_and_the_cause_goes_with_the_version(service: Service, settings: Settings) -> None:
    admitted(settings, CASE, "v1")
    run = ("retrain", CASE.name, "--if-needed", "--trials", "4")
    quiet = json.loads(forewarn(settings, *run).stdout)
    assert quiet["why"] == "no alert of drift or degradation is open"
    alarm(settings, "warning")
    assert "no alert" in forewarn(settings, *run).stdout, "a field that hardly moves the score is no cause"
    alarm(settings, "critical")
    assert "0 rows with known outcomes are new; 200 are needed" in forewarn(settings, *run).stdout
    answer(settings, CASE, "v1", rows=400)
    ran = forewarn(settings, *run, RAY_ADDRESS=service.address)
    assert ran.returncode in (0, 3), ran.stderr
    made = json.loads(ran.stdout)
    assert (made["cause"], made["rows"]) == ("drift", 400)
    assert made["why"].startswith("OverTime has moved")
    with closing(Ledger.open(settings)) as ledger:
        (line,) = retrainings.listed(ledger, CASE)
    assert (line["version"], line["status"], line["rows"]["ledger"]) == (made["version"], made["status"], 400)
    package = Registry(settings).fetch(CASE, made["version"])
    assert "cause: drift" in (package / "metadata.yaml").read_text()
    assert "7 days must pass" in forewarn(settings, *run).stdout


def test_by_hand_it_needs_a_reason(settings: Settings) -> None:
    admitted(settings, CASE, "v1")
    refused = forewarn(settings, "retrain", CASE.name)
    assert (refused.returncode, "--why" in refused.stderr) == (1, True)

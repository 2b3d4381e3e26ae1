"""Replicas are killed, PostgreSQL and Redis go away, all under load: what was acknowledged is in the ledger, once."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from forewarn import usecases
from forewarn.ledger import schema
from forewarn.ledger.doors import installation_key
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings
from jobs import cluster, machine
from tests.conftest import installed, until
from tests.faults.crowd import asking
from tests.faults.processes import Postgres, postgres, redis
from tests.story.upstairs import replicas, up

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

CLIENTS = 64
AWAY_SECONDS = 30
TWO = {"min_replicas": 2, "max_replicas": 2, "target_ongoing_requests": 0.5, "num_cpus": 0.05}


# Chained, one use case; no quota, for one key asks for all.
PLAN = {
    "composition": "chained",
    "door": {"cache_seconds": 300, "quota_per_minute": 0},
    "ingress": TWO,
    "preprocessor": TWO,
    "model": TWO,
}


def settled(mark: str, url: str, kind: str) -> Any:
    """Both replicas are there again."""
    return len(replicas(mark, kind)) == 2


@pytest.mark.requirement("S0-24")
def test_nothing_acknowledged_is_lost_whatever_dies(tmp_path: Path) -> None:
    with postgres() as database, redis() as (redis_url, redis_server):
        home = Settings(
            home=tmp_path / "home",
            port=machine.free_port(),
            dashboard_port=machine.free_port(),
            ledger_uri=database.uri,
            redis_url=redis_url,
        )
        installed(home, [usecases.get("attrition")])
        with up(home, tmp_path, **PLAN):
            crowd = under_load(home, database, redis_server)
            acknowledged = set(crowd.acknowledged)
            ledger = Ledger.open(home)
            until(lambda: not acknowledged - recorded(ledger), seconds=60, what="everything is in the ledger")
        assert len(acknowledged) == len(crowd.acknowledged), "no id was given twice"
        print(f"asked {crowd.asked}, answered {len(acknowledged)}, not at first {dict(crowd.failed_first)}")
        assert not crowd.failed, f"once more is enough: {crowd.failed}"
        assert sum(crowd.failed_first.values()) < 0.05 * crowd.asked, crowd.failed_first
        ledger.close()


def under_load(home: Settings, database: Postgres, redis_server: Any) -> Any:
    mark = cluster.running(home)["mark"]
    url = f"http://127.0.0.1:{home.port}/v1/attrition/predict"
    row = {"MonthlyIncome": 5500, "OverTime": "Yes", "Age": 34}
    with asking(url, installation_key(home), row, clients=CLIENTS) as crowd:
        until(lambda: len(crowd.acknowledged) > 2000, seconds=60, what="the load runs")
        for kind in ("Ingress", "Preprocessor", "Model"):
            victim = until(lambda kind=kind: replicas(mark, kind), seconds=60, what=f"a {kind} replica")[0]
            victim.send_signal(signal.SIGKILL)
            until(lambda kind=kind: settled(mark, url, kind), seconds=90, what=f"another {kind} replica is there")
        redis_server.terminate()
        database.stop()
        stopped, before = time.monotonic(), len(crowd.acknowledged)
        until(lambda: time.monotonic() > stopped + AWAY_SECONDS, seconds=AWAY_SECONDS + 5, what="it was away for long")
        assert len(crowd.acknowledged) > before + 1000, "answers go out meanwhile"
        database.start()
    return crowd


def recorded(ledger: Ledger) -> set[str]:
    with ledger.begin() as connection:
        return set(connection.execute(sa.select(schema.PREDICTIONS.c.id)).scalars())

"""A key's quota over three ingress replicas, counted by a deployment of its own; and by Redis, which goes away."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from forewarn import usecases
from forewarn.settings import Settings
from jobs import cluster, machine
from tests.conftest import installed, until
from tests.story.upstairs import replicas, up

pytestmark = pytest.mark.cluster

LIMIT = 400
ROW = {"MonthlyIncome": 5500, "OverTime": "Yes"}


PLAN = {
    "door": {"quota_per_minute": LIMIT, "groups_in_flight": 2},
    "ingress": {"min_replicas": 3, "max_replicas": 3, "num_cpus": 0.05},
}


@pytest.mark.requirement("S2-76")
def test_three_replicas_together_let_as_many_through_as_the_quota_says(tmp_path: Path) -> None:
    port, dashboard = machine.free_ports(2)
    home = Settings(home=tmp_path / "home", port=port, dashboard_port=dashboard)
    installed(home, [usecases.get("attrition")])
    with up(home, tmp_path, **PLAN):
        mark = cluster.running(home)["mark"]
        until(lambda: len(replicas(mark, "Ingress")) == 3, seconds=60, what="three ingress replicas")
        made = home.local_key.read_text()  # one that every replica has known from its start
        url = f"http://127.0.0.1:{home.port}/v1/attrition/predict"
        with httpx.Client(headers={"X-API-Key": made}, timeout=30) as client:
            until(lambda: client.post(url, json=ROW).status_code == 200, seconds=10, what="the key opens")
        began, admitted = time.monotonic(), 1
        with ThreadPoolExecutor(12) as pool:
            for codes in pool.map(lambda _: hammer(url, made), range(12)):
                admitted += codes.count(200)
                assert set(codes) <= {200, 429}
        assert time.monotonic() - began < 55, "all within a minute"
        assert 0.95 * LIMIT <= admitted <= 1.05 * LIMIT


def hammer(url: str, key: str) -> list[int]:
    """New connections, so that HAProxy spreads them over the replicas."""
    codes = []
    for _ in range(LIMIT // 6):
        codes.append(httpx.post(url, json=ROW, headers={"X-API-Key": key}, timeout=30).status_code)
    return codes

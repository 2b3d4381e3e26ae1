"""Jobs over HTTP on a real cluster: ordered, followed, fetched, cancelled."""

import csv
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from forewarn import tables, usecases
from forewarn.settings import Settings
from jobs import machine
from tests.conftest import installed, until
from tests.story.upstairs import up

pytestmark = pytest.mark.cluster
CASE = usecases.get("attrition")
PATH = "/v1/attrition/jobs"
OVER = ("succeeded", "failed", "cancelled")


def sampled(n: int) -> list[dict[str, Any]]:
    return [{name: v for name, v in row.items() if name != CASE.target} for row in CASE.sample(n, seed=31)]


@pytest.mark.requirement("S3-14")
def test_a_job_is_ordered_over_http_and_its_answers_are_the_service_s(tmp_path: Path) -> None:
    port, dashboard = machine.free_ports(2)
    home = Settings(home=tmp_path / "home", port=port, dashboard_port=dashboard)
    installed(home, [CASE])
    home.inbox_folder.mkdir()
    (home.inbox_folder / "long.csv").write_text(tables.csv_of(sampled(20_000)), newline="")
    with up(home, tmp_path), client_of(home) as client:
        until(lambda: client.get(PATH).status_code == 200, seconds=10, what="the key opens")
        told = client.post(PATH, content=tables.csv_of(rows := sampled(200)), headers={"Content-Type": "text/csv"})
        assert told.status_code == 202, told.text
        where = str(told.headers["location"])
        seen = until(lambda: over(client, where), seconds=150, what="the job is over")
        assert (seen["status"], seen["counts"]["scored"]) == ("succeeded", 200), seen
        found = list(csv.DictReader(StringIO(client.get(f"{where}/result").text, newline="")))
        single = client.post("/v1/attrition/predict", json=rows).json()["predictions"]
        assert [float(line["probability"]) for line in found] == [one["probability"] for one in single]
        assert client.get(f"{where}/rejects").text.splitlines() == ['"row","file","reason"']
        assert not (home.orders / seen["id"] / "input.csv").exists()
        cancelled(client)
        acts = [one["act"] for one in client.get("/v1/audit").json()["acts"]]
        assert {"job.order", "job.fetch", "job.end"} <= set(acts)


def client_of(home: Settings) -> httpx.Client:
    base = f"http://127.0.0.1:{home.port}"
    return httpx.Client(base_url=base, headers={"X-API-Key": home.local_key.read_text()}, timeout=60)


def over(client: httpx.Client, where: str) -> dict[str, Any]:
    seen: dict[str, Any] = client.get(where).json()
    return seen if seen["status"] in OVER else {}


def cancelled(client: httpx.Client) -> None:
    """While it is at work, which reasons for so many rows take minutes of."""
    where = client.post(PATH, json={"input": "long.csv", "explain": True}).headers["location"]
    until(lambda: client.get(where).json()["progress"] or over(client, where), seconds=150, what="rows are done")
    assert client.delete(where).json()["status"] == "running"
    assert until(lambda: over(client, where), seconds=60, what="it has ended")["status"] == "cancelled"
    assert client.get(f"{where}/result").status_code == 409
    assert client.delete(where).status_code == 200
    assert client.get(where).status_code == 404

"""A new model earns its traffic under load, a bad one loses it by itself; damage, death and absence are survived."""

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from forewarn import approval, usecases
from forewarn.features import Features
from forewarn.ids import IdKey
from forewarn.ledger import nightly
from forewarn.ledger.doors import installation_key
from forewarn.ledger.store import Ledger
from forewarn.package import ModelPackage
from forewarn.registry import Registry
from forewarn.releases import Releases
from forewarn.settings import Settings
from jobs import cluster, machine
from tests.conftest import fitted, until
from tests.faults.crowd import Crowd, Heard, asking
from tests.jobs.test_commands import forewarn
from tests.story.upstairs import replicas, up

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

CASE = usecases.get("attrition")
ROW = {"MonthlyIncome": 5500, "OverTime": "Yes", "Age": 34}
SUBJECTS, CLIENTS = 6000, 16
PLAN = {
    "composition": "chained",
    "door": {"cache_seconds": 0, "quota_per_minute": 0, "answer_seconds": 2},
    "ingress": {"min_replicas": 2, "max_replicas": 2, "num_cpus": 0.05},
}


def people() -> list[dict[str, Any]]:
    """Of ten of them three lack a field."""
    rows = CASE.sample(SUBJECTS, seed=9)
    for number, row in enumerate(rows):
        row["EmployeeNumber"] = number
        del row[CASE.target]
        if number % 10 < 3:
            del row["JobInvolvement"]
    return rows


def unsteady(package: ModelPackage) -> ModelPackage:
    """Chokes on whoever lacks a field: it learned something senseless to put in its place."""
    learned = package.features.to_json()
    learned["cleaning"]["numbers"]["JobInvolvement"] |= {"fill": 1e300, "low": None, "high": None}
    return replace(package, features=Features.from_json(CASE, learned))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Four registered versions: the first serves, the second is good, the third chokes, the fourth is good."""
    folder = tmp_path_factory.mktemp("releases")
    port, dashboard = machine.free_ports(2)
    home = Settings(home=folder / "home", port=port, dashboard_port=dashboard)
    registry = Registry(home)
    run = registry.start_run(CASE, "search", params={}, tags={})
    packages = [fitted(CASE, seed=seed) for seed in (1, 2, 3, 4)]
    packages[2] = unsteady(packages[2])
    for number, package in enumerate(packages):
        tags = {"status": approval.PENDING, "trained_by": "ada", "by": "gates", "why": "", "metric": "roc_auc 0.847"}
        registry.register(CASE, run, package.save(folder / str(number)), tags=tags)
    approval.approve(CASE, "v1", home, by="grace", why="the first one")
    return home


@pytest.fixture(scope="module")
def served(home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Two doors, and behind them each deployment by itself."""
    with up(home, tmp_path_factory.mktemp("up"), **PLAN):
        mark = cluster.running(home)["mark"]
        until(lambda: len(replicas(mark, "Ingress")) == 2, seconds=60, what="two doors")
        with httpx.Client(base_url=f"http://127.0.0.1:{home.port}", timeout=30) as client:
            client.headers["X-API-Key"] = installation_key(home)
            yield client


def approved(home: Settings, version: str) -> None:
    approval.approve(CASE, version, home, by="grace", why="looked at the card")


def step(client: httpx.Client, act: str, version: str = "", **more: Any) -> float:
    """Take it over HTTP; when it was taken."""
    body = {"act": act, "version": version, "why": "this is the story of a release", **more}
    answer = client.post("/v1/attrition/releases", json=body)
    assert answer.status_code == 200, answer.text
    return time.monotonic()


def swept(client: httpx.Client, rows: list[dict[str, Any]]) -> dict[Any, tuple[str, str]]:
    """Subject -> version and route, of everybody."""
    found = {}
    for start in range(0, len(rows), 1000):
        some = rows[start : start + 1000]
        told = client.post("/v1/attrition/batch", json=some).json()["predictions"]
        found |= {row["EmployeeNumber"]: (one["model_version"], one["served_from"])
                  for row, one in zip(some, told, strict=True)}  # fmt: skip
    return found


def history(client: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/v1/attrition/releases").json()["history"]
    return found


def since(crowd: Crowd, begin: float) -> list[Heard]:
    return [one for one in list(crowd.heard) if one.at >= begin]


def wait_for(crowd: Crowd, begin: float, rows: int) -> list[Heard]:
    until(lambda: len(since(crowd, begin)) >= rows, seconds=120, what=f"{rows} answers")
    return since(crowd, begin)


def p99_ms(heard: list[Heard]) -> float:
    return 1000 * float(np.quantile([one.took for one in heard], 0.99))


@pytest.mark.requirement("S2-63")
@pytest.mark.requirement("S2-64")
@pytest.mark.requirement("S2-74")
def test_a_good_version_earns_its_traffic_and_a_bad_one_loses_it_by_itself(
    home: Settings, served: httpx.Client
) -> None:
    url, rows = f"http://127.0.0.1:{home.port}/v1/attrition/predict", people()
    with asking(url, installation_key(home), ROW, clients=CLIENTS, rows=rows) as crowd:
        wait_for(crowd, 0.0, 1000)
        before = p99_ms(wait_for(crowd, time.monotonic(), 1500))
        approved(home, "v2")
        started = step(served, "start", "v2", share=10)
        first = until(lambda: [one for one in since(crowd, started) if one.version == "v2"], seconds=20, what="v2")[0]
        print(f"the first answer by v2 {first.at + first.took - started:.1f} s after the step")
        until(lambda: everywhere(served, lambda one: "challenger" in one["roles"]), seconds=20, what="at both doors")
        arms = swept(served, rows)
        assert len(arms) >= 5000
        assert 0.08 < Counter(version for version, _ in arms.values())["v2"] / len(arms) < 0.12
        assert set(arms.values()) == {("v1", "champion"), ("v2", "challenger")}
        assert swept(served, rows) == arms, "the same subject, the same arm"
        begin = time.monotonic()
        heard = {(one.subject, one.version) for one in wait_for(crowd, begin, 500) if one.at >= begin}
        assert heard <= {(subject, version) for subject, (version, _) in arms.items()}
        promoted = step(served, "promote")
        until(lambda: since(crowd, promoted + 5), seconds=30, what="five seconds")
        swap = p99_ms([one for one in since(crowd, promoted) if one.at < promoted + 5])
        assert {one.version for one in wait_for(crowd, promoted + 6, 500)} == {"v2"}
        print(f"p99: {before:.0f} ms before, {swap:.0f} ms in the five seconds of the swap")
        loses_by_itself(home, served, crowd)
    assert not crowd.failed_first, "not one request failed"
    print(f"{crowd.asked} requests, not one failed")


def loses_by_itself(home: Settings, served: httpx.Client, crowd: Crowd) -> None:
    approved(home, "v3")
    step(served, "start", "v3", share=30)
    gone = until(lambda: [one for one in history(served) if one["act"] == "rollback"], seconds=60, what="a rollback")[0]
    started = next(one for one in history(served) if one["act"] == "start" and one["to_version"] == "v3")
    seconds = (datetime.fromisoformat(gone["at"]) - datetime.fromisoformat(started["at"])).total_seconds()
    print(f"rolled back {seconds:.1f} s after its start: {gone['why']}")
    assert seconds < 30
    assert (gone["actor"], gone["to_version"], gone["verdict"]["action"]) == ("judge", "v3", "rollback")
    assert "could not answer" in gone["why"]
    assert {one.version for one in wait_for(crowd, time.monotonic() + 6, 300)} == {"v2"}
    acts = [(one["act"], one["to_version"]) for one in history(served) if one["act"] != "verdict"][::-1]
    assert acts == [("approve", "v1"), ("approve", "v2"), ("start", "v2"), ("promote", "v2"), ("approve", "v3"),
                    ("start", "v3"), ("rollback", "v3")]  # fmt: skip
    again = served.post("/v1/attrition/releases", json={"act": "start", "version": "v3", "why": "it was bad luck"})
    assert (again.status_code, "was rolled back by itself" in again.text) == (403, True)
    until(lambda: aliases(home) == {"champion": "v2", "challenger": None, "previous": "v1"}, seconds=60, what="MLflow")


def aliases(home: Settings) -> dict[str, str | None]:
    registry = Registry(home)
    return {role: registry.aliased(CASE, role) for role in ("champion", "challenger", "previous")}


def answering(client: httpx.Client) -> dict[str, Any]:
    """How one of the doors sees it; another connection may come to the other."""
    told: dict[str, Any] = httpx.get(f"{client.base_url}/health", timeout=10).json()["models"]["attrition"]
    return told


def everywhere(client: httpx.Client, wanted: Any) -> bool:
    return all(wanted(answering(client)) for _ in range(8))


def test_a_damaged_package_is_refused_and_nothing_changes(home: Settings, served: httpx.Client, tmp_path: Path) -> None:
    approved(home, "v4")
    releases, before = Releases(home.packages), answering(served)["roles"]
    file = releases.folder(CASE, "v4") / "features.json"
    whole = file.read_bytes()
    file.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    refused = forewarn(home, "release", "promote", "attrition", "v4", "--why", "it passed its gates")
    assert (refused.returncode, "has changed since it was written" in refused.stderr) == (1, True)
    assert answering(served)["roles"] == before
    # As if it broke on the way to the replicas: they are told of it, and find it damaged.
    state = releases.state(CASE)
    releases.put_up(CASE, state.promoted("v4"))
    until(lambda: everywhere(served, lambda one: "v4" in one["refused"]), seconds=30, what="it is refused")
    told = httpx.get(f"{served.base_url}/health", timeout=10).json()
    assert (told["status"], told["models"]["attrition"]["model_version"]) == ("degraded", before["champion"])
    assert 'forewarn_refused_versions{use_case="attrition"} 1.0' in served.get("/metrics").text
    file.write_bytes(whole)
    releases.put_up(CASE, state)
    until(
        lambda: everywhere(served, lambda one: one["roles"] == before and not one["refused"]),
        seconds=30,
        what="as it was",
    )


def test_replicas_that_are_killed_while_a_version_takes_over_come_up_with_it(
    home: Settings, served: httpx.Client
) -> None:
    mark = cluster.running(home)["mark"]
    step(served, "promote", "v4")
    for kind in ("Ingress", "Preprocessor", "Model"):
        replicas(mark, kind)[0].send_signal(signal.SIGKILL)

    def there() -> bool:
        return len(replicas(mark, "Ingress")) == 2 and everywhere(served, lambda one: one["model_version"] == "v4")

    def asked() -> bool:
        try:
            return there() and served.post("/v1/attrition/predict", json=ROW).json()["model_version"] == "v4"
        except (httpx.HTTPError, KeyError, json.JSONDecodeError):
            return False

    until(asked, seconds=90, what="all of them answer by the new version")
    step(served, "rollback")
    until(lambda: everywhere(served, lambda one: one["model_version"] == "v2"), seconds=30, what="the one before")


@pytest.mark.requirement("S1-06")
@pytest.mark.requirement("S2-65")
def test_while_the_model_is_down_nightly_scores_are_told_as_such_and_then_no_more(
    home: Settings, served: httpx.Client
) -> None:
    key = IdKey.open(home.id_key)
    with closing(Ledger.open(home)) as ledger:
        nightly.keep(ledger, CASE, "v1", {key.pseudonym("attrition", "7"): 0.625}, at=datetime.now(UTC))

    def said(subject: int) -> tuple[int, Any]:
        answer = served.post("/v1/attrition/predict", json={**ROW, "EmployeeNumber": subject})
        return answer.status_code, answer.json().get("served_from")

    until(lambda: said(7) == (200, "champion"), seconds=60, what="all is well")
    stopped = replicas(cluster.running(home)["mark"], "Model")
    for one in stopped:
        one.suspend()  # it is there, and does not answer
    try:
        until(lambda: said(7) == (200, "nightly"), seconds=30, what="the nightly score")
        told = served.post("/v1/attrition/predict", json={**ROW, "EmployeeNumber": 7}).json()
        assert (told["probability"], told["model_version"], told["instead_of"]) == (0.625, "v1", "v2")
        unknown = served.post("/v1/attrition/predict", json={**ROW, "EmployeeNumber": 8})
        assert (unknown.status_code, unknown.headers["retry-after"]) == (503, "1")
        until(lambda: everywhere(served, lambda one: one["degraded_seconds"] > 0), seconds=30, what="it is told")
    finally:
        for one in stopped:
            one.kill()
    until(lambda: said(7) == (200, "champion"), seconds=90, what="it answers again by itself")
    until(lambda: served.get("/health").json()["status"] == "healthy", seconds=30, what="healthy")


def test_what_is_done_at_a_shell_is_in_the_same_history(home: Settings, served: httpx.Client) -> None:
    done = forewarn(home, "release", "start", "attrition", "v4", "--share", "25", "--cohort", "Department=Sales",
                    "--why", "Pilot with Sales.", "--by", "grace")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "25 % of the subjects and Department in Sales" in done.stderr
    newest = history(served)[0]
    assert (newest["act"], newest["actor"], newest["state"]["cohorts"]) == ("start", "grace", {"Department": ["Sales"]})
    told = json.loads(forewarn(home, "release", "status", "attrition", "--json").stdout)
    assert told["state"]["challenger"] == "v4"
    at = json.loads(forewarn(home, "release", "at", "attrition", newest["at"], "--json").stdout)
    assert at["number"] == newest["number"]
    assert forewarn(home, "release", "rollback", "attrition", "--why", "That was all.").returncode == 0


def test_the_report_shows_both_versions_of_a_release(home: Settings, served: httpx.Client, tmp_path: Path) -> None:
    first = next(one for one in history(served) if one["act"] == "start" and one["to_version"] == "v2")
    made = forewarn(
        home, "release", "report", "attrition", "--release", str(first["number"]), "--output", str(tmp_path)
    )
    assert made.returncode == 0, made.stderr
    print(made.stdout)
    page, data = (Path(one) for one in json.loads(made.stdout)["files"])
    told = json.loads(data.read_text())
    arms = {arm["role"]: arm for arm in told["arms"]}
    assert (arms["challenger"]["version"], arms["champion"]["version"]) == ("v2", "v1")
    assert arms["challenger"]["answered"] > 500
    assert told["pairs"]["rows"] > 200
    assert told["pairs"]["agreement"]["low"] < told["pairs"]["agreement"]["value"] < told["pairs"]["agreement"]["high"]
    assert "data:image/png;base64," in page.read_text()

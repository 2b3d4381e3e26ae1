"""Who answers whom, who answers where a version cannot, and releases over HTTP; everything real but Ray."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from fastapi.testclient import TestClient

from deployments.breaker import FAILURES
from deployments.coalesce import Coalescer, Lane
from deployments.endpoint import Endpoint
from deployments.fallback import Nightly
from deployments.house import House
from deployments.shadows import Shadows, at_leisure
from forewarn import scoring, usecases
from forewarn.ledger import nightly
from forewarn.ledger.spool import segments
from forewarn.releases import ReleaseState
from forewarn.scoring import Scores
from forewarn.settings import Settings
from tests.conftest import admitted, fitted, until
from tests.deployments.conftest import problem, stand
from tests.deployments.test_truth import key

CASE = usecases.get("attrition")
ROW = {"MonthlyIncome": 5500, "OverTime": "Yes"}


class Pipeline:
    """Two versions, of which some may be down, or choke on some rows."""

    def __init__(self) -> None:
        self.packages = {version: replace(fitted(CASE, seed=seed), version=version) for seed, version in
                         ((1, "v1"), (2, "v2"), (3, "v3"))}  # fmt: skip
        self.down: set[str] = set()
        self.hanging: set[str] = set()
        self.asked: Counter[str] = Counter()

    async def __call__(self, lane: Lane, rows: list[dict[str, Any]]) -> Scores:
        self.asked[lane.version] += 1
        if lane.version in self.hanging:
            await asyncio.Event().wait()
        if lane.version in self.down:
            raise ConnectionError("the replica is gone")
        return scoring.score(self.packages[lane.version], rows, why=lane.why)


@pytest.fixture
def pipeline(house: House, settings: Settings) -> Iterator[Pipeline]:
    """Behind the endpoint of one use case, which the others' tests get back as it was."""
    admitted(settings, CASE, "v1", "v2", "v3")
    made, endpoint = Pipeline(), house.endpoints["attrition"]
    kept = endpoint._way, endpoint._releases, endpoint.shadows, endpoint._patience
    limits = {"max_group": 100, "max_explained": 20, "groups_in_flight": 2, "max_waiting": 5000}
    endpoint._way, endpoint._coalescers = lambda: Coalescer(made, **limits), {}
    endpoint._releases = house.history._releases
    slow = Coalescer(at_leisure(made), max_group=64, max_explained=1, groups_in_flight=1, max_waiting=500)
    endpoint.shadows = Shadows(CASE, endpoint.recorder, slow, house.spool, house.meter.shadowed)
    yield made
    endpoint._way, endpoint._releases, endpoint.shadows, endpoint._patience = kept
    endpoint._coalescers = {}


def roles(house: House, pipeline: Pipeline, **state: Any) -> Endpoint:
    endpoint = house.endpoints["attrition"]
    stand(endpoint, *(pipeline.packages[version] for version in ("v1", "v2", "v3")), **state)
    return endpoint


def asked(client: TestClient, subject: Any = None, **more: Any) -> dict[str, Any]:
    answer = client.post("/v1/attrition/predict", json={**ROW, "EmployeeNumber": subject, **more})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def written_down(house: House) -> list[dict[str, Any]]:
    house.spool.turn()
    return [orjson.loads(line) for file in segments(house.spool._folder) for line in file.read_bytes().splitlines()]


@pytest.mark.requirement("S2-63")
def test_a_share_of_the_subjects_each_always_the_same_one(client: TestClient, house: House, pipeline: Pipeline) -> None:
    roles(house, pipeline, challenger="v2", share=30, release=5)
    rows = [{**ROW, "EmployeeNumber": number} for number in range(900)]
    first, again = (client.post("/v1/attrition/batch", json=rows).json()["predictions"] for _ in range(2))
    arms = [(one["model_version"], one["served_from"]) for one in first]
    assert arms == [(one["model_version"], one["served_from"]) for one in again]
    assert set(arms) == {("v1", "champion"), ("v2", "challenger")}
    assert 0.25 < arms.count(("v2", "challenger")) / 900 < 0.35
    expected = {version: scoring.score(package, scoring.validate(CASE, rows).values).values.tolist()
                for version, package in pipeline.packages.items()}  # fmt: skip
    for place, one in enumerate(first):
        assert one["probability"] == expected[one["model_version"]][place], "no row is another's, and no version mixed"


def test_who_names_nobody_goes_by_the_row_and_the_answer_comes_again_from_the_cache(
    client: TestClient, house: House, pipeline: Pipeline
) -> None:
    endpoint = roles(house, pipeline, challenger="v2", share=50, release=5)
    lanes = {endpoint.split(endpoint.state, scoring.validate(CASE, [{**ROW, "MonthlyIncome": 3000 + step}]).values,
                            why=False)[0].route for step in range(40)}  # fmt: skip
    assert lanes == {"champion", "challenger"}
    assert len({asked(client)["model_version"] for _ in range(5)}) == 1


@pytest.mark.requirement("S1-43")
def test_a_cohort_is_answered_by_the_challenger(client: TestClient, house: House, pipeline: Pipeline) -> None:
    roles(house, pipeline, challenger="v2", share=0, cohorts={"Department": ("Sales", "Research & Development")})
    versions = {name: asked(client, 7, Department=name)["model_version"]
                for name in ("Sales", "Research & Development", "Human Resources")}  # fmt: skip
    assert versions == {"Sales": "v2", "Research & Development": "v2", "Human Resources": "v1"}


def test_a_tester_hears_the_version_that_he_wants_and_nobody_else_may_choose(
    client: TestClient, house: House, settings: Settings, pipeline: Pipeline
) -> None:
    roles(house, pipeline, challenger="v2", shadow="v3")
    for wanted, version in (("challenger", "v2"), ("v3", "v3"), ("champion", "v1")):
        answer = client.post("/predict", json=ROW, headers={"X-Forewarn-Version": wanted}).json()
        assert (answer["model_version"], answer["served_from"]) == (version, "override")
    unknown = client.post("/predict", json=ROW, headers={"X-Forewarn-Version": "v9"})
    assert (unknown.status_code, "choose of champion v1, challenger v2" in problem(unknown)["error"]) == (400, True)
    plain = key(house, settings, "predict") | {"X-Forewarn-Version": "challenger"}
    refused = client.post("/predict", json=ROW, headers=plain)
    assert (refused.status_code, problem(refused)["type"]) == (403, "NotAllowed")


@pytest.mark.requirement("S2-65")
def test_the_champion_answers_for_its_challenger_and_the_version_before_for_the_champion(
    client: TestClient, house: House, pipeline: Pipeline
) -> None:
    roles(house, pipeline, challenger="v2", share=100, previous="v3")
    pipeline.down = {"v2"}
    one = asked(client, 7)
    assert (one["model_version"], one["served_from"], one["instead_of"]) == ("v1", "champion", "v2")
    pipeline.down = {"v1", "v2"}
    other = asked(client, 7)
    assert (other["model_version"], other["served_from"], other["instead_of"]) == ("v3", "previous", "v2")
    lines = written_down(house)
    assert [(line["version"], line["route"], line["instead_of"]) for line in lines] == [
        ("v1", "champion", "v2"), ("v3", "previous", "v2"),
    ]  # fmt: skip
    health = client.get("/health").json()
    assert (health["status"], health["models"]["attrition"]["degraded_seconds"] > 0) == ("degraded", True)
    assert b'forewarn_fallbacks_total{route="previous",use_case="attrition"} 1.0' in client.get("/metrics").content


@pytest.mark.requirement("S1-06")
def test_at_last_the_nightly_score_is_told_as_such_and_only_while_it_is_fresh(
    client: TestClient, house: House, pipeline: Pipeline
) -> None:
    endpoint = roles(house, pipeline)
    pipeline.down = {"v1"}
    known = endpoint.recorder.id_key.pseudonym(CASE.name, "7")
    nightly.keep(house.ledger, CASE, "v1", {known: 0.625}, at=datetime.now(UTC) - timedelta(hours=5))
    answer = asked(client, 7)
    assert (answer["served_from"], answer["probability"], answer["instead_of"]) == ("nightly", 0.625, "v1")
    assert answer["event"] == (pipeline.packages["v1"].rule["threshold"] <= 0.625)
    assert answer["scored_at"].startswith(f"{datetime.now(UTC) - timedelta(hours=5):%Y-%m-%dT%H}")
    nobody = client.post("/v1/attrition/predict", json=ROW)
    assert (nobody.status_code, nobody.headers["retry-after"]) == (503, "1")
    some = client.post("/v1/attrition/batch", json=[{**ROW, "EmployeeNumber": one} for one in (7, 8)]).json()
    assert [one.get("served_from") for one in some["predictions"]] == ["nightly", None]
    assert [one["type"] for one in some["errors"]] == ["NotReady"]
    for setting in ({"hours": 4.0}, {"after_s": 300.0}):
        object.__setattr__(house, "nightly", Nightly(ledger=house.ledger, **setting))
        assert client.post("/v1/attrition/predict", json={**ROW, "EmployeeNumber": 7}).status_code == 503


@pytest.mark.requirement("S1-06")
def test_a_replica_that_begins_while_nothing_answers_tells_nightly_scores_too(
    client: TestClient, house: House, pipeline: Pipeline
) -> None:
    endpoint = roles(house, pipeline)
    known = endpoint.recorder.id_key.pseudonym(CASE.name, "7")
    nightly.keep(house.ledger, CASE, "v1", {known: 0.625}, at=datetime.now(UTC) - timedelta(hours=5))
    endpoint.state, endpoint._cards, pipeline.down = ReleaseState(), {}, {"v1"}
    assert client.post("/v1/attrition/predict", json={**ROW, "EmployeeNumber": 7}).status_code == 503
    client.portal.call(endpoint._look)  # type: ignore[union-attr]
    answer = asked(client, 7)
    assert (answer["served_from"], answer["probability"], answer["instead_of"]) == ("nightly", 0.625, "v1")
    health = client.get("/health").json()["models"]["attrition"]
    assert (health["refused"], health["degraded_seconds"] > 0) == ({"v1": "the replica is gone"}, True)
    assert client.get("/ready").status_code == 503


def test_what_nobody_could_answer_is_a_line_too_that_tells_of_nobody(
    client: TestClient, house: House, pipeline: Pipeline
) -> None:
    """Else a pipeline that fails for all looks like the fault of a first challenger, whose failures alone are known."""
    roles(house, pipeline, challenger="v2", share=50, release=5)
    pipeline.down = {"v1", "v2"}
    rows = [{**ROW, "EmployeeNumber": number} for number in range(40)]
    assert client.post("/v1/attrition/batch", json=rows).status_code == 503
    wish = client.post("/v1/attrition/predict", json=ROW, headers={"X-Forewarn-Version": "v2"})
    assert wish.status_code == 503
    lines = written_down(house)
    missing = Counter(line["instead_of"] for line in lines)
    assert missing.keys() == {"v1", "v2"}
    assert missing.total() == 40, "a tester's wish is no part of the draw"
    told = [{line[name] for line in lines} for name in ("route", "subject", "fields", "sealed", "digest", "score")]
    assert told == [{"none"}, *[{None}] * 5]


def test_one_row_that_could_not_be_explained_is_no_lasting_degradation(
    client: TestClient, house: House, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PROBE_SECONDS", "DOUBT_SECONDS"):
        monkeypatch.setattr(f"deployments.endpoint.{name}", 0.05)
    roles(house, pipeline)
    pipeline.down = {"v1"}
    assert client.post("/v1/attrition/explain", json=ROW).status_code == 503
    assert client.get("/health").json()["models"]["attrition"]["degraded_seconds"] > 0
    pipeline.down = set()
    until(lambda: client.get("/health").json()["status"] == "healthy", seconds=5, what="found well")


def test_nobody_waits_for_a_version_that_does_not_answer_until_it_does_again(
    client: TestClient, house: House, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.endpoint.PROBE_SECONDS", 0.05)
    endpoint = roles(house, pipeline, previous="v2")
    pipeline.down = {"v1"}
    for _ in range(FAILURES):
        assert asked(client, 7)["served_from"] == "previous"
    assert endpoint.breaker(Lane("v1")).is_open
    before = pipeline.asked["v1"]
    assert asked(client, 7)["served_from"] == "previous"
    assert pipeline.asked["v1"] - before <= 3, "only probes ask it now"
    pipeline.down = set()
    until(lambda: asked(client, 7)["served_from"] == "champion", seconds=5, what="a probe has found it well")
    assert client.get("/health").json()["status"] == "healthy"


def test_a_version_that_is_too_slow_counts_as_one_that_does_not_answer(
    client: TestClient, house: House, pipeline: Pipeline
) -> None:
    endpoint = roles(house, pipeline, previous="v2")
    pipeline.hanging, endpoint._patience = {"v1"}, {False: 0.1, True: 0.1}
    assert asked(client, 7)["served_from"] == "previous"


def test_a_challenger_that_hangs_stands_in_nobody_else_s_way(
    client: TestClient, house: House, pipeline: Pipeline
) -> None:
    endpoint = roles(house, pipeline, challenger="v2", share=50, release=5)
    endpoint._patience = {False: 1.0, True: 1.0}
    pipeline.hanging = {"v2"}
    rows = [{**ROW, "EmployeeNumber": number} for number in range(40)]
    told = client.post("/v1/attrition/batch", json=rows).json()["predictions"]
    assert {(one["model_version"], one.get("instead_of")) for one in told} == {("v1", None), ("v1", "v2")}


def shadows_of(house: House, rows: int) -> list[dict[str, Any]]:
    """Once they are counted they are written down; to turn the spool meanwhile would be in the loop's way."""

    def counted() -> float:
        found = re.findall(rb'forewarn_shadow_rows_total{result="(?:scored|failed)".*} (\S+)', house.meter.page())
        return sum(map(float, found))

    until(lambda: counted() >= rows, seconds=5, what="shadows")
    return [one for one in written_down(house) if one["shadow_of"]]


def test_a_shadow_says_something_of_each_row_and_nobody_hears_it(
    client: TestClient, house: House, pipeline: Pipeline
) -> None:
    roles(house, pipeline, shadow="v3")
    answers = [asked(client, number) for number in range(5)]
    assert {one["model_version"] for one in answers} == {"v1"}
    shadows = shadows_of(house, 5)
    assert {one["shadow_of"] for one in shadows} == {one["prediction_id"] for one in answers}
    assert {(one["version"], one["route"], one["fields"]) for one in shadows} == {("v3", "shadow", None)}
    rows = scoring.validate(CASE, [{**ROW, "EmployeeNumber": 0}]).values
    assert shadows[0]["score"] == scoring.score(pipeline.packages["v3"], rows).values[0]
    assert b'forewarn_shadow_rows_total{result="scored",use_case="attrition"} 5.0' in client.get("/metrics").content


def test_what_the_challenger_answers_the_champion_scores_beside_it(
    client: TestClient, house: House, pipeline: Pipeline
) -> None:
    roles(house, pipeline, challenger="v2", share=100)
    answer = asked(client, 7)
    (beside,) = shadows_of(house, 1)
    assert (answer["model_version"], beside["version"], beside["shadow_of"]) == ("v2", "v1", answer["prediction_id"])


def test_a_shadow_that_fails_fails_nobody_and_is_told_in_the_ledger(
    client: TestClient, house: House, pipeline: Pipeline
) -> None:
    roles(house, pipeline, shadow="v3")
    pipeline.down = {"v3"}
    assert asked(client, 7)["served_from"] == "champion"
    (failed,) = shadows_of(house, 1)
    assert (failed["instead_of"], failed["score"]) == ("v3", None)
    assert client.get("/health").json()["status"] == "healthy"


@pytest.mark.requirement("S2-66")
def test_a_release_over_http_step_by_step(
    client: TestClient, house: House, pipeline: Pipeline, settings: Settings
) -> None:
    operator, approver = (key(house, settings, scope) for scope in ("operate", "approve"))
    path = "/v1/attrition/releases"
    start = {"act": "start", "version": "v2", "share": 20, "why": "looked at the card"}
    refused = client.post(path, json=start, headers=operator)
    assert (refused.status_code, "approve" in problem(refused)["error"]) == (403, True)
    assert client.post(path, json=start, headers=key(house, settings, "predict")).status_code == 403
    started = client.post(path, json=start, headers=approver).json()["state"]
    assert (started["challenger"], started["share"]) == ("v2", 20)
    for step in ({"act": "share", "share": 50}, {"act": "pause"}, {"act": "rollback"}):
        taken = client.post(path, json={**step, "why": "an incident"}, headers=operator)
        assert taken.status_code == 200, taken.text
    told = client.get(path, params={"limit": 2}, headers=operator).json()
    assert [line["act"] for line in told["history"]] == ["rollback", "pause"]
    assert (told["state"]["champion"], told["answering"]) == ("v1", {"champion": "v1"})
    assert client.get(path, params={"after": told["history"][1]["number"]}).json()["history"][0]["act"] == "share"
    now = client.get(f"{path}/at/{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.999999Z}").json()
    assert (now["act"], now["actor"]) == ("rollback", "some")
    assert client.get(f"{path}/at/2020-01-01").status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"act": "start", "version": "v2"}, 400, "why"),
        ({"act": "start", "version": "v2", "why": " "}, 400, "why"),
        ({"act": "jump", "why": "because"}, 400, "act"),
        ({"act": "start", "version": "v9", "why": "because"}, 404, "v9"),
        ({"act": "share", "share": 400, "why": "because"}, 400, "share"),
        ({"act": "share", "share": 40, "why": "because"}, 403, "no challenger"),
    ],
)
def test_a_step_that_makes_no_sense_is_told(
    client: TestClient, pipeline: Pipeline, body: dict[str, Any], status: int, says: str
) -> None:
    answer = client.post("/v1/attrition/releases", json=body)
    assert (answer.status_code, says in str(problem(answer))) == (status, True), answer.text


def test_versions_fitted_apart_are_apart(pipeline: Pipeline) -> None:
    rows = scoring.validate(CASE, [ROW]).values
    scores = {float(scoring.score(package, rows).values[0]) for package in pipeline.packages.values()}
    assert len(scores) == 3

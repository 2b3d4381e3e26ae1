"""Much is asked of the service at once: remembered rows, batches beside single rows, clients that leave, a crowd."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from forewarn import scoring, usecases
from forewarn.releases import Releases
from tests.conftest import Service, until

pytestmark = pytest.mark.cluster
ATTRITION = usecases.get("attrition")

Rows = list[dict[str, Any]]


def made_up(n: int, *, seed: int) -> Rows:
    return [{k: v for k, v in row.items() if k != ATTRITION.target} for row in ATTRITION.sample(n, seed=seed)]


def expected(service: Service, rows: Rows) -> list[float]:
    releases = Releases(service.settings.packages)
    version = releases.champion(ATTRITION)
    assert version
    valid = scoring.validate(ATTRITION, rows).values
    return scoring.score(releases.load(ATTRITION, version), valid).values.tolist()


def asked(service: Service, what: Any) -> dict[str, Any]:
    """As a polite client does: whoever is turned away, on a machine that is busy otherwise, asks again."""

    def answered() -> httpx.Response | None:
        answer = service.client.post("/predict", json=what)
        return None if answer.status_code == 503 else answer

    answer = until(answered, seconds=60, what="an answer")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def batch(service: Service, rows: Rows) -> list[float]:
    return [one["probability"] for one in asked(service, rows)["predictions"]]


@pytest.mark.requirement("S2-09")
@pytest.mark.requirement("S2-39")
def test_the_same_row_again_is_answered_from_memory_to_the_same_bits(service: Service) -> None:
    row, other = made_up(2, seed=37)
    first, second = asked(service, row), asked(service, row)
    assert (first["served_from"], second["served_from"]) == ("champion", "cache")
    assert first["probability"] == second["probability"] == batch(service, [other, row])[1]


def test_batches_and_clients_that_leave_stand_in_nobodys_way(service: Service) -> None:
    rows = made_up(1000, seed=17)
    right = expected(service, rows)
    with ThreadPoolExecutor(16) as pool:
        left = [pool.submit(leave, service, rows) for _ in range(8)]
        batches = [pool.submit(batch, service, rows) for _ in range(4)]
        singles = list(pool.map(lambda row: asked(service, row)["probability"], rows[:64]))
        assert [gone.result() for gone in left] == [None] * 8
        assert all(done.result() == right for done in batches)
    assert singles == right[:64]


def leave(service: Service, rows: Rows) -> None:
    """Send a batch, and hang up before its answer."""
    with pytest.raises(httpx.ReadTimeout):
        service.client.post("/predict", json=rows, timeout=httpx.Timeout(10, read=0.005))


@pytest.mark.requirement("C33")
def test_beyond_what_may_wait_clients_are_turned_away_at_once_and_the_others_are_answered(service: Service) -> None:
    """Explained by sampling, a forecast of absenteeism takes 5 ms a row: more come than are done in ten seconds."""
    case = usecases.get("absenteeism")
    rows = [{k: v for k, v in row.items() if k != case.target} for row in case.sample(100, seed=1)]

    def ask(_: int) -> httpx.Response:
        return service.client.post("/v1/absenteeism/explain", json=rows)

    assert ask(0).status_code == 200  # how long it takes is known from now on
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, range(24)))
    answered = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(answered) + len(refused) == len(answers)
    assert answered
    assert all(len(answer.json()["results"]) == 100 for answer in answered)
    assert {(answer.json()["type"], answer.headers["retry-after"]) for answer in refused} == {("Overloaded", "1")}
    slowest_no = max(answer.elapsed for answer in refused)
    assert slowest_no < max(answer.elapsed for answer in answered) / 2

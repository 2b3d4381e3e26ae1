"""Jobs over HTTP: what may be ordered, by whom, and how one tells of them; the cluster is a fake that is passed in."""

import shlex
import stat
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi.testclient import TestClient

from deployments import orders
from deployments.house import House
from deployments.orders import MOST_AT_ONCE, Orders
from forewarn import state, tables, usecases
from forewarn.ledger import audit
from forewarn.settings import Settings
from tests.conftest import until
from tests.deployments.conftest import Crew, problem
from tests.deployments.test_truth import key

CASE = usecases.get("attrition")
PATH = "/v1/attrition/jobs"
CSV = {"Content-Type": "text/csv"}


@pytest.fixture
def crew(house: House) -> Crew:
    found = house.orders._foreman
    assert isinstance(found, Crew)
    return found


@pytest.fixture
def inbox(settings: Settings) -> Path:
    settings.inbox_folder.mkdir(parents=True)
    (settings.inbox_folder / "rows.csv").write_text(rows())
    return settings.inbox_folder


def rows(n: int = 3) -> str:
    return tables.csv_of([{k: v for k, v in row.items() if k != CASE.target} for row in CASE.sample(n, seed=1)])


def ordered(client: TestClient, **asked: Any) -> str:
    told = client.post(PATH, json={"input": "rows.csv", **asked})
    assert told.status_code == 202, told.text
    job: str = told.json()["id"]
    return job


def done(settings: Settings, crew: Crew, job: str, text: str = "row,probability\r\n0,0.5\r\n") -> None:
    """As the job leaves it."""
    folder = settings.orders / job
    (folder / "scores.csv").write_text(text, newline="")
    (folder / "scores.rejects.csv").write_text("row,file,reason\n")
    state.write_json(folder / "report.json", {"rows": 3, "scored": 3, "rejected": 0, "opted_out": 0})
    crew.became(job, "succeeded")


def acts(house: House) -> list[tuple[str, dict[str, Any]]]:
    found = audit.entries(house.ledger)
    return [(line["act"], line["about"]) for line in found[::-1] if line["act"].startswith("job.")]


def test_a_job_is_ordered_followed_fetched_and_removed(
    client: TestClient, house: House, settings: Settings, crew: Crew, inbox: Path
) -> None:
    told = client.post(PATH, json={"input": "rows.csv", "explain": True, "version": "v1"})
    job = told.json()["id"]
    assert (told.status_code, told.headers["location"], told.json()["status"]) == (202, f"{PATH}/{job}", "queued")
    words = shlex.split(crew.taken[job])
    assert words[:6] == ["python", "-m", "jobs.score", "attrition", "--input", str(inbox / "rows.csv")]
    assert words[6:] == ["--output", str(settings.orders / job / "scores.csv"), "--version", "v1",
                         "--report", str(settings.orders / job / "report.json"), "--explain"]  # fmt: skip
    assert crew.environment["env_vars"]["FOREWARN_HOME"] == str(settings.home)
    early = client.get(f"{PATH}/{job}/result")
    assert (early.status_code, problem(early)["type"]) == (409, "NotFinished")
    crew.became(job, "running")
    assert client.get(f"{PATH}/{job}").json()["progress"] == 0
    done(settings, crew, job)
    seen = client.get(f"{PATH}/{job}").json()
    assert (seen["status"], seen["counts"]["scored"], seen["began_at"][:4]) == ("succeeded", 3, "2027")
    result = client.get(f"{PATH}/{job}/result")
    assert (result.headers["content-type"].partition(";")[0], result.text.splitlines()[1]) == ("text/csv", "0,0.5")
    assert client.get(f"{PATH}/{job}/rejects").text == "row,file,reason\n"
    assert [one["id"] for one in client.get(PATH).json()["jobs"]] == [job]
    assert client.delete(f"{PATH}/{job}").status_code == 200
    assert client.get(f"{PATH}/{job}").status_code == 404
    assert not (settings.orders / job).exists()
    assert [act for act, _ in acts(house)] == ["job.order", "job.fetch", "job.fetch", "job.end"]
    assert {about["job"] for _, about in acts(house)} == {job}


@pytest.mark.parametrize("how", ["body", "form"])
def test_rows_can_be_uploaded_and_lie_in_a_folder_for_the_owner_alone(
    client: TestClient, settings: Settings, crew: Crew, how: str
) -> None:
    if how == "body":
        told = client.post(f"{PATH}?format=parquet", content=rows(), headers=CSV)
    else:
        told = client.post(f"{PATH}?format=parquet", files={"file": ("rows.csv", rows(), "text/csv")})
    job = told.json()["id"]
    assert (told.status_code, told.json()["input"]) == (202, "upload")
    folder = settings.orders / job
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "input.csv").stat().st_mode) == 0o600
    assert (folder / "input.csv").read_text() == rows().replace("\r\n", "\n")
    assert {"--consume", str(folder / "scores.parquet")} <= set(shlex.split(crew.taken[job]))
    crew.became(job, "failed", "Job entrypoint command failed\n  1 rows, 3/s\n✗ line 3 is no CSV\n")
    assert client.get(f"{PATH}/{job}").json()["error"] == "line 3 is no CSV"
    assert not (folder / "input.csv").exists()


def test_a_running_job_is_cancelled_and_tells_how_far_it_came(
    client: TestClient, settings: Settings, crew: Crew, inbox: Path
) -> None:
    job = ordered(client)
    crew.became(job, "running")
    parts = settings.orders / job / ".scores.csv.parts"
    parts.mkdir()
    part = {"number": 1, "first": 0, "last": 99, "until": {"rows": 100}, "ends": {}, "sha256": {}}
    (parts / "manifest.jsonl").write_bytes(b"{}\n" + orjson.dumps(part) + b"\ntorn")
    assert client.get(f"{PATH}/{job}").json()["progress"] == 100
    assert client.delete(f"{PATH}/{job}").json()["status"] == "running"
    assert client.get(f"{PATH}/{job}").json()["status"] == "cancelled"
    assert client.get(f"{PATH}/{job}/result").status_code == 409
    crew.away = True
    assert client.get(f"{PATH}/{job}").json()["status"] == "cancelled", "it is written down"


def test_a_job_of_another_use_case_and_a_guessed_one_are_none(client: TestClient, crew: Crew, inbox: Path) -> None:
    job = ordered(client)
    for path in (f"/v1/churn/jobs/{job}", f"{PATH}/{'0' * 32}", f"{PATH}/..%2f..%2fsecrets", f"{PATH}/{job[:-1]}"):
        for told in (client.get(path), client.delete(path), client.get(f"{path}/result")):
            assert told.status_code == 404, path
    assert client.get("/v1/churn/jobs").json() == {"jobs": []}


@pytest.mark.parametrize("scope", ["predict", "read", "approve", "feedback"])
def test_only_operators_may(
    client: TestClient, house: House, settings: Settings, crew: Crew, inbox: Path, scope: str
) -> None:
    job = ordered(client)
    headers = key(house, settings, scope)
    answers = [client.post(PATH, json={"input": "rows.csv"}, headers=headers), client.get(PATH, headers=headers)]
    answers += [client.get(f"{PATH}/{job}{more}", headers=headers) for more in ("", "/result", "/rejects")]
    answers.append(client.delete(f"{PATH}/{job}", headers=headers))
    assert [one.status_code for one in answers] == [403] * 6
    assert client.get(PATH, headers=key(house, settings, "operate")).status_code == 200


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "input"),
        ({"input": "rows.csv", "colour": "red"}, "colour"),
        ({"input": "rows.csv", "version": "v1; rm"}, "version"),
        ({"input": "/etc/passwd"}, "no such file or folder in the inbox"),
        ({"input": "../secrets/api_key"}, "no such file or folder in the inbox"),
        ({"input": "out/passwd"}, "no such file or folder in the inbox"),
        ({"input": "nothing.csv"}, "no such file or folder in the inbox"),
        ({"input": "a\0b"}, "no such file or folder in the inbox"),
        ({"input": "postgresql://me:secret@db/crm#customers"}, "must hold no password"),
        ({"input": "postgresql://reader@crm.evil/db#customers"}, "FOREWARN_INBOX_URIS"),
        ({"input": "s3://others/rows.csv"}, "FOREWARN_INBOX_URIS"),
        ({"input": "s3://exports/../others/rows.csv"}, "FOREWARN_INBOX_URIS"),
        ({"input": "gs://exports/rows.csv"}, "FOREWARN_INBOX_URIS"),
    ],
)
def test_what_may_not_be_read_is_refused_and_nothing_is_told_of_it(
    client: TestClient, house: House, settings: Settings, crew: Crew, inbox: Path, asked: dict[str, str], said: str
) -> None:
    (inbox / "out").symlink_to("/etc")
    listed(house, settings, crew)
    told = client.post(PATH, json=asked)
    assert told.status_code == 400, told.text
    assert said in str(problem(told)["details"])
    assert "secret@" not in told.text
    assert crew.taken == {}
    assert not list(settings.orders.glob("*"))


def listed(house: House, settings: Settings, crew: Crew) -> None:
    """The operator lists what else may be read."""
    known = settings.model_copy(update={"inbox_uris": "s3://exports/, postgresql://reader@crm"})
    object.__setattr__(house, "orders", Orders(known, crew))


@pytest.mark.parametrize("uri", ["s3://exports/rows.csv", "postgresql://reader@crm/db#customers"])
def test_what_the_operator_listed_may_be_read(
    client: TestClient, house: House, settings: Settings, crew: Crew, inbox: Path, uri: str
) -> None:
    listed(house, settings, crew)
    job = ordered(client, input=uri, query="SELECT 1 AS one", nightly=True)
    words = shlex.split(crew.taken[job])
    assert (words[5], words[words.index("--query") + 1], words[-1]) == (uri, "SELECT 1 AS one", "--nightly")


@pytest.mark.parametrize("body", ["", "a,b\n1,2\n", "MonthlyIncome\n", "MonthlyIncome\n1\n", "\0"])
def test_what_is_no_table_of_the_use_case_is_refused_at_once(
    client: TestClient, settings: Settings, crew: Crew, body: str
) -> None:
    told = client.post(PATH, content=body, headers=CSV)
    assert told.status_code == 400, told.text
    assert crew.taken == {}
    assert not list(settings.orders.glob("*"))


def test_an_upload_beyond_the_limit_is_refused(client: TestClient) -> None:
    assert client.post(PATH, content=b"a\n" * 2**20, headers=CSV).status_code == 413


def test_while_the_cluster_is_away_the_answer_is_503_and_nothing_is_kept(
    client: TestClient, settings: Settings, crew: Crew, inbox: Path
) -> None:
    job = ordered(client)
    crew.away = True
    for told in (client.post(PATH, json={"input": "rows.csv"}), client.get(f"{PATH}/{job}"), client.get(PATH)):
        assert (told.status_code, problem(told)["type"]) == (503, "ClusterUnavailable")
        assert told.headers["retry-after"]
    assert [path.name for path in settings.orders.iterdir()] == [job]


def test_what_a_cluster_that_began_anew_does_not_know_is_told_by_what_lies_there(
    client: TestClient, settings: Settings, crew: Crew, inbox: Path
) -> None:
    lost, found = ordered(client), ordered(client)
    done(settings, crew, found)
    crew.seen.clear()
    assert client.get(f"{PATH}/{lost}").json()["error"] == "the cluster that ran it is gone"
    assert client.get(f"{PATH}/{found}").json()["status"] == "succeeded"
    assert client.get(f"{PATH}/{found}/result").status_code == 200


def test_the_newest_are_listed_first_and_so_many(client: TestClient, crew: Crew, inbox: Path) -> None:
    made = [ordered(client) for _ in range(4)]
    told = client.get(PATH, params={"limit": 3}).json()["jobs"]
    assert [one["id"] for one in told] == made[:0:-1]
    assert client.get(PATH, params={"limit": "all"}).status_code == 400


def test_no_more_jobs_are_taken_than_the_machine_bears(client: TestClient, crew: Crew, inbox: Path) -> None:
    first, *_ = [ordered(client) for _ in range(MOST_AT_ONCE)]
    told = client.post(PATH, json={"input": "rows.csv"})
    assert (told.status_code, problem(told)["type"]) == (503, "Overloaded")
    crew.became(first, "failed", "no reason")
    assert client.post(PATH, json={"input": "rows.csv"}).status_code == 202


def test_a_cluster_that_hangs_is_not_waited_for_and_what_it_takes_late_is_stopped(
    client: TestClient, settings: Settings, crew: Crew, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "SUBMIT_SECONDS", 0.05)
    crew.answers.clear()
    told = client.post(PATH, json={"input": "rows.csv"})
    assert (told.status_code, problem(told)["type"]) == (503, "ClusterUnavailable")
    crew.answers.set()
    until(lambda: [one.status for one in crew.seen.values()] == ["cancelled"], seconds=5, what="it is stopped")
    assert not list(settings.orders.iterdir())

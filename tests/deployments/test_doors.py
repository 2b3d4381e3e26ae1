"""What every door does, whatever the use case; what each document asks for is in tests/contract."""

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import Request
from fastapi.testclient import TestClient

from deployments.house import House
from deployments.routes import reading
from forewarn import entities, feature_store, scoring, tables
from forewarn.errors import BadInput, StoreUnavailable, TooLarge
from forewarn.ledger.audit import By
from forewarn.ledger.doors import Doors
from forewarn.package import ModelPackage
from forewarn.releases import ReleaseState
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from tests.deployments.conftest import problem

GOOD = {"MonthlyIncome": 5500, "OverTime": "Yes"}
BAD = {"MonthlyIncome": -1, "OverTime": 1}


@pytest.mark.requirement("S0-14")
@pytest.mark.requirement("C3")
@pytest.mark.parametrize("header", ["X-API-KEY", "X-API-Key", "x-api-key"])
def test_the_key_header_in_any_spelling(client: TestClient, settings: Settings, header: str) -> None:
    key = settings.local_key.read_text()
    del client.headers["X-API-Key"]
    assert client.post("/predict", json=GOOD, headers={header: key}).status_code == 200


@pytest.mark.requirement("C4")
def test_no_key_is_401_and_a_wrong_one_403(client: TestClient) -> None:
    wrong = client.post("/predict", json=GOOD, headers={"X-API-Key": "fw_wrong"})
    assert (wrong.status_code, problem(wrong)["type"]) == (403, "NotAllowed")
    del client.headers["X-API-Key"]
    none = client.post("/predict", json=GOOD)
    assert (none.status_code, problem(none)["type"]) == (401, "NotAuthenticated")


def test_a_key_that_is_revoked_no_longer_opens(client: TestClient, house: House, settings: Settings) -> None:
    assert client.post("/predict", json=GOOD).status_code == 200
    doors = Doors.of(settings)
    doors.revoke(doors.listed()[0]["id"], By(actor="operator"), at=datetime.now(UTC))
    house.board.look()
    assert client.post("/predict", json=GOOD).status_code == 403


@pytest.mark.parametrize(
    ("scope", "opened"),
    [
        ("predict", {"/predict": 200, "/explain": 200, "/model_info": 200}),
        ("read", {"/predict": 403, "/model_info": 200}),
        ("decide", {"/predict": 403, "/explain": 403, "/model_info": 403}),
    ],
)
def test_a_key_opens_the_doors_that_its_scopes_name(
    client: TestClient, house: House, settings: Settings, scope: str, opened: dict[str, int]
) -> None:
    key, _ = Doors.of(settings).create("some", [scope], By(actor="operator"), at=datetime.now(UTC))
    house.board.look()
    client.headers["X-API-Key"] = key
    for path, status in opened.items():
        told = client.get(path) if path == "/model_info" else client.post(path, json=GOOD)
        assert told.status_code == status, path
        assert status == 200 or "this API key may" in problem(told)["error"]


@pytest.mark.requirement("C1")
@pytest.mark.parametrize("path", ["predict", "predict/batch", "batch", "batch_predict"])
@pytest.mark.parametrize(
    "wrap",
    [lambda rows: rows, lambda rows: {"instances": rows}, lambda rows: {"customers": rows}],
    ids=["list", "instances", "customers"],
)
def test_a_list_is_answered_row_by_row_in_its_order(
    client: TestClient, case: UseCase, packages: dict[str, ModelPackage], path: str, wrap: Any
) -> None:
    raw = [{k: v for k, v in row.items() if k != case.target} for row in case.sample(20, seed=4)]
    expected = scoring.score(packages[case.name], scoring.validate(case, raw).values).values
    for prefix in (f"/v1/{case.name}", f"/{case.name}"):
        body = client.post(f"{prefix}/{path}", json=wrap(raw)).json()
        answers = body.get("results", body["predictions"])
        measure = "probability" if "probability" in answers[0] else "prediction"
        assert [answer[measure] for answer in answers] == expected.tolist()
        assert len({answer["prediction_id"] for answer in answers}) == 20
        assert body["errors"] == []


@pytest.mark.requirement("C1")
def test_one_object_is_answered_with_one(client: TestClient, case: UseCase) -> None:
    row = dict(case.examples[0].row)
    for path in (f"/v1/{case.name}/predict", f"/v1/{case.name}/predict/single", f"/{case.name}/predict/single"):
        answer = client.post(path, json=row)
        assert answer.status_code == 200, answer.text
        case.api.response.model_validate(answer.json())
        assert answer.json()["served_by"] == case.name
    many = client.post(f"/v1/{case.name}/predict/batch", json=row)
    assert len(many.json()["errors"]) == 0
    refused = client.post(f"/v1/{case.name}/predict/single", json=[row])
    assert (refused.status_code, problem(refused)["type"]) == (400, "BadInput")


@pytest.mark.requirement("S2-43")
def test_a_bad_row_has_its_error_at_its_index_and_the_others_are_scored(client: TestClient) -> None:
    body = client.post("/predict", json=[GOOD, BAD, GOOD, 3, {"OverTime": 1}]).json()
    assert [entry["index"] for entry in body["errors"]] == [1, 3, 4]
    assert [entry["type"] for entry in body["errors"]] == ["RowRejected", "BadInput", "MissingField"]
    assert [prediction.get("index") for prediction in body["predictions"]] == [None, 1, None, 3, 4]
    assert "probability" in body["predictions"][2]
    assert body["count"] == 5


@pytest.mark.requirement("S1-17")
def test_csv_in_and_csv_out(client: TestClient, case: UseCase) -> None:
    raw = [{k: v for k, v in row.items() if k != case.target} for row in case.sample(5, seed=4)]
    spoiled = [*raw[:2], {next(iter(raw[0])): "x" * 99, next(s.wire for s in case.fields if s.required): "?"}, *raw[2:]]
    path = f"/v1/{case.name}/predict"
    given = client.post(path, content=tables.csv_of(spoiled), headers={"Content-Type": "text/csv; charset=utf-8"})
    wanted = client.post(path, json=spoiled, headers={"Accept": "text/csv"})
    assert wanted.headers["content-type"].startswith("text/csv")
    rows = tables.rows_of_csv(wanted.content)
    assert [row["row"] for row in rows] == ["0", "1", "2", "3", "4", "5"]
    assert [bool(row["error"]) for row in rows] == [False, False, True, False, False, False]
    answers = given.json().get("results", given.json()["predictions"])
    measure = "probability" if "probability" in answers[0] else "prediction"
    assert [float(row[measure]) for row in rows if row[measure]] == [a[measure] for a in answers if measure in a]


@pytest.mark.requirement("S4-13")
def test_a_file_can_be_uploaded(client: TestClient, case: UseCase) -> None:
    raw = [{k: v for k, v in row.items() if k != case.target} for row in case.sample(5, seed=4)]
    upload = {"file": ("rows.csv", tables.csv_of(raw), "text/csv")}
    body = client.post(f"/v1/{case.name}/predict/batch", files=upload).json()
    assert len(body.get("results", body["predictions"])) == 5
    nothing = client.post(f"/v1/{case.name}/predict/batch", files={"other": (None, "text")})
    assert (nothing.status_code, problem(nothing)["type"]) == (400, "BadInput")
    torn = client.post(
        f"/v1/{case.name}/predict/batch", content=b"--x", headers={"Content-Type": "multipart/form-data"}
    )
    assert (torn.status_code, problem(torn)["type"]) == (400, "BadInput")


@pytest.mark.parametrize("explaining", ["predict?explain=true", "explain"])
def test_an_explanation_adds_up_and_comes_with_reasons(client: TestClient, case: UseCase, explaining: str) -> None:
    row = {k: v for k, v in case.sample(1, seed=8)[0].items() if k != case.target}
    body = client.post(f"/v1/{case.name}/{explaining}", json=row).json()
    case.api.response.model_validate(body)
    why = body["explanation"]
    assert why["base_value"] + sum(c["contribution"] for c in why["contributions"]) == pytest.approx(why["score"])
    assert body["reasons"]
    assert body["recommendation"]
    plain = client.post(f"/v1/{case.name}/predict", json=row).json()
    assert "explanation" not in plain
    assert ("recommendation" in plain) == case.recommends


def test_no_more_rows_are_explained_than_the_door_allows(client: TestClient) -> None:
    assert client.post("/explain", json=[GOOD] * 20).status_code == 200
    assert client.post("/explain", json=[GOOD] * 21).status_code == 413
    assert client.post("/predict?explain=perhaps", json=GOOD).status_code == 400


@pytest.mark.requirement("S1-10")
@pytest.mark.requirement("S1-04")
def test_a_subject_s_id_alone_is_enough_where_the_store_knows_it(
    client: TestClient, house: House, case: UseCase
) -> None:
    row = {k: v for k, v in case.sample(1, seed=8)[0].items() if k != case.target}
    key = case.spec[case.key].wire
    known = list(entities.admit(case, [row]).rows.values())
    now = datetime.now(UTC)
    house.store.put(case, known, valid_from=now - timedelta(hours=3), loaded_at=now)
    occasion = {case.spec[name].wire: row[case.spec[name].wire] for name in case.occasion}
    answer = client.post(f"/v1/{case.name}/predict", json={key: row[key], **occasion})
    assert answer.status_code == 200, answer.text
    stored = answer.json()["features_from_store"]
    assert stored["fields"]
    assert not set(stored["fields"]) & {case.spec[name].wire for name in case.occasion | case.protected}
    assert stored["age_hours"] == pytest.approx(3, abs=0.1)
    assert stored["stale"] is False
    unknown = client.post(f"/v1/{case.name}/predict", json={key: "nobody", **occasion})
    assert (unknown.status_code, problem(unknown)["type"]) == (400, "MissingField")
    assert "feature store" in " ".join(unknown.json()["details"])


@pytest.mark.requirement("S4-02")
@pytest.mark.requirement("S3-15")
def test_only_the_configured_origins_may_call_from_a_browser(client: TestClient) -> None:
    for origin, allowed in (("https://hr.example", True), ("https://evil.example", False)):
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-api-key",
        }
        assert (
            client.options("/predict", headers=asked).headers.get("access-control-allow-origin") == origin
        ) == allowed


@pytest.mark.requirement("C5")
@pytest.mark.parametrize(
    ("body", "status", "kind", "said"),
    [
        (b"{", 400, "BadInput", "not JSON"),
        (b"", 400, "BadInput", "not JSON"),
        (b'{"MonthlyIncome": NaN, "OverTime": 1}', 400, "BadInput", "not JSON"),
        (b"\xff\xfe", 400, "BadInput", "not JSON"),
        (b"3", 400, "BadInput", "expected a JSON object"),
        (b"[]", 400, "BadInput", "no rows"),
        (b'{"instances": 3}', 400, "BadInput", "instances must be a list"),
        (b'{"OverTime": 1}', 400, "MissingField", "MonthlyIncome is required"),
        (b'{"MonthlyIncome": "x", "OverTime": 1}', 422, "RowRejected", "MonthlyIncome"),
        (b'{"MonthlyIncome": 1, "OverTime": 1, "JobLevel": 9}', 422, "RowRejected", "JobLevel"),
        (json.dumps([GOOD] * 1001).encode(), 413, "TooLarge", "at most 1000"),
    ],
)
def test_bad_input_is_told_what_where_and_what_to_do(
    client: TestClient, body: bytes, status: int, kind: str, said: str
) -> None:
    answer = client.post("/predict", content=body)
    assert answer.status_code == status
    assert problem(answer)["type"] == kind
    assert said in answer.json()["error"]


def test_a_body_beyond_the_limit_is_refused_before_it_is_read_whole(client: TestClient, house: House) -> None:
    sent: list[int] = []

    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            sent.append(2**16)
            yield b" " * 2**16

    answer = client.post("/predict", content=endless())
    assert (answer.status_code, problem(answer)["type"]) == (413, "TooLarge")


def test_a_thousand_rows_are_not_too_many(client: TestClient) -> None:
    assert client.post("/predict", json=[GOOD] * 1000).json()["count"] == 1000


@pytest.mark.requirement("C6")
@pytest.mark.parametrize("path", ["/nothing", "/v1/weather/predict", "/v1/attrition"])
def test_an_unknown_route_is_json_too(client: TestClient, path: str) -> None:
    answer = client.post(path, json=GOOD)
    assert (answer.status_code, problem(answer)["type"]) == (404, "NotFound")


def test_a_wrong_method_is_json_too(client: TestClient) -> None:
    answer = client.get("/predict")
    assert (answer.status_code, problem(answer)["type"]) == (405, "MethodNotAllowed")


@pytest.mark.requirement("S2-40")
@pytest.mark.requirement("S2-41")
@pytest.mark.requirement("C36")
def test_health_is_200_while_alive_and_ready_only_with_a_model(client: TestClient, house: House) -> None:
    del client.headers["X-API-Key"]
    assert client.get("/").json()["predict"] == [f"/v1/{name}/predict" for name in house.endpoints]
    health = client.get("/health").json()
    assert (health["status"], health["model_loaded"]) == ("healthy", True)
    assert health["uptime_seconds"] >= 0
    assert client.get("/ready").status_code == 200
    next(iter(house.endpoints.values())).adopt(ReleaseState())
    assert (client.get("/health").status_code, client.get("/health").json()["status"]) == (200, "degraded")
    assert client.get("/ready").status_code == 503
    assert client.get("/ready").headers["retry-after"]


def test_without_a_model_the_answer_is_503_with_a_time(client: TestClient, house: House) -> None:
    house.endpoints["attrition"].adopt(ReleaseState())
    answer = client.post("/predict", json=GOOD)
    assert (answer.status_code, problem(answer)["type"]) == (503, "NotReady")
    assert answer.headers["retry-after"]


def test_a_failure_of_ours_shows_nothing_of_our_insides(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scoring, "decide", lambda *_: 1 / 0)
    answer = client.post("/predict", json=GOOD)
    assert answer.status_code == 500
    assert "ZeroDivision" not in answer.text
    assert problem(answer)["request_id"] in caplog.text


def test_a_clients_request_id_is_kept_unless_it_could_forge_a_log_line(client: TestClient) -> None:
    assert client.post("/predict", json=GOOD, headers={"X-Request-ID": "order-7"}).json()["request_id"] == "order-7"
    forged = client.post("/predict", json=GOOD, headers={"X-Request-ID": "a b\tc"}).json()["request_id"]
    assert forged != "a b\tc"


@pytest.mark.requirement("S2-45")
@pytest.mark.requirement("S0-10")
def test_the_api_describes_itself_with_the_documents_examples(client: TestClient, case: UseCase) -> None:
    page = client.get("/docs").text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert loaded
    assert all(client.get(path).status_code == 200 for path in loaded), "the page needs nothing from elsewhere"
    described = client.get("/openapi.json").json()
    post = described["paths"][f"/v1/{case.name}/predict"]["post"]
    content = post["requestBody"]["content"]["application/json"]
    assert [example["value"] for example in content["examples"].values()] == [dict(e.row) for e in case.examples]
    assert set(post["responses"]) >= {"200", "400", "401", "403", "413", "422", "503"}
    row = content["schema"]["anyOf"][0]
    assert set(row["properties"]) == {spec.wire for spec in case.fields}
    assert post["security"] == [{"ApiKey": []}]
    assert described["components"]["securitySchemes"]["ApiKey"]["name"] == "X-API-Key"


def test_without_the_feature_store_whole_rows_are_answered_and_others_told_to_wait(
    client: TestClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailable("the feature store did not answer")

    monkeypatch.setattr(feature_store, "fill", away)
    assert client.post("/predict", json={**GOOD, "EmployeeNumber": "E1"}).status_code == 200
    waiting = client.post("/predict", json={"EmployeeNumber": "E1"})
    assert (waiting.status_code, problem(waiting)["type"]) == (503, "StoreUnavailable")


def test_a_batch_of_the_other_profile_names_the_model_that_answered(
    client: TestClient, house: House, packages: dict[str, ModelPackage]
) -> None:
    main = house.endpoints["absenteeism"]
    main.adopt(ReleaseState())
    ahead = dict(packages["absenteeism_forecast"].case.examples[0].row)
    body = client.post("/v1/absenteeism/predict/batch", json=[ahead, {**ahead, "Reason for absence": 23}]).json()
    assert body["results"][0]["served_by"] == "absenteeism_forecast"
    assert body["results"][1]["type"] in ("NotReady", "MissingField")
    mae = packages["absenteeism_forecast"].card["metrics"]["mae"]["mean"]
    assert body["confidence"] == f"MAE ± {mae:.2f}"
    nothing = client.post("/v1/absenteeism/predict/batch", json=[{"Reason for absence": 23}])
    assert (nothing.status_code, problem(nothing)["type"]) == (503, "NotReady")


def test_blank_text_is_no_value(client: TestClient) -> None:
    telco = {"tenure": 0, "MonthlyCharges": 52.55, "TotalCharges": " ", "Contract": "Two year"}
    body = client.post("/v1/churn/predict", json=telco).json()
    assert "total_charges" in body["features_imputed"]


def test_one_bad_object_is_refused_whatever_it_accepts(client: TestClient) -> None:
    assert client.post("/predict", json=BAD, headers={"Accept": "text/csv"}).status_code == 422
    assert client.post("/predict", json=GOOD, headers={"Accept": "text/csv"}).status_code == 200
    both = client.post("/predict", json=GOOD, headers={"Accept": "application/json, text/csv;q=0.1"})
    assert both.headers["content-type"] == "application/json"


def test_a_table_that_is_too_long_or_too_wide_is_refused_at_once(client: TestClient) -> None:
    csv = {"Content-Type": "text/csv"}
    long = client.post("/predict", content=b"a\n" + b"1\n" * 500_000, headers=csv)
    assert (long.status_code, problem(long)["type"]) == (413, "TooLarge")
    wide = client.post("/predict", content=",".join(map(str, range(6000))).encode() + b"\n1\n", headers=csv)
    assert (wide.status_code, problem(wide)["type"]) == (400, "BadInput")


def test_an_error_is_counted_once(client: TestClient) -> None:
    client.post("/predict", json=BAD)
    client.post("/predict", json=[BAD, GOOD])
    page = client.get("/metrics").text
    counted = [line for line in page.splitlines() if line.startswith("forewarn_errors_total{")]
    assert sum(float(line.rsplit(" ", 1)[1]) for line in counted) == 2


@pytest.mark.requirement("S2-75")
def test_every_answer_tells_browsers_to_do_nothing_with_it(client: TestClient) -> None:
    answers = [client.post("/predict", json=GOOD), client.post("/predict", json=BAD), client.get("/health")]
    answers += [client.get("/nowhere"), client.get("/docs"), client.get("/openapi.json")]
    for answer in answers:
        headers = answer.headers
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY"), answer.url
        assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "no-referrer")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert answers[0].headers["content-security-policy"].startswith("default-src 'none'")
    assert "http:" not in answers[4].headers["content-security-policy"]


def test_what_is_nested_too_deeply_is_no_row(client: TestClient) -> None:
    answer = client.post("/predict", content=b'{"a":' * 5000 + b"1" + b"}" * 5000)
    assert (answer.status_code, "recursion" in problem(answer)["error"]) == (400, True)


def test_a_body_that_comes_in_drops_is_waited_for_so_long_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BODY_SECONDS", 0.05)

    async def read(pieces: list[bytes], *, ends: bool) -> bytes:
        left = iter(pieces)

        async def receive() -> Any:
            piece = next(left, None)
            if piece is None:
                await asyncio.Event().wait()
            return {"type": "http.request", "body": piece, "more_body": not (ends and piece == pieces[-1])}

        return await reading.body_of(Request({"type": "http", "headers": []}, receive), 100)

    assert asyncio.run(read([b"ab", b"cd", b"e"], ends=True)) == b"abcde"
    with pytest.raises(BadInput, match="did not come within"):
        asyncio.run(read([b"ab", b"cd"], ends=False))
    with pytest.raises(TooLarge):
        asyncio.run(read([b"a" * 60, b"b" * 60], ends=False))

"""Every answer of the running service is accounted for, and of whom it was about nothing lies anywhere."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest
import sqlalchemy as sa

from forewarn import usecases
from forewarn.ledger import schema
from forewarn.ledger.audit import By
from forewarn.ledger.doors import Doors
from forewarn.ledger.store import Ledger
from forewarn.usecase import UseCase
from jobs import cluster
from tests.conftest import Service, until

pytestmark = pytest.mark.cluster

ID = "planted-subject-5f1c9"
LARGEST = 2**27


def recorded(service: Service, ids: set[str]) -> dict[str, sa.RowMapping]:
    ledger = Ledger.open(service.settings)
    with ledger.begin() as connection:
        chosen = sa.select(schema.PREDICTIONS).where(schema.PREDICTIONS.c.id.in_(ids))
        found = {row["id"]: row for row in connection.execute(chosen).mappings()}
    ledger.close()
    return found


def planted(case: UseCase) -> dict[str, object]:
    """A row with an id, and values of protected and sensitive fields, that stand nowhere else."""
    row = {name: value for name, value in case.sample(1, seed=3)[0].items() if name != case.target}
    hidden = [
        spec for spec in case.fields if spec.name in case.untold and spec.kind == "text" and spec.name != case.key
    ]
    return row | {spec.wire: f"planted-{spec.wire}"[:30] for spec in hidden} | {case.spec[case.key].wire: ID}


def test_each_answer_is_in_the_ledger_with_how_it_came_about(service: Service) -> None:
    row = planted(usecases.get("attrition"))
    single = service.client.post("/predict", json=row).json()
    again = service.client.post("/predict", json=row).json()
    batch = service.client.post("/predict", json=[row, {"bad": 1}, row]).json()["predictions"]
    answers = [single, again, batch[0], batch[2]]
    ids = {answer["prediction_id"] for answer in answers}
    lines = until(
        lambda: len(found := recorded(service, ids)) == 4 and found, seconds=20, what="they are in the ledger"
    )
    for answer in answers:
        line = lines[answer["prediction_id"]]
        assert (line["score"], line["event"], line["level"]) == (
            answer["probability"],
            answer["event"],
            answer["risk_level"],
        )
        assert (line["version"], line["route"]) == (answer["model_version"], answer["served_from"])
        assert line["latency_ms"] > 0
    assert len({line["subject"] for line in lines.values()}) == 1
    assert len({line["digest"] for line in lines.values()}) == 1


@pytest.mark.requirement("S0-27")
@pytest.mark.requirement("S2-69")
@pytest.mark.requirement("C32")
def test_neither_id_nor_sensitive_value_lies_in_any_file_log_or_metric(service: Service) -> None:
    for case in usecases.every().values():
        path = f"/v1/{case.name}"
        for door in ("predict", "explain"):
            service.client.post(f"{path}/{door}", json=planted(case)).raise_for_status()
        bad = {**planted(case), case.inputs[0].wire: "no value of that kind"}
        assert service.client.post(f"{path}/predict", json=bad).status_code in (400, 422)
    until(lambda: waiting(service) == 0, seconds=20, what="all is shipped")
    pages = [service.client.get("/metrics").content, httpx.get(f"{service.dashboard}/api/serve/applications/").content]
    found = [path for path in files(service) if b"planted" in path.read_bytes()]
    assert found == []
    assert not [page for page in pages if b"planted" in page]


def waiting(service: Service) -> int:
    health: int = service.client.get("/health").json()["ledger"]["waiting_bytes"]
    return health


def files(service: Service) -> Iterator[Path]:
    """The home, and Ray's own folder with every log."""
    for folder in (service.settings.home, cluster.scratch(service.settings)):
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_size < LARGEST:
                yield path


@pytest.mark.requirement("S1-33")
def test_a_key_counts_and_no_longer_counts_within_five_seconds(service: Service) -> None:
    row, by, doors = planted(usecases.get("attrition")), By(actor="operator"), Doors.of(service.settings)
    key, key_id = doors.create("for a while", ["predict"], by, at=datetime.now(UTC))

    def status() -> int:
        return service.client.post("/predict", json=row, headers={"X-API-Key": key}).status_code

    until(lambda: status() == 200, seconds=5, what="it opens")
    doors.revoke(key_id, by, at=datetime.now(UTC))
    until(lambda: status() == 403, seconds=5, what="it opens nothing any more")

    def last_used() -> str | None:
        return next(one["last_used_at"] for one in doors.listed() if one["id"] == key_id)

    until(last_used, seconds=20, what="it is known when it was last used")


def test_a_shipper_that_dies_is_replaced(service: Service) -> None:
    def shippers() -> list[psutil.Process]:
        return [one for one in psutil.Process(os.getpid()).children(recursive=True) if ships(one)]

    first = until(shippers, seconds=20, what="there is a shipper")[0]
    first.kill()
    until(lambda: [one for one in shippers() if one.pid != first.pid], seconds=20, what="there is another")
    answer = service.client.post("/predict", json=planted(usecases.get("attrition"))).json()
    until(lambda: recorded(service, {answer["prediction_id"]}), seconds=20, what="it ships")


def ships(process: psutil.Process) -> bool:
    try:
        return "forewarn.ledger.shipper" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False

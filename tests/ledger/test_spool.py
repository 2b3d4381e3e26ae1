"""From the service's disk into the ledger."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import sqlalchemy as sa

from forewarn import scoring, usecases
from forewarn.databases import written
from forewarn.errors import LedgerUnavailable, NotRecorded
from forewarn.ledger import schema, shipper, spool
from forewarn.ledger.records import Circumstances, Line, Recorder
from forewarn.ledger.shipper import Shipper
from forewarn.ledger.spool import Spool
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings
from forewarn.usecase import UseCase
from tests.conftest import until
from tests.ledger.conftest import NOW

pytest_plugins = ["tests.servers"]

ABOUT = Circumstances(key_id="k1", at=written(NOW))
ANSWER = {"model_version": "v1", "served_from": "champion", "probability": 0.5, "event": True, "risk_level": "high"}


def line(case: UseCase, settings: Settings, number: int, seed: int = 1) -> Line:
    row = scoring.validate(case, case.sample(1, seed=seed)).values[0]
    answer = {**ANSWER, "prediction": 1.5, "prediction_id": f"{number:032}"}
    if case.task.metric != "roc_auc":
        answer = {name: answer[name] for name in ("model_version", "served_from", "prediction", "prediction_id")}
    return Recorder.of(case, settings).line(row, answer, ABOUT, latency_ms=3.5)


@pytest.fixture
def attrition() -> UseCase:
    return usecases.get("attrition")


@pytest.fixture
def spools(settings: Settings) -> Path:
    settings.spools.mkdir(parents=True)
    return settings.spools


@pytest.fixture
def lines(attrition: UseCase, settings: Settings) -> list[Line]:
    return [line(attrition, settings, number) for number in range(3)]


@pytest.fixture
def own(spools: Path) -> Iterator[Spool]:
    made = Spool(spools, most_bytes=2**20)
    yield made
    made.close()


def in_ledger(ledger: Ledger) -> list[dict[str, object]]:
    with ledger.begin() as connection:
        chosen = sa.select(schema.PREDICTIONS).order_by(schema.PREDICTIONS.c.id)
        return [dict(row) for row in connection.execute(chosen).mappings()]


def test_what_was_spooled_is_in_the_ledger_once(ledger: Ledger, own: Spool, spools: Path, lines: list[Line]) -> None:
    own.append(lines)
    ships = Shipper(ledger, spools)
    assert ships.ship() == 0, "a segment that is written to is left alone"
    own.turn()
    assert ships.ship() == 3
    assert ships.ship() == 0
    own.append(
        [{**one, "latency_ms": 9.0} for one in lines]
    )  # as after a crash between the commit and the segment's end
    own.turn()
    assert ships.ship() == 3
    found = in_ledger(ledger)
    assert [row["id"] for row in found] == [one["id"] for one in lines]
    assert {row["latency_ms"] for row in found} == {3.5}
    assert found[0]["subject"] == lines[0]["subject"]
    assert orjson.loads(str(found[0]["fields"])) == lines[0]["fields"]


def test_a_dead_process_s_lines_are_adopted_half_a_line_is_set_apart(
    ledger: Ledger, spools: Path, lines: list[Line]
) -> None:
    code = (
        "import sys, os, signal, orjson; from pathlib import Path; from forewarn.ledger.spool import Spool\n"
        f"spool = Spool(Path({str(spools)!r}), most_bytes=2**20)\n"
        "spool.append(orjson.loads(sys.stdin.read()))\n"
        'os.write(spool._file, b\'{"id": "half\')\n'
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], input=orjson.dumps(lines), check=False)
    assert killed.returncode == -signal.SIGKILL
    ships = Shipper(ledger, spools)
    assert ships.ship() == 3
    assert len(in_ledger(ledger)) == 3
    assert ships.done, "its folder is gone"
    assert (spools / shipper.DAMAGED).read_bytes() == b'{"id": "half\n'


def test_while_the_ledger_is_away_lines_wait_up_to_the_limit(spools: Path, lines: list[Line]) -> None:
    size = len(orjson.dumps(lines[0])) + 1
    full = Spool(spools, most_bytes=2 * size)
    away = Shipper(Ledger("postgresql://me@127.0.0.1:1/none"), spools)
    for _ in range(2):
        full.append(lines[:1])
        full.turn()
        with pytest.raises(LedgerUnavailable):
            away.ship()
    with pytest.raises(NotRecorded, match="wait for the ledger"):
        full.append(lines[:1])
    assert len(spool.segments(full._folder)) == 2
    full.close()


def test_room_is_made_when_the_ledger_is_back(ledger: Ledger, spools: Path, lines: list[Line]) -> None:
    size = len(orjson.dumps(lines[0])) + 1
    full = Spool(spools, most_bytes=size)
    full.append(lines[:1])
    full.turn()
    assert Shipper(ledger, spools).ship() == 1
    full.turn()
    full.append(lines[1:2])
    full.close()


def test_a_line_that_the_database_refuses_does_not_stop_the_others(
    ledger: Ledger, own: Spool, spools: Path, lines: list[Line]
) -> None:
    own.append([lines[0], {**lines[1], "version": None}, lines[2]])
    own.turn()
    assert Shipper(ledger, spools).ship() == 2
    assert [row["id"] for row in in_ledger(ledger)] == [lines[0]["id"], lines[2]["id"]]
    assert lines[1]["id"].encode() in (spools / shipper.DAMAGED).read_bytes()


def test_what_comes_late_of_an_erased_person_keeps_nothing_personal(
    ledger: Ledger, own: Spool, spools: Path, lines: list[Line]
) -> None:
    tomb = {"id": "e", "use_case": "attrition", "subject": lines[0]["subject"], "at": written(NOW), "receipt": "{}"}
    with ledger.begin() as connection:
        connection.execute(sa.insert(schema.ERASURES), tomb)
    own.append([lines[0], {**lines[1], "at": "2026-11-28"}])
    own.turn()
    Shipper(ledger, spools).ship()
    late, anew = in_ledger(ledger)
    assert late["erased_at"] == written(NOW)
    assert {late[name] for name in shipper.PERSONAL} == {None}
    assert anew["subject"] == lines[1]["subject"]


def test_a_full_disk_takes_back_what_it_took_of_a_line(
    spools: Path, lines: list[Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Spool(spools, most_bytes=2**20)
    own.append(lines[:1])
    write = os.write
    monkeypatch.setattr(spool.os, "write", lambda file, told: write(file, told[:5]))
    with pytest.raises(NotRecorded, match="cannot be written down"):
        own.append(lines[1:2])
    monkeypatch.undo()
    own.append(lines[2:])
    told = (own._folder / spool.CURRENT).read_bytes().splitlines()
    assert [orjson.loads(one)["id"] for one in told] == [lines[0]["id"], lines[2]["id"]]
    own.close()


def test_one_process_ships_for_a_node_and_ends_when_nothing_is_left(
    ledger: Ledger, settings: Settings, spools: Path, lines: list[Line]
) -> None:
    own = Spool(spools, most_bytes=2**20)
    environment = {**os.environ, "FOREWARN_HOME": str(settings.home), "FOREWARN_LEDGER_URI": settings.ledger_uri}
    command = [sys.executable, "-m", "forewarn.ledger.shipper"]
    with subprocess.Popen(command, env=environment) as first:
        own.append(lines)
        own.turn()
        until(lambda: len(in_ledger(ledger)) == 3, seconds=20, what="the lines are shipped")
        assert subprocess.run(command, env=environment, timeout=20, check=True).returncode == 0, "the second ends"
        assert first.poll() is None
        own.append(lines[:1])
        own.close()
        assert first.wait(timeout=20) == 0


def test_what_is_left_at_the_end_is_shipped_once(
    ledger: Ledger, settings: Settings, spools: Path, lines: list[Line]
) -> None:
    own = Spool(spools, most_bytes=2**20)
    own.append(lines)
    own.close()
    shipper.drain(settings)
    assert len(in_ledger(ledger)) == 3
    shipper.drain(settings.model_copy(update={"ledger_uri": "postgresql://me@127.0.0.1:1/none"}))


@pytest.mark.requirement("S0-19")
@pytest.mark.requirement("S2-69")
@pytest.mark.requirement("C32")
def test_a_line_tells_neither_who_nor_what_is_sensitive(case: UseCase, settings: Settings) -> None:
    row = scoring.validate(case, case.sample(1, seed=1)).values[0]
    secret = {name: f"planted-{name}" for name in case.untold if name}
    told = orjson.dumps(
        Recorder.of(case, settings).line({**row, **secret}, {**ANSWER, "prediction_id": "p"}, ABOUT, latency_ms=1.0)
    )
    assert b"planted" not in told


def test_what_the_model_saw_can_be_read_again_with_the_secret(attrition: UseCase, settings: Settings) -> None:
    recorder, row = Recorder.of(attrition, settings), scoring.validate(attrition, attrition.sample(1, seed=1)).values[0]
    told = recorder.line(row, {**ANSWER, "prediction_id": "p"}, ABOUT, latency_ms=1.0)
    seen = recorder.seen(orjson.dumps(told["fields"]).decode(), told["sealed"])
    known = {attrition.spec[name].wire: value for name, value in row.items() if value is not None}
    assert seen == {wire: value for wire, value in known.items() if wire != attrition.spec[attrition.key].wire}

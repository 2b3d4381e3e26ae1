"""A benchmark compares like with like: both sides must give the same before their times mean anything."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from benchmarks import clients, drift, sequential
from benchmarks.load import load
from benchmarks.preprocessing import with_pandas
from benchmarks.report import Bar
from forewarn import scoring
from forewarn.features import Features
from forewarn.settings import PROJECT
from forewarn.usecase import UseCase
from jobs import cluster, machine


def test_the_way_with_pandas_gives_the_same_matrix(case: UseCase) -> None:
    rows = scoring.validate(case, case.sample(200, seed=1)).values
    features = Features.fit(case, rows)
    np.testing.assert_array_equal(with_pandas(case, features)(rows), features.matrix(rows))


class Even(BaseHTTPRequestHandler):
    """Answers even numbers, and is too busy for odd ones."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        sent = int(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(503 if sent % 2 else 200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Not to the terminal."""


@contextmanager
def even() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Even) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_clients_tell_answers_from_refusals() -> None:
    with even() as url:
        found = clients.ask_by_status(url, clients.requests(url, [b"0", b"1"], {}), connections=3, seconds=0.5)
    answered, refused = found[200], found[503]
    assert answered.rate > 20
    assert refused.rate == pytest.approx(answered.rate, abs=12)
    assert answered.failed.keys() == {"503"}
    assert 0 < answered.p50 <= answered.p95 <= answered.p99


def test_clients_ask_until_enough_is_answered() -> None:
    with even() as url:
        assert clients.ask_for(url, clients.requests(url, [b"0"], {}), connections=2, count=20) == 20


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed; benchmarks then ask with Python's clients")
@pytest.mark.slow
def test_wrk_tells_answers_from_refusals() -> None:
    with even() as url:
        found = load(url, [b"0", b"1"], {}, connections=3, seconds=1)
    assert found.rate > 20
    assert found.failed["status"] == pytest.approx(found.rate, abs=12)
    assert 0 < found.p50 <= found.p95 <= found.p99


def test_the_figures_stand_beside_what_is_asked_of_them() -> None:
    assert Bar(says="", value=1.0, unit="×", least=1.0).met
    assert not Bar(says="", value=0.99, unit="×", least=1.0).met
    assert not Bar(says="", value=151, unit="ms", most=150).met


@pytest.mark.slow
def test_the_judge_s_simulation_finds_a_large_drop_and_no_difference() -> None:
    assert sequential.canary(1, 3000, 0.0, labels=True) == ""
    assert "recall lost" in sequential.canary(1, 3000, 0.2, labels=True)


@pytest.mark.slow
@pytest.mark.requirement("S2-52")
def test_drift_s_simulation_finds_a_shift_and_tells_the_printed_formula_from_ours() -> None:
    found = [drift.one_run(500, seed, shifted=True)[drift.Ways[1]] for seed in range(6)]
    cried = [drift.one_run(100, seed, shifted=False)[drift.Ways[1]] for seed in range(6)]
    printed = [drift.formula_run(100, seed, shifted=False)[drift.Ways[2]] for seed in range(6)]
    assert (sum(found), sum(cried)) == (6, 0)
    assert sum(printed) >= 5, "it cries where nothing has moved"


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_year_by_year_the_alarm_comes_with_the_change_and_not_before(public_data: Path) -> None:
    """Learned from 2006 to 2010: nothing in 2009 and 2010, an alarm before 2014, when layoffs begin."""
    command = [sys.executable, "-m", "benchmarks.termination", str(public_data / "mfg_termination.csv"),
               "--trials", "8", "--seconds", "15"]  # fmt: skip
    foreign = (*cluster.PORTS, *cluster.FILES, machine.MARK, "RAY_ADDRESS")
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    ran = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 0, ran.stderr[-2000:]
    years = {one["year"]: one for one in json.loads(ran.stdout.splitlines()[-1])}
    assert not [year for year in (2007, 2008, 2009, 2010) if years[year]["alarm"]]
    assert [year for year in (2011, 2012, 2013) if years[year]["alarm"]]
    assert all(isinstance(one["error"], float) for one in years.values()), "estimate less truth is told of each"

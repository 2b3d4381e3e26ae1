"""A benchmark compares like with like: both sides must give the same before their times mean anything."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from benchmarks import clients, sequential
from benchmarks.load import load
from benchmarks.preprocessing import with_pandas
from benchmarks.report import Bar
from forewarn import scoring
from forewarn.features import Features
from forewarn.usecase import UseCase


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


def test_the_judge_s_simulation_finds_a_large_drop_and_no_difference() -> None:
    assert sequential.canary(1, 3000, 0.0, labels=True) == ""
    assert "recall lost" in sequential.canary(1, 3000, 0.2, labels=True)

"""A benchmark compares like with like: both sides must give the same before their times mean anything."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from benchmarks.load import load, requests
from benchmarks.preprocessing import with_pandas
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


def test_a_load_tells_answers_from_refusals() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Even) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        found = load(url, requests(url, [b"0", b"1"], {}), connections=3, seconds=0.5)
        server.shutdown()
    assert found.answered > 10
    assert found.failed.keys() == {503}
    assert found.failed[503] == pytest.approx(found.answered, abs=6)
    assert found.rate == pytest.approx(found.answered / 0.4)
    assert 0 < found.p50 <= found.p95 <= found.p99

"""What a burst of single rows does not show: large batches, both at once, and more than can be answered."""

import threading
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import orjson

from benchmarks import clients
from benchmarks.bursts import burst
from benchmarks.load import Load, load
from benchmarks.rows import rows_of
from benchmarks.servers import Server
from forewarn.usecase import UseCase

BATCH_ROWS = 1000
MANY_ROWS = 64_000
BATCH_CLIENTS = 4
SINGLE_CLIENTS = 16
SECONDS = 6.0
OVERLOAD = 3
CROWD_SECONDS = 15.0
RETRY_AFTER_SECONDS = 1.0
# Groups of one row, one at a time, so that the pipeline is slower than the door.
SLOWLY: dict[str, Any] = {
    "composition": "chained",
    "door": {"max_group": 1, "groups_in_flight": 1, "cache_seconds": 0},
    "preprocessor": {"target_ongoing_requests": 1, "num_cpus": 0.03},
    "model": {"target_ongoing_requests": 1, "num_cpus": 0.06},
}


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Requests of a thousand rows.

    Attributes:
        alone: one after another.
        single: single rows, one after another.
        many: rows a second where four clients send 64,000 rows.
    """

    alone: Load
    single: Load
    many: float


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """Single rows by themselves, and beside four clients that send batches of a thousand."""

    by_themselves: Load
    beside: Load
    batches: Load


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """More than can be answered.

    Attributes:
        asked: requests a second, answered or turned away.
        capacity: answers a second to sixteen clients.
    """

    asked: float
    capacity: float
    accepted: Load
    refused: Load


def batches(server: Server, case: UseCase) -> Batches:
    """A thousand rows in one request; and 64,000 of them."""
    body = orjson.dumps(rows_of(case, BATCH_ROWS))
    alone = burst(server, 1, seconds=SECONDS, bodies=[body]).load
    single = burst(server, 1, seconds=SECONDS).load
    requests = clients.requests(server.url, [body], {"Content-Type": "application/json", **server.headers})
    began = perf_counter()
    answered = clients.ask_for(server.url, requests, connections=BATCH_CLIENTS, count=MANY_ROWS // BATCH_ROWS)
    return Batches(alone=alone, single=single, many=answered * BATCH_ROWS / (perf_counter() - began))


def mixed(server: Server, case: UseCase) -> Mixed:
    """Single rows, with and without batches beside them."""
    by_themselves = burst(server, SINGLE_CLIENTS, seconds=SECONDS).load
    body = orjson.dumps(rows_of(case, BATCH_ROWS))
    found: list[Load] = []

    def send() -> None:
        found.append(load(server.url, [body], server.headers, connections=BATCH_CLIENTS, seconds=SECONDS + 2))

    sending = threading.Thread(target=send)
    sending.start()
    beside = burst(server, SINGLE_CLIENTS, seconds=SECONDS).load
    sending.join()
    return Mixed(by_themselves=by_themselves, beside=beside, batches=found[0])


def crowd(server: Server) -> Crowd:
    """Three times as many clients as are answered in a second; whoever is turned away comes back after that second."""
    capacity = burst(server, SINGLE_CLIENTS, seconds=SECONDS).load.rate
    headers = {"Content-Type": "application/json", **server.headers}
    requests = clients.requests(server.url, server.bodies, headers)
    found = clients.ask_by_status(
        server.url, requests, connections=int(OVERLOAD * capacity), seconds=CROWD_SECONDS, polite_s=RETRY_AFTER_SECONDS
    )
    accepted, refused = found[200], found[503]
    return Crowd(asked=accepted.rate + refused.rate, capacity=capacity, accepted=accepted, refused=refused)

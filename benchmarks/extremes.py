"""What a burst of single rows does not show: large batches, both at once, and more than can be answered."""

import threading
from dataclasses import dataclass, replace
from time import perf_counter

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
# Three times what may wait at the door and be on its way, each asking again at once.
CROWD = 3600


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
        accepted, refused: of sixteen clients in the crowd, told apart by status.
        capacity: answers a second without the crowd.
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


def crowd(every: Server) -> Crowd:
    """A crowd of clients, and sixteen among them that are watched. All want to be told why, so that the model has more
    to do than the door.
    """
    server = replace(every, url=f"{every.url}?explain=true")
    capacity = burst(server, 256, seconds=SECONDS).load.rate
    found: list[Load] = []

    def press() -> None:
        found.append(load(server.url, server.bodies, server.headers, connections=CROWD, seconds=SECONDS + 4))

    pressing = threading.Thread(target=press)
    pressing.start()
    headers = {"Content-Type": "application/json", **server.headers}
    requests = clients.requests(server.url, server.bodies, headers)
    clients.ask(server.url, requests, connections=SINGLE_CLIENTS, seconds=2)
    watched = clients.ask_by_status(server.url, requests, connections=SINGLE_CLIENTS, seconds=SECONDS)
    pressing.join()
    refused = found[0].failed.get("status", 0) / (SECONDS + 4)
    return Crowd(asked=found[0].rate + refused, capacity=capacity, accepted=watched[200], refused=watched[503])

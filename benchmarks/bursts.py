"""Bursts of load on two servers in turn: what each came to, side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import psutil

from benchmarks.load import Load, load
from benchmarks.servers import Server

ROUNDS = 5
SECONDS = 3.0
# Not counted: connections open and caches fill.
WARM_UP_SECONDS = 1.0
CONNECTIONS = (1, 16, 64, 256)


@dataclass(frozen=True, kw_only=True)
class Burst:
    """One burst of requests.

    Attributes:
        cpu: seconds of all the server's processes per 1,000 answers.
    """

    load: Load
    cpu: float


Pairs = dict[int, list[tuple[Burst, Burst]]]


@dataclass(frozen=True, kw_only=True)
class Found:
    """A rival beside the plain process.

    Attributes:
        pairs: connections -> a burst of each a round, the plain process first.
        memory: of all the rival's processes, in bytes, each shared page counted once (PSS); then the plain one's.
    """

    name: str
    pairs: Pairs
    memory: tuple[float, float]

    def of(self, connections: int, figure: str, *, plain: bool = False) -> float:
        """The median of a figure of the load, or of `cpu`, over the rounds."""
        bursts = [pair[0 if plain else 1] for pair in self.pairs[connections]]
        return median(one.cpu if figure == "cpu" else getattr(one.load, figure) for one in bursts)

    def ratio(self, connections: int) -> float:
        """Of the throughputs, pair by pair: the median."""
        return median(mine.load.rate / other.load.rate for other, mine in self.pairs[connections])

    def failed(self, connections: int) -> int:
        """Requests of all rounds that had no answer."""
        return sum(sum(mine.load.failed.values()) for _, mine in self.pairs[connections])


def burst(
    server: Server, connections: int, *, seconds: float = SECONDS, bodies: Sequence[bytes] = (), pause_ms: int = 0
) -> Burst:
    """Ask for a while, and see what it took."""
    asked = bodies or server.bodies
    load(server.url, asked, server.headers, connections=connections, seconds=WARM_UP_SECONDS)
    processes = server.processes()
    before = seconds_of(processes)
    found = load(server.url, asked, server.headers, connections=connections, seconds=seconds, pause_ms=pause_ms)
    answers = max(found.rate * seconds, 1.0)
    return Burst(load=found, cpu=(seconds_of(processes) - before) / answers * 1000)


def alternated(name: str, plain: Server, rival: Server, tell: Callable[[str], Any]) -> Found:
    """Both in turn, at each number of connections."""
    pairs: Pairs = {connections: [] for connections in CONNECTIONS}
    for number in range(ROUNDS):
        tell(f"{name}: round {number + 1} of {ROUNDS}")
        for connections, found in pairs.items():
            found.append((burst(plain, connections), burst(rival, connections)))
    return Found(name=name, pairs=pairs, memory=(memory(rival), memory(plain)))


def memory(server: Server) -> float:
    """Bytes of all its processes, a page that several share counted once."""
    return sum(_part(process, lambda one: one.memory_full_info().pss) for process in server.processes())


def seconds_of(processes: Sequence[psutil.Process]) -> float:
    """Of CPU, by those that are still there."""
    return sum(_part(process, lambda one: sum(one.cpu_times()[:2])) for process in processes)


def _part(process: psutil.Process, figure: Callable[[psutil.Process], float]) -> float:
    try:
        return float(figure(process))
    except psutil.Error:
        return 0.0

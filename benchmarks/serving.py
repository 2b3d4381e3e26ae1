"""The whole pipeline beside one plain FastAPI process with the same model inside, and beside Ray Serve's own defaults.

Each is alternated with the plain process in one run, with everything else of this machine quiet; medians, and the ratio
of each pair of bursts. A loop of clients in this process takes some of the two cores, the same from both sides.

    make bench-serving
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from statistics import median

import orjson
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import servers
from benchmarks.load import Load, load
from benchmarks.servers import Server
from forewarn import usecases
from forewarn.tasks import Classification
from forewarn.usecase import UseCase

ROUNDS = 5
SECONDS = 4.0
# Not counted: connections open and caches fill.
WARM_UP_SECONDS = 1.0
CONNECTIONS = (1, 16, 64, 256)
BODIES = 200


@dataclass(frozen=True, kw_only=True)
class Burst:
    """One burst of requests.

    Attributes:
        cpu: seconds of all the server's processes per 1,000 answers.
    """

    load: Load
    cpu: float


def burst(server: Server, bodies: list[bytes], connections: int) -> Burst:
    """Ask for a while, and see what it took."""
    load(server.url, bodies, server.headers, connections=connections, seconds=WARM_UP_SECONDS)
    processes = server.processes()
    before = _cpu(processes)
    found = load(server.url, bodies, server.headers, connections=connections, seconds=SECONDS)
    answers = max(found.rate * SECONDS, 1.0)
    return Burst(load=found, cpu=(_cpu(processes) - before) / answers * 1000)


def alternated(first: Server, second: Server, bodies: list[bytes]) -> dict[int, list[tuple[Burst, Burst]]]:
    """Connections -> a pair of bursts a round."""
    found: dict[int, list[tuple[Burst, Burst]]] = {connections: [] for connections in CONNECTIONS}
    for _ in range(ROUNDS):
        for connections, pairs in found.items():
            pairs.append((burst(first, bodies, connections), burst(second, bodies, connections)))
    return found


def table(name: str, found: dict[int, list[tuple[Burst, Burst]]]) -> Table:
    """Medians of the second, beside the first."""
    columns = ("connections", "plain, requests/s", f"{name}, requests/s", "ratio", "p50, ms", "p95, ms", "p99, ms",
               "CPU s per 1,000", "plain's", "not answered")  # fmt: skip
    shown = Table(*columns, title=f"{name} beside one plain FastAPI process")
    for connections, pairs in found.items():
        mine = [second for _, second in pairs]
        figures = (
            f"{median(first.load.rate for first, _ in pairs):.0f}",
            f"{median(one.load.rate for one in mine):.0f}",
            f"{median(second.load.rate / first.load.rate for first, second in pairs):.2f}",
            *(f"{median(getattr(one.load, part) for one in mine):.1f}" for part in ("p50", "p95", "p99")),
            f"{median(one.cpu for one in mine):.2f}",
            f"{median(first.cpu for first, _ in pairs):.2f}",
            str(sum(sum(one.load.failed.values()) for one in mine)),
        )
        shown.add_row(str(connections), *figures)
    return shown


def bodies_of(case: UseCase) -> list[bytes]:
    """Whole rows, no two alike."""
    rows = case.sample(BODIES, seed=3)
    return [orjson.dumps({name: value for name, value in row.items() if name != case.target}) for row in rows]


def _cpu(processes: list[psutil.Process]) -> float:
    """Of those that are still there."""
    total = 0.0
    for process in processes:
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += used.user + used.system
    return total


def main() -> None:
    """Print a table for each rival of the plain process."""
    case = next(case for case in usecases.every().values() if isinstance(case.task, Classification))
    bodies, out = bodies_of(case), Console(width=140)
    rivals: dict[str, Callable[[], AbstractContextManager[Server]]] = {
        "Forewarn": partial(servers.forewarn, case),
        "Ray Serve's defaults": partial(servers.ray_defaults, case),
    }
    for name, rival in rivals.items():
        with servers.plain(case) as plain, rival() as server:
            out.print(table(name, alternated(plain, server, bodies)))


if __name__ == "__main__":
    main()

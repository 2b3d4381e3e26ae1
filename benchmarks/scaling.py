"""A step of load and what autoscaling makes of it: one client, then 64, then one; explained, so that the model is busy.

make bench-scaling
"""

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks import servers
from benchmarks.load import load
from benchmarks.servers import Server
from forewarn import usecases
from forewarn.settings import PROJECT
from forewarn.tasks import Classification

PICTURE = PROJECT / "docs" / "pictures" / "bench-scaling.png"
# Connections, and for how many seconds.
STEPS = ((1, 20), (64, 60), (1, 80))
SLICE_SECONDS = 5
# Sooner than the shipped 300 s, so that the way back can be watched.
MODEL = {
    "min_replicas": 1,
    "max_replicas": 3,
    "target_ongoing_requests": 0.5,
    "num_cpus": 0.06,
    "downscale_delay_s": 30,
}


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A slice of the load, or a look at the replicas; seconds since the beginning."""

    at: float
    connections: int
    rate: float = 0.0
    p95: float = 0.0
    failed: int = 0


def watch(server: Server, name: str, began: float, seen: list[tuple[float, int]], done: threading.Event) -> None:
    """Note how many replicas of the model run, twice a second."""
    while not done.is_set():
        found = httpx.get(f"{server.dashboard}/api/serve/applications/", timeout=10).json()
        replicas = found["applications"]["forewarn"]["deployments"][f"Model-{name}"]["replicas"]
        seen.append((monotonic() - began, sum(one["state"] == "RUNNING" for one in replicas)))
        sleep(0.5)


def step(server: Server, name: str) -> tuple[list[Moment], list[tuple[float, int]]]:
    """The load in slices, and the replicas meanwhile."""
    began, done = monotonic(), threading.Event()
    seen: list[tuple[float, int]] = []
    watching = threading.Thread(target=watch, args=(server, name, began, seen, done))
    watching.start()
    moments = []
    for connections, seconds in STEPS:
        for _ in range(seconds // SLICE_SECONDS):
            found = load(server.url, server.bodies, server.headers, connections=connections, seconds=SLICE_SECONDS)
            moments.append(Moment(at=monotonic() - began, connections=connections, rate=found.rate, p95=found.p95,
                                  failed=sum(found.failed.values())))  # fmt: skip
    done.set()
    watching.join()
    return moments, seen


def draw(moments: list[Moment], replicas: list[tuple[float, int]], path: Path = PICTURE) -> None:
    """Load, replicas and latency over the same seconds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 6), dpi=140, layout="constrained")
    figure.suptitle("From one client to 64 and back: the model's replicas follow")
    rates, counts, waits = figure.subplots(3, 1, sharex=True)
    times = [moment.at for moment in moments]
    rates.step(times, [moment.rate for moment in moments], color="#0072B2", where="pre")
    counts.step([at for at, _ in replicas], [count for _, count in replicas], color="#D55E00", where="post")
    waits.step(times, [moment.p95 for moment in moments], color="#009E73", where="pre")
    starts = [0, STEPS[0][1], STEPS[0][1] + STEPS[1][1]]
    for axes, says in ((rates, "explained, a second"), (counts, "replicas of the model"), (waits, "p95, ms")):
        axes.set_ylabel(says)
        axes.set_ylim(bottom=0)
        axes.grid(color="#dddddd", linewidth=0.6)
        for start in starts[1:]:
            axes.axvline(start, color="#5f6872", linewidth=0.8, linestyle=":")
    counts.yaxis.set_major_locator(MaxNLocator(integer=True))
    for start, (connections, _) in zip(starts, STEPS, strict=True):
        says = f"{connections} connection{'s' if connections > 1 else ''}"
        rates.annotate(says, (start, 1.02), xycoords=("data", "axes fraction"))
    waits.set_xlabel("seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(path)


def main() -> None:
    """Print how long it took up and down, and draw it."""
    case = next(case for case in usecases.every().values() if isinstance(case.task, Classification))
    with servers.forewarn(case, door={"cache_seconds": 0}, composition="chained", model=MODEL) as server:
        explained = replace(server, url=f"{server.url}?explain=true")
        moments, replicas = step(explained, case.name)
    draw(moments, replicas)
    up, down = STEPS[0][1], STEPS[0][1] + STEPS[1][1]
    shown = Table("replicas", "seconds after the load changed")
    for count in sorted({count for _, count in replicas} - {1}):
        shown.add_row(f"up to {count}", f"{next(at for at, n in replicas if n >= count) - up:.0f}")
    back = next((at for at, count in replicas if at > down and count == 1), float("nan"))
    shown.add_row("back to 1", f"{back - down:.0f}")
    Console(width=100).print(shown, f"not answered: {sum(moment.failed for moment in moments)}; picture: {PICTURE}")


if __name__ == "__main__":
    main()

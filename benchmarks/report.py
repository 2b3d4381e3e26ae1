"""What the benchmark of serving found: tables, a picture, and the ratios beside what is asked of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from benchmarks.bursts import CONNECTIONS, Found
from benchmarks.extremes import Batches, Crowd, Mixed
from forewarn.settings import PROJECT

PICTURE = PROJECT / "docs" / "pictures" / "bench-serving.png"
SHIPPED, CHAINED, CACHED = "Forewarn, colocated", "Forewarn, chained", "Forewarn, cache on"
DEFAULTS = "Ray Serve's defaults"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A figure, and what is asked of it."""

    says: str
    value: float
    unit: str
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool:
        """Whether it is what is asked."""
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    @property
    def asked(self) -> str:
        """In words."""
        return f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"


def table(found: Found) -> Table:
    """One rival beside the plain process."""
    columns = ("connections", "plain, requests/s", f"{found.name}, requests/s", "ratio", "p50, ms", "p95, ms",
               "p99, ms", "plain's p99", "CPU s per 1,000", "plain's", "not answered")  # fmt: skip
    mine, plain = (f"{bytes_ / 2**20:.0f} MiB" for bytes_ in found.memory)
    shown = Table(*columns, title=f"{found.name} beside one plain FastAPI process; memory {mine} beside {plain}")
    for connections in CONNECTIONS:
        shown.add_row(
            str(connections),
            f"{found.of(connections, 'rate', plain=True):.0f}",
            f"{found.of(connections, 'rate'):.0f}",
            f"{found.ratio(connections):.2f}",
            *(f"{found.of(connections, part):.1f}" for part in ("p50", "p95", "p99")),
            f"{found.of(connections, 'p99', plain=True):.1f}",
            f"{found.of(connections, 'cpu'):.2f}",
            f"{found.of(connections, 'cpu', plain=True):.2f}",
            str(found.failed(connections)),
        )
    return shown


def extremes(batches: Batches, mixed: Mixed, crowd: Crowd) -> Table:
    """Large batches, both at once, and a crowd."""
    shown = Table("what", "rate", "p50, ms", "p95, ms", "p99, ms", title="Forewarn where it is harder")
    loads = {
        "1000 rows in one request, one client": batches.alone,
        "single rows, one client": batches.single,
        "single rows, 16 clients": mixed.by_themselves,
        "the same beside 4 clients with batches of 1000": mixed.beside,
        "those batches": mixed.batches,
        "a crowd, group by group of one row: answered": crowd.accepted,
        "turned away": crowd.refused,
    }
    for says, load in loads.items():
        shown.add_row(says, f"{load.rate:.0f}/s", *(f"{getattr(load, part):.1f}" for part in ("p50", "p95", "p99")))
    shown.caption = (
        f"64,000 rows by four clients: {batches.many:.0f} rows/s. "
        f"The crowd asks {crowd.asked:.0f} times a second, {crowd.asked / crowd.capacity:.1f} × what can be answered."
    )
    return shown


def bars(found: Mapping[str, Found], name: str) -> list[Bar]:
    """What is asked of single rows on two cores, composed one way or the other."""
    ours, defaults = found[name], found[DEFAULTS]
    return [
        Bar(says="64 connections, beside plain FastAPI", value=ours.ratio(64), unit="×", least=1.0),
        Bar(says="64 connections, beside Ray Serve's defaults", value=ours.ratio(64) / defaults.ratio(64), unit="×",
            least=15),
        Bar(says="64 connections, p99", value=ours.of(64, "p99"), unit="ms", most=150),
        Bar(says="256 connections, not answered", value=ours.failed(256), unit="", most=0),
        Bar(says="256 connections, beside 64", value=ours.of(256, "rate") / ours.of(64, "rate"), unit="×", least=0.9),
        Bar(says="16 connections, beside plain FastAPI", value=ours.ratio(16), unit="×", least=0.7),
        Bar(says="16 connections, p95", value=ours.of(16, "p95"), unit="ms", most=50),
        Bar(says="1 connection, p50", value=ours.of(1, "p50"), unit="ms", most=10),
        Bar(says="1 connection, p95", value=ours.of(1, "p95"), unit="ms", most=20),
    ]  # fmt: skip


def further_bars(cached: Found, batches: Batches) -> list[Bar]:
    """What is asked of batches and of remembered rows, as shipped."""
    per_row = batches.alone.rate * 1000 / batches.single.rate
    return [
        Bar(says="1000 rows in one request, median", value=batches.alone.p50, unit="ms", most=150),
        Bar(says="rows a second in batches, beside single rows", value=per_row, unit="×", least=20),
        Bar(says="remembered answer, one connection, p95", value=cached.of(1, "p95"), unit="ms", most=10),
    ]  # fmt: skip


def verdicts(name: str, asked: Sequence[Bar]) -> Table:
    """The ratios, last."""
    shown = Table("figure", "measured", "asked", "", title=name)
    for bar in asked:
        shown.add_row(bar.says, f"{bar.value:.2f} {bar.unit}", bar.asked, "✓" if bar.met else "✗")
    return shown


def draw(found: Sequence[Found], path: Path = PICTURE) -> None:
    """Throughput beside the plain process, and how long the slowest in a hundred wait."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), dpi=140, layout="constrained")
    figure.suptitle("One plain FastAPI process is 1; the same model, the same rows, two cores")
    rates, waits = figure.subplots(1, 2)
    colours = ("#0072B2", "#56B4E9", "#009E73", "#D55E00", "#E69F00", "#CC79A7", "#999999")
    for one, colour in zip(found, colours, strict=False):
        rates.plot(CONNECTIONS, [one.ratio(n) for n in CONNECTIONS], "o-", color=colour, label=one.name)
        waits.plot(CONNECTIONS, [one.of(n, "p99") for n in CONNECTIONS], "o-", color=colour)
    rates.axhline(1, color="#22272e", linewidth=1, linestyle="--")
    for axes, says in ((rates, "requests a second, beside plain FastAPI"), (waits, "p99 latency, ms")):
        axes.set(xscale="log", yscale="log", xlabel="connections", title=says)
        axes.set_xticks(CONNECTIONS, [str(n) for n in CONNECTIONS])
        axes.minorticks_off()
        axes.grid(color="#dddddd", linewidth=0.6)
    rates.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5, 1, 2], ["0.02×", "0.05×", "0.1×", "0.2×", "0.5×", "1×", "2×"])
    waits.set_yticks([1, 3, 10, 30, 100, 300, 1000, 3000], ["1", "3", "10", "30", "100", "300", "1000", "3000"])
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(path)

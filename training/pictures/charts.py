"""What every picture is drawn with: a quiet canvas, colours that colour-blind people can tell apart, PNG bytes.

Matplotlib's objects on the Agg backend, never pyplot: nothing is shared, so threads may draw at the same time.
Importing this takes a second; whoever draws imports it when it draws.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe & Ito's palette, told apart with every common kind of colour blindness.
BLUE, ORANGE, VERMILLION, GREEN = "#0072B2", "#E69F00", "#D55E00", "#009E73"
INK, QUIET, GRID, PALE = "#22272e", "#5f6872", "#dfe3e8", "#dcebf5"

# 1280 pixels, shown at 800: sharp on a dense screen, and 10 pt stays 14 px high.
WIDTH_IN, DPI = 8.0, 160
LINE_IN = 0.27
LONGEST_LABEL = 34


def canvas(title: str, height_in: float, *, rows: int = 1, columns: int = 1, **grid: Any) -> tuple[Figure, list[Axes]]:
    """A titled figure and its axes, row by row."""
    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)  # type: ignore[call-arg, union-attr]
    figure.suptitle(plain(title), x=0.012, ha="left", fontsize=12.5, fontweight="bold", color=INK)
    return figure, list(figure.subplots(rows, columns, squeeze=False, **grid).flat)


def png(figure: Figure) -> bytes:
    """The figure's bytes: the same figure, the same bytes."""
    told = BytesIO()
    figure.savefig(told, format="png", metadata={"Software": None})
    return told.getvalue()


def style(axes: Axes, *, says: str = "", x: str = "", y: str = "", grid: str = "both") -> None:
    """Axis labels with a line above that says how to read the panel, and no more ink than needed."""
    axes.set_title(plain(says), loc="left", fontsize=9.5, color=QUIET)
    axes.set_xlabel(plain(x), fontsize=10, color=INK)
    axes.set_ylabel(plain(y), fontsize=10, color=INK)
    axes.tick_params(labelsize=9.5, colors=INK, length=0)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    if grid:
        axes.grid(visible=True, axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]


def legend(axes: Axes, **where: Any) -> None:
    """A legend without a box."""
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, **where)


def lines(axes: Axes, labels: Sequence[str]) -> None:
    """One line of the chart per label, the first on top."""
    axes.set_yticks(range(len(labels)), [plain(label) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)


def dot(
    axes: Axes, place: float, value: float, low: float, high: float, *, color: str = BLUE, marker: str = "o"
) -> None:
    """A value with its interval."""
    axes.plot([low, high], [place, place], color=color, linewidth=2, solid_capstyle="round", alpha=0.55)
    axes.plot([value], [place], marker, color=color, markersize=6.5)


def height(count: int, *, rest_in: float = 1.35) -> float:
    """How high a chart of so many lines is, inches."""
    return rest_in + LINE_IN * max(count, 2)


def plain(text: str) -> str:
    """Text as it is: a dollar sign begins no formula."""
    return text.replace("$", r"\$")


def short(text: str, most: int = LONGEST_LABEL) -> str:
    """A label that leaves room for the chart."""
    return text if len(text) <= most else text[: most - 1] + "…"

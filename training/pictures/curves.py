"""Pictures of scores against what came true: for events and for amounts."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, ScalarFormatter

from forewarn.evidence import Bin, Evidence
from forewarn.tasks import Classification, Regression
from forewarn.usecase import UseCase
from training import wording
from training.pictures.charts import BLUE, INK, ORANGE, QUIET, VERMILLION, canvas, legend, plain, short, style

# Where the largest outcome is this many medians, equal steps on the axis would squeeze nearly all dots into a corner.
LONG_TAIL = 8
SHARES = PercentFormatter(xmax=1, decimals=0, symbol=" %")


def confusion_matrix(case: UseCase, evidence: Evidence) -> Figure | None:
    """Counts, and the share of each row."""
    if not evidence.confusion or not isinstance(case.task, Classification):
        return None
    figure, (axes,) = canvas("What was said, against what came true (rows, share of each line)", 4.1)
    shares = [[cell / max(sum(line), 1) for cell in line] for line in evidence.confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.8, aspect="auto")
    for y, line in enumerate(evidence.confusion):
        for x, rows in enumerate(line):
            _cell(axes, x, y, rows, shares[y][x])
    style(axes, x="Forewarn said", y="Came true", grid="")
    axes.set_xticks([0, 1], [plain(short(word)) for word in case.task.verdicts])
    axes.set_yticks([0, 1], [plain(short(word)) for word in case.task.verdicts])
    return figure


def _cell(axes: Axes, x: int, y: int, rows: int, part: float) -> None:
    axes.text(x, y - 0.08, f"{rows:,}", ha="center", va="center", fontsize=20, fontweight="bold", color=INK)
    axes.text(x, y + 0.2, wording.share(part), ha="center", va="center", fontsize=11, color=INK)


def roc_precision_recall(case: UseCase, evidence: Evidence) -> Figure | None:
    """Both curves side by side, with what guessing would give and where the threshold is."""
    if not evidence.roc or not evidence.precision_recall:
        return None
    figure, (roc, precision) = canvas("How well events are told from the rest, at every threshold", 4.3, columns=2)
    _curve(roc, evidence.roc, _named(case, evidence, "roc_auc"))
    _curve(precision, evidence.precision_recall, _named(case, evidence, "pr_auc"))
    roc.plot([0, 1], [0, 1], "--", color=QUIET, linewidth=1.2, label="guessing")
    style(roc, says="ROC: up and left is better", x="false alarms, of rows without the event", y="recall, of events")
    style(precision, says="Precision and recall: up and right is better", x="recall, of events", y="precision")
    _mark_threshold(roc, precision, evidence.confusion)
    legend(precision, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    legend(roc, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return figure


def _curve(axes: Axes, points: Sequence[tuple[float, float]], name: str) -> None:
    axes.plot([x for x, _ in points], [y for _, y in points], color=BLUE, linewidth=2.2, label=name)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    axes.xaxis.set_major_formatter(SHARES)
    axes.yaxis.set_major_formatter(SHARES)


def _named(case: UseCase, evidence: Evidence, metric: str) -> str:
    found = evidence.intervals.get(metric)
    return wording.metric(metric).label + (f" {wording.estimate(case.task, metric, found)}" if found else "")


def _mark_threshold(roc: Axes, precision: Axes, confusion: Sequence[Sequence[int]]) -> None:
    if not confusion:
        return
    (calm, alarms), (missed, hits) = confusion
    recall, base = hits / max(missed + hits, 1), (missed + hits) / max(calm + alarms + missed + hits, 1)
    precision.axhline(base, linestyle="--", color=QUIET, linewidth=1.2, label=f"guessing: {wording.share(base)}")
    point = {"color": VERMILLION, "markersize": 9, "label": "the threshold"}
    roc.plot([alarms / max(calm + alarms, 1)], [recall], "D", **point)  # type: ignore[arg-type]
    precision.plot([recall], [hits / max(hits + alarms, 1)], "D", **point)  # type: ignore[arg-type]


def calibration(case: UseCase, evidence: Evidence) -> Figure | None:
    """Probabilities against what came true, before and after calibration, with how many rows each point stands for."""
    if not evidence.reliability.get("chosen") or not isinstance(case.task, Classification):
        return None
    figure, (axes, below) = canvas(
        "How often the event came true, against the probability given", 5.2, rows=2, height_ratios=[4, 1], sharex=True
    )
    drawn = _reliabilities(evidence)
    top = max(max(*_points(bins)[0], *_points(bins)[1]) for bins in drawn.values())
    axes.plot([0, top], [0, top], "--", color=QUIET, linewidth=1.2, label="perfect")
    for name, bins in drawn.items():
        before = name.startswith("before")
        color, marker = (ORANGE, "s") if before else (BLUE, "o")
        axes.plot(*_points(bins), marker + "-", color=color, linewidth=1.8, label=name)
    chosen = evidence.reliability["chosen"]
    _sizes(below, chosen)
    style(axes, says="Each point: rows of like probability. On the dashed line, probabilities are true.", y="came true")
    style(below, x="probability given (mean of the bin)", y="rows")
    axes.xaxis.set_major_formatter(SHARES)
    axes.yaxis.set_major_formatter(SHARES)
    legend(axes, loc="upper left")
    return figure


def _reliabilities(evidence: Evidence) -> dict[str, list[Bin]]:
    """What to draw by its legend's name; before and after are one where nothing was calibrated."""
    ece = evidence.metrics.get("ece")
    error = f", mean gap (ECE) {wording.share(ece['mean'])}" if ece else ""
    chosen, raw = evidence.reliability["chosen"], evidence.reliability.get("raw", [])
    if evidence.calibration == "none" or not raw:
        return {f"not calibrated{error}": chosen}
    return {"before calibration": raw, f"after calibration, {evidence.calibration.capitalize()}{error}": chosen}


def _points(bins: Sequence[Bin]) -> tuple[list[float], list[float]]:
    return [part.score for part in bins], [part.outcome for part in bins]


def _sizes(axes: Axes, bins: Sequence[Bin]) -> None:
    """How many rows each bin stands for."""
    axes.vlines([part.score for part in bins], 0, [part.rows for part in bins], color=BLUE, linewidth=4)
    axes.set_ylim(0, 1.1 * max(part.rows for part in bins))


def _padded(low: float, high: float) -> tuple[float, float]:
    room = 0.06 * (high - low) or 1.0
    return low - room, high + room


def forecasts(case: UseCase, evidence: Evidence) -> Figure | None:
    """Forecast against outcome, row by row."""
    if not evidence.forecasts or not isinstance(case.task, Regression):
        return None
    figure, (axes,) = canvas(f"What came true, against what was forecast ({case.task.unit})", 5.4)
    axes.plot([x for x, _ in evidence.forecasts], [y for _, y in evidence.forecasts], "o", color=BLUE, alpha=0.3, ms=5)
    ends = _ends([value for pair in evidence.forecasts for value in pair])
    axes.plot(ends, ends, "--", color=QUIET, linewidth=1.2, label="forecast = outcome")
    unit = case.task.unit
    says = f"Each dot: one of {len(evidence.forecasts):,} rows; below the line less came true than was forecast"
    style(
        axes, says=says + _tail(axes, [y for _, y in evidence.forecasts]), x=f"forecast, {unit}", y=f"outcome, {unit}"
    )
    legend(axes, loc="upper left")
    return figure


def _ends(values: Sequence[float]) -> list[float]:
    return [min(values), max(values)]


def _tail(axes: Axes, outcomes: Sequence[float]) -> str:
    """Steps of equal ratio where a few amounts are far larger than most; what to say of it."""
    middle = sorted(outcomes)[len(outcomes) // 2]
    if min(outcomes) < 0 or max(outcomes) <= LONG_TAIL * max(middle, 1e-9):
        return ""
    for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        scale("symlog", linthresh=max(middle, 1e-9), linscale=0.7)
        axis.set_major_formatter(ScalarFormatter())
    return " (logarithmic axes)"


def reliability(case: UseCase, evidence: Evidence) -> Figure | None:
    """Mean outcome of rows of like forecast."""
    bins = evidence.reliability.get("chosen")
    if not bins or not isinstance(case.task, Regression):
        return None
    unit = case.task.unit
    figure, (axes, below) = canvas(
        f"Mean outcome of rows with like forecasts ({unit})", 5.2, rows=2, height_ratios=[4, 1], sharex=True
    )
    ends = _ends([*_points(bins)[0], *_points(bins)[1]])
    axes.plot(ends, ends, "--", color=QUIET, linewidth=1.2, label="forecast = mean outcome")
    axes.plot(*_points(bins), "o-", color=BLUE, linewidth=1.8, label="bins of like forecast")
    _sizes(below, bins)
    axes.set(xlim=_padded(*_ends(_points(bins)[0])), ylim=_padded(*_ends(_points(bins)[1])))
    style(
        axes, says="Above the line forecasts are too low. Absolute-error models aim at the median.", y=f"mean, {unit}"
    )
    style(below, x=f"forecast, {unit} (mean of the bin)", y="rows")
    legend(axes, loc="upper left")
    return figure

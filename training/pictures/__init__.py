"""Pictures of the evidence, for the card and for the registry: pure functions, evidence to PNG."""

from collections.abc import Sequence
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from forewarn.evidence import Comparison, Evidence
from forewarn.tasks import Task
from forewarn.usecase import UseCase
from training import wording
from training.pictures import curves, group_charts
from training.pictures.charts import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    QUIET,
    canvas,
    dot,
    height,
    legend,
    lines,
    png,
    short,
    style,
)

MOST_FIELDS = 12
COLOURS = (BLUE, ORANGE, GREEN)
MARKERS = ("o", "s", "^")


def pictures(case: UseCase, evidence: Evidence) -> dict[str, bytes]:
    """File name -> PNG, for all that the evidence has something to show of."""
    drawn = {name: draw(case, evidence) for name, draw in DRAWINGS.items()}
    return {name: png(figure) for name, figure in drawn.items() if figure}


def importance(case: UseCase, evidence: Evidence) -> Figure | None:
    """The fields that move scores most."""
    if not evidence.importance:
        return None
    top = sorted(evidence.importance.items(), key=lambda item: -item[1])[:MOST_FIELDS]
    figure, (axes,) = canvas(f"How much each field moves the score ({case.task.margin_unit})", height(len(top)))
    bars = axes.barh(range(len(top)), [value for _, value in top], color=BLUE, height=0.68)
    axes.bar_label(bars, [wording.figure(value) for _, value in top], padding=4, fontsize=9.5, color=INK)
    lines(axes, [short(name) for name, _ in top])
    says = f"The top {len(top)} of {len(evidence.importance)} fields"
    style(axes, says=says, x=f"mean absolute contribution, {case.task.margin_unit}", grid="x")
    axes.margins(x=0.09)
    return figure


def search(case: UseCase, evidence: Evidence) -> Figure | None:
    """Every trial in its order, and the best so far."""
    if not evidence.trials:
        return None
    metric = wording.metric(case.task.metric).label
    figure, (axes,) = canvas(f"{metric} of every trial of the search, in order{wording.within(case.task)}", 4.0)
    for place, algorithm in enumerate(sorted({trial.algorithm for trial in evidence.trials})):
        _trials(axes, evidence, algorithm, COLOURS[place % 3], MARKERS[place % 3])
    best = max if case.task.larger_is_better else min
    whole = [(number, trial.score) for number, trial in enumerate(evidence.trials, 1) if trial.whole]
    if whole:
        leaders = [*accumulate((score for _, score in whole), best)]
        numbers = [*(number for number, _ in whole), len(evidence.trials)]
        axes.step(numbers, [*leaders, leaders[-1]], where="post", color=INK, lw=1.3, label="best so far")
    more = "more" if case.task.larger_is_better else "less"
    style(
        axes,
        says=f"Hollow: stopped early, after some folds only. {more.capitalize()} is better.",
        x="trial",
        y=f"{metric}{wording.unit(case.task)}",
    )
    legend(axes, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=4)
    return figure


def _trials(axes: Axes, evidence: Evidence, algorithm: str, color: str, marker: str) -> None:
    for whole in (True, False):
        found = [(n, t.score) for n, t in enumerate(evidence.trials, 1) if (t.algorithm, t.whole) == (algorithm, whole)]
        name = wording.algorithm(algorithm) if whole else None
        fill = color if whole else "none"
        axes.plot([n for n, _ in found], [s for _, s in found], marker, color=color, mfc=fill, ms=6, label=name)


def comparisons(case: UseCase, evidence: Evidence) -> Figure | None:
    """By how much the candidate beats each rival; a panel per metric, for their units differ."""
    if not evidence.comparisons:
        return None
    metrics = list(dict.fromkeys(found.metric for found in evidence.comparisons))
    parts = {metric: [found for found in evidence.comparisons if found.metric == metric] for metric in metrics}
    figure, panels = canvas(
        "How much better than its rivals the candidate is",
        0.5 + sum(1.0 + 0.3 * len(p) for p in parts.values()),
        rows=len(parts),
        height_ratios=[0.9 + len(part) for part in parts.values()],
    )
    for axes, metric in zip(panels, metrics, strict=True):
        _gains(axes, case.task, metric, parts[metric])
    return figure


def _gains(axes: Axes, task: Task, metric: str, found: Sequence[Comparison]) -> None:
    axes.axvline(0, color=INK, linewidth=1.2)
    for place, rival in enumerate(found):
        dot(axes, place, rival.gain, rival.low, rival.high)
    lines(axes, [short(wording.rival(rival.against)) for rival in found])
    unit = wording.unit(task) if wording.metric(metric).form == "amount" else ""
    style(
        axes,
        says="Right of zero the candidate is better; bars: 90 % intervals",
        grid="x",
        x=f"gain: {wording.metric(metric).label}{unit}",
    )


def baselines(case: UseCase, evidence: Evidence) -> Figure | None:
    """The candidate beside the trivial answer and each algorithm alone."""
    own = evidence.metrics.get(case.task.metric)
    if not evidence.baselines or not own:
        return None
    name = case.task.metric
    named = {"This version": own["mean"]} | {wording.rival(key): mean for key, mean in evidence.baselines.items()}
    metric = f"{wording.metric(name).label}{wording.unit(case.task)}"
    figure, (axes,) = canvas(
        f"{wording.metric(name).label} of this version and of simpler ones{wording.within(case.task)}",
        height(len(named)),
    )
    for place, mean in enumerate(named.values()):
        axes.plot([mean], [place], "o" if place else "D", color=QUIET if place else BLUE, markersize=8)
        axes.annotate(
            wording.figure(mean),
            (mean, place),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize=9.5,
            color=INK,
        )
    lines(axes, [short(name) for name in named])
    more = "more" if case.task.larger_is_better else "less"
    style(axes, says=f"Mean over the same fresh folds; {more} is better", x=metric, grid="x")
    axes.margins(x=0.12)
    return figure


DRAWINGS = {
    "confusion_matrix.png": curves.confusion_matrix,
    "roc_precision_recall.png": curves.roc_precision_recall,
    "calibration.png": curves.calibration,
    "forecasts.png": curves.forecasts,
    "reliability.png": curves.reliability,
    "baselines.png": baselines,
    "comparisons.png": comparisons,
    "importance.png": importance,
    "search.png": search,
    "slices.png": group_charts.slices,
    "fairness.png": group_charts.fairness,
}

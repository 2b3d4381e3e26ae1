"""Pictures of groups of rows: how good the scores are within each, and how fairly each protected one fares."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from forewarn.evidence import Evidence, GroupGap, Slice
from forewarn.tasks import Task
from forewarn.usecase import UseCase
from training import wording
from training.pictures.charts import BLUE, PALE, QUIET, VERMILLION, canvas, dot, height, lines, short, style

# How many rows a group has stands behind it and must not be cut off.
LONGEST_GROUP = 26
Group = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """How a metric's gaps are drawn: shares in points, and what lies within the limit, if there is one."""

    factor: float
    unit: str
    even: float
    allowed: tuple[float, float] | None

    @classmethod
    def of(cls, task: Task, metric: str, limit: float | None) -> "_Scale":
        if metric == "selection_ratio":
            return cls(factor=1, unit="1 is equal", even=1, allowed=(limit, 1) if limit else None)
        points = wording.metric(metric).form == "share"
        factor, unit = (100.0, ", points") if points else (1.0, wording.unit(task))
        reach = None if limit is None else (-limit * factor, limit * factor)
        return cls(factor=factor, unit=f"group minus others{unit}", even=0, allowed=reach)

    @property
    def says(self) -> str:
        """What the shading means."""
        if self.allowed is None:
            return "reported only, no limit"
        return "shaded: within the limit, {} to {}".format(*map(wording.brief, self.allowed))


def slices(case: UseCase, evidence: Evidence) -> Figure | None:
    """The main metric within each group, with its interval, and over all rows."""
    if not evidence.slices:
        return None
    name, overall = case.task.metric, evidence.intervals.get(case.task.metric)
    entries = list(_by_field(name, evidence.slices))
    metric = f"{wording.metric(name).label}{wording.unit(case.task)}"
    title = f"{wording.metric(name).label} within each group of rows{wording.within(case.task)}"
    figure, (axes,) = canvas(title, height(len(entries)))
    _headed(axes, [label for label, _ in entries], {place for place, (_, part) in enumerate(entries) if not part})
    for place, (_, part) in enumerate(entries):
        if part and name in part.metrics:
            found = part.metrics[name]
            dot(axes, place, found.value, found.low, found.high)
    if overall:
        axes.axvline(overall.value, linestyle="--", color=QUIET, linewidth=1.2)
    everybody = f"; dashed: all rows, {wording.shown(case.task, name, overall.value)}" if overall else ""
    style(axes, says=f"Bars: 95 % intervals{everybody}", x=metric, grid="x")
    return figure


def _by_field(metric: str, parts: Sequence[Slice]) -> Iterator[tuple[str, Slice | None]]:
    """Each field's name, then its groups from the best value down; groups too small to say come last."""
    for field in dict.fromkeys(part.field for part in parts):
        yield short(field), None
        found = [part for part in parts if part.field == field]
        for part in sorted(found, key=lambda part: -part.metrics[metric].value if metric in part.metrics else 1e300):
            size = f"n = {part.rows:,}" if metric in part.metrics else f"n = {part.rows:,}, too few to say"
            yield f"{short(part.group, LONGEST_GROUP)}   {size}", part


def _headed(axes: Axes, labels: Sequence[str], heads: set[int]) -> None:
    lines(axes, labels)
    for place, label in enumerate(axes.get_yticklabels()):
        if place in heads:
            label.set_fontweight("bold")


def fairness(case: UseCase, evidence: Evidence) -> Figure | None:
    """The gap of every protected group, a panel per metric."""
    after = evidence.fairness.after
    if not after:
        return None
    metrics, groups = list(dict.fromkeys(gap.metric for gap in after)), {_group(gap): _label(gap) for gap in after}
    down = (len(metrics) + 1) // 2
    figure, panels = canvas(
        "How each protected group fares against all others (95 % intervals)",
        0.4 + down * height(len(groups)),
        rows=down,
        columns=min(len(metrics), 2),
        sharey=True,
    )
    for axes, metric in zip(panels, metrics, strict=False):
        _panel(axes, case.task, metric, {_group(gap): gap for gap in after if gap.metric == metric}, list(groups))
    for axes in panels:
        lines(axes, list(groups.values()))
    for axes in panels[len(metrics) :]:
        axes.set_visible(False)
    return figure


def _group(gap: GroupGap) -> Group:
    return gap.field, gap.group


def _label(gap: GroupGap) -> str:
    return f"{short(f'{gap.field}: {gap.group}', LONGEST_GROUP)}   n = {gap.rows:,}"


def _panel(axes: Axes, task: Task, metric: str, found: Mapping[Group, GroupGap], groups: Sequence[Group]) -> None:
    scale = _Scale.of(task, metric, next((gap.limit for gap in found.values() if gap.limit is not None), None))
    if scale.allowed:
        axes.axvspan(*scale.allowed, color=PALE, lw=0)
    axes.axvline(scale.even, color=QUIET, linewidth=1.2)
    for place, group in enumerate(groups):
        if group in found:
            _gap(axes, place, found[group], scale)
        else:
            axes.text(scale.even, place, " too few rows", va="center", fontsize=8.5, color=QUIET)
    style(axes, says=f"{wording.metric(metric).label}\n{scale.says}", x=scale.unit, grid="x")
    axes.set_xlim(*_ends(found.values(), scale))


def _ends(found: Iterable[GroupGap], scale: _Scale) -> tuple[float, float]:
    """Room for every interval and for the limits, whose shade would else end at the frame."""
    ends = [end * scale.factor for gap in found for end in (gap.gap.low, gap.gap.high)]
    ends += [scale.even, *(scale.allowed or ())]
    room = 0.08 * (max(ends) - min(ends)) or 1.0
    return min(ends) - room, max(ends) + room


def _gap(axes: Axes, place: int, gap: GroupGap, scale: _Scale) -> None:
    value, low, high = (end * scale.factor for end in (gap.gap.value, gap.gap.low, gap.gap.high))
    color, marker = (VERMILLION, "D") if gap.breached else (BLUE, "o")
    dot(axes, place, value, low, high, color=color, marker=marker)
    if gap.breached:  # said on the side of no difference, which its interval leaves free
        below = value < scale.even
        end, shift, side = (high, 6, "left") if below else (low, -6, "right")
        beside = {"xytext": (shift, 0), "textcoords": "offset points", "ha": side, "va": "center"}
        axes.annotate("beyond the limit", (end, place), fontsize=9, fontweight="bold", color=color, **beside)  # type: ignore[arg-type]

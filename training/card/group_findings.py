"""What the card says of groups: how good the version is within each, and how fair to the protected ones."""

from forewarn.evidence import GroupGap, Imbalance, Slice
from forewarn.tasks import Classification
from training.card.sections import Cells, Given, Picture, Section, Table
from training.wording import count, estimate, figure, metric, shown


def slices(given: Given) -> Section:
    """The metrics within each group, with how many rows they rest on."""
    found = given.evidence.slices
    names = list(dict.fromkeys(name for part in found for name in part.metrics))
    table = Table(
        caption="Metrics within groups of rows, with 95 % intervals",
        headings=("Group", "Rows", "Events", *(metric(name).label for name in names)),
        rows=tuple(_slice(given, part, names) for part in found),
    )
    small = [f"{part.field}: {part.group} ({count(part.rows)} rows)" for part in found if not part.metrics]
    says = f"Too few rows to say anything of: {'; '.join(small)}." if small else "Every group had enough rows."
    alt = f"{metric(given.task.metric).label} within each group with 95 % interval, beside that of all rows."
    return Section(
        title="Within groups of rows",
        says=(says if found else "The use case names no fields to look at separately.",),
        tables=(table,),
        pictures=(Picture(name="slices.png", alt=alt),),
    )


def _slice(given: Given, part: Slice, names: list[str]) -> Cells:
    measured = (estimate(given.task, name, part.metrics.get(name)) for name in names)
    return f"{part.field}: {part.group}", count(part.rows), count(part.events), *measured


def fairness(given: Given) -> Section:
    """Protected groups: in the labels, in the answers, and who is too few to judge."""
    report = given.evidence.fairness
    small = f"Too small to judge: {'; '.join(report.too_small)}." if report.too_small else "No group was too small."
    broken = "; ".join(f"{gap.field}: {gap.group}, {metric(gap.metric).label.lower()}" for gap in report.breaches)
    verdict = f"Limits broken: {broken}." if broken else "No limit is broken."
    return Section(
        title="Fairness",
        says=(
            "The model never receives protected fields; their groups are each held against all others. A limit counts "
            "as broken where the whole 95 % interval, which holds for all groups of a field together, lies beyond it.",
            verdict if report.after else "No group could be judged.",
            small,
        ),
        tables=(_before(given), _after(given), _overall(given)),
        pictures=(
            Picture(name="fairness.png", alt=f"Gap of each protected group to all others, with limits. {verdict}"),
        ),
    )


def _before(given: Given) -> Table:
    amounts = not isinstance(given.task, Classification)
    return Table(
        caption="Before training: the labels alone",
        headings=(
            "Group",
            "Rows",
            "Events",
            "Class imbalance (−1 to 1)",
            "Mean label against others" if amounts else "Share of events against others",
        ),
        rows=tuple(_imbalance(given, found) for found in given.evidence.fairness.before),
    )


def _imbalance(given: Given, found: Imbalance) -> Cells:
    name = "selection_rate" if isinstance(given.task, Classification) else "mae"  # for the unit alone
    gap = found.positive_difference
    against = estimate(given.task, name, gap, sign=True)
    group = f"{found.field}: {found.group}"
    return group, count(found.rows), count(found.events), figure(found.class_imbalance, sign=True), against


def _after(given: Given) -> Table:
    return Table(
        caption="After training: the model's answers",
        headings=(
            "Group",
            "Metric",
            "Verdict",
            "Gap, with 95 % interval",
            "Limit",
            "Group",
            "Others",
            "Rows",
            "Events",
        ),
        rows=tuple(_gap(given, found) for found in given.evidence.fairness.after),
    )


def _gap(given: Given, found: GroupGap) -> Cells:
    task, name, ratio = given.task, found.metric, found.metric == "selection_ratio"
    of = "selection_rate" if ratio else name
    gap = estimate(task, name, found.gap, sign=not ratio)
    limit = "–" if found.limit is None else ("at least " if ratio else "± ") + shown(task, name, found.limit)
    word = "✗ beyond the limit" if found.breached else "reported only" if found.limit is None else "✓ within"
    values = shown(task, of, found.group_value), shown(task, of, found.others_value)
    sizes = count(found.rows), count(found.events)
    return f"{found.field}: {found.group}", metric(name).label, word, gap, limit, *values, *sizes


def _overall(given: Given) -> Table:
    found = given.evidence.fairness.overall
    return Table(
        caption="Over all groups of a field (Fairlearn)",
        headings=("Field", "Measure", "Value"),
        rows=tuple(
            (field, name.replace("_", " "), figure(value))
            for field, told in found.items()
            for name, value in told.items()
        ),
    )

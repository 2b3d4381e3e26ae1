"""What the card says of the evidence: how good the version is, against what, and why."""

from collections.abc import Iterator
from math import inf

from forewarn.evidence import Comparison
from forewarn.tasks import Classification, Regression
from training import wording
from training.card.sections import Cells, Given, Picture, Section, Table
from training.wording import count, estimate, figure, interval, metric, rival, share, shown


def tiles(given: Given) -> list[tuple[str, str, str]]:
    """What one looks for first: (what, how much, beside what)."""
    checks, fairness = given.verdict["checks"], given.evidence.fairness
    passed = sum(bool(check["passed"]) for check in checks)
    failed = ", ".join(str(check["gate"]) for check in checks if not check["passed"])
    failed = f"failed: {failed}" if failed else "none failed"
    small = f"groups too small to judge: {len(fairness.too_small)}"
    return [
        *_headline(given),
        ("Gates passed", f"{passed} of {len(checks)}", failed),
        ("Fairness limits broken", str(len(fairness.breaches)), small),
    ]


def _headline(given: Given) -> Iterator[tuple[str, str, str]]:
    name, baselines = given.task.metric, given.evidence.baselines
    if found := given.evidence.intervals.get(name):
        reach = f"95 % interval {interval(given.task, name, found)}"
        yield metric(name).label, shown(given.task, name, found.value), reach
    if trivial := next((key for key in wording.BASELINES if key in baselines), None):
        yield rival(trivial), shown(given.task, name, baselines[trivial]), f"{metric(name).label} without a model"


def quality(given: Given) -> Section:
    """Every metric with its interval, and the simpler answers beside the main one."""
    evidence = given.evidence
    known = [name for name in wording.METRICS if name in evidence.metrics or name in evidence.intervals]
    names = dict.fromkeys([given.task.metric, *known, *evidence.metrics])
    measured = Table(
        caption="Metrics",
        headings=("Metric", "Mean ± deviation over folds", "All rows, with 95 % interval", "What it says"),
        rows=tuple(_measured(given, name) for name in names if name in evidence.metrics or name in evidence.intervals),
    )
    simpler = Table(
        caption=f"{metric(given.task.metric).label}, beside simpler answers",
        headings=("Answer", "Mean over the same folds", "This version is better by"),
        rows=tuple(_simpler(given, name, mean) for name, mean in evidence.baselines.items()),
    )
    return Section(
        title="How good it is",
        says=("Every score behind these figures was given to a row by a model that had not learned from it.",),
        tables=(measured, *_known(given), *_report(given), simpler),
        pictures=_quality_pictures(given),
    )


def _known(given: Given) -> Iterator[Table]:
    """Where subjects repeat: how much of a subject's other rows the model lives on."""
    folds, task = given.evidence.known_subjects, given.task
    if folds:
        yield Table(
            caption="The same where other rows of the subject were learned from",
            headings=("Metric", "Subjects never seen", "Subjects known"),
            rows=tuple(
                (metric(name).label, *(wording.spread(task, name, part[name]["mean"], part[name]["sd"])
                                       for part in (given.evidence.metrics, folds)))
                for name in folds
                if name in given.evidence.metrics
            ),
        )  # fmt: skip


def _report(given: Given) -> Iterator[Table]:
    """The classification report (S2-35), from the confusion matrix at the threshold."""
    task, confusion = given.task, given.evidence.confusion
    if not confusion or not isinstance(task, Classification):
        return
    (true_no, false_yes), (false_no, true_yes) = confusion
    no, yes = (true_no, true_no + false_no, true_no + false_yes), (true_yes, true_yes + false_yes, false_no + true_yes)
    yield Table(
        caption="By answer, at the threshold",
        headings=("Answer", "Precision", "Recall", "F1", "Rows"),
        rows=tuple(
            (word, share(right / max(said, 1)), share(right / max(were, 1)),
             figure(2 * right / max(said + were, 1)), count(were))
            for word, (right, said, were) in zip(task.verdicts, (no, yes), strict=True)
        ),
    )  # fmt: skip


def _measured(given: Given, name: str) -> Cells:
    folds, task = given.evidence.metrics.get(name), given.task
    mean = wording.spread(task, name, folds["mean"], folds["sd"]) if folds else "–"
    return metric(name).label, mean, estimate(task, name, given.evidence.intervals.get(name)), metric(name).says


def _simpler(given: Given, name: str, mean: float) -> Cells:
    task, own = given.task, given.evidence.metrics.get(given.task.metric)
    gain = (own["mean"] - mean) * (1 if task.larger_is_better else -1) if own else float("nan")
    return rival(name), shown(task, task.metric, mean), shown(task, task.metric, gain, sign=True)


def _quality_pictures(given: Given) -> tuple[Picture, ...]:
    name = metric(given.task.metric).label
    found = [Picture(name="baselines.png", alt=f"{name} of this version beside the trivial answer and each algorithm.")]
    if given.evidence.confusion:
        (calm, alarms), (missed, hits) = given.evidence.confusion
        events, others = f"{count(hits)} events warned of, {count(missed)} missed", f"{count(alarms)} false alarms"
        alt = f"Confusion matrix: {events}, {others}, {count(calm)} rightly calm."
        found.append(Picture(name="confusion_matrix.png", alt=alt))
    area = estimate(given.task, "roc_auc", given.evidence.intervals.get("roc_auc"))
    curves = f"ROC and precision-recall curves with the threshold marked; ROC-AUC {area}."
    scatter = (
        f"Forecast against outcome of {count(len(given.evidence.forecasts))} rows, with the line of perfect forecasts."
    )
    return (*found, Picture(name="roc_precision_recall.png", alt=curves), Picture(name="forecasts.png", alt=scatter))


def comparisons(given: Given) -> Section:
    """Whether the difference to each rival is more than chance."""
    rows = tuple(_comparison(given, found) for found in given.evidence.comparisons)
    told = "; ".join(f"{row[0]}: {row[2]}" for row in rows)
    table = Table(
        caption="Gain over each rival on the same folds",
        headings=("Against", "Metric", "Gain", "90 % interval", "p of no difference"),
        rows=rows,
    )
    return Section(
        title="Against what it is held",
        says=(
            "A positive gain means that this version is better. Intervals are by the corrected standard error "
            "(Nadeau & Bengio 2003), since folds share their training rows."
            if rows
            else "There was nothing to compare with.",
        ),
        tables=(table,),
        pictures=(Picture(name="comparisons.png", alt=f"Gain of this version with 90 % interval. {told}."),),
    )


def _comparison(given: Given, found: Comparison) -> Cells:
    task, name = given.task, found.metric
    p = "< 0.001" if found.p < 0.001 else figure(found.p)
    gain = shown(task, name, found.gain, sign=True)
    return rival(found.against), metric(name).label, gain, interval(task, name, found, sign=True), p


def scores(given: Given) -> Section:
    """Calibration and the threshold, or the interval."""
    bins = Table(
        caption="Rows of like score, and what came true",
        headings=("Mean score", "Mean outcome", "Rows"),
        rows=tuple(
            (_score(given, part.score), _score(given, part.outcome), count(part.rows))
            for part in given.evidence.reliability.get("chosen", [])
        ),
    )
    pictures = (
        Picture(
            name="calibration.png",
            alt=f"Share of events against probability, before and after calibration; {_ece(given)}",
        ),
        Picture(name="reliability.png", alt="Mean outcome of rows with like forecasts, against the mean forecast."),
    )
    events = isinstance(given.task, Classification)
    title = "Calibration and threshold" if events else "Forecasts and their interval"
    says = _calibration(given) if events else ()
    return Section(title=title, says=(*says, *_rule(given)), tables=(_losses(given), bins), pictures=pictures)


def _score(given: Given, value: float) -> str:
    return share(value) if isinstance(given.task, Classification) else f"{figure(value)} {given.task.unit}"


def _ece(given: Given) -> str:
    found = given.evidence.metrics.get("ece")
    return f"the calibration error is {share(found['mean'])}." if found else "the calibration error was not measured."


def _calibration(given: Given) -> Cells:
    method = wording.CALIBRATIONS.get(given.evidence.calibration, given.evidence.calibration)
    return (f"Calibration: {method}. Of the methods, the one with the least log loss was chosen; {_ece(given)}",)


def _losses(given: Given) -> Table:
    return Table(
        caption="Cross-validated log loss of each calibration (less is better)",
        headings=("Calibration", "Log loss"),
        rows=tuple(
            (wording.CALIBRATIONS.get(name, name), figure(loss))
            for name, loss in given.evidence.calibration_loss.items()
        ),
    )


def _rule(given: Given) -> Cells:
    rule, task = given.part("rule"), given.task
    if isinstance(task, Classification) and "threshold" in rule:
        return (f"From a probability of {share(rule['threshold'])} the answer is “{task.verdicts[1]}”.",)
    if isinstance(task, Regression) and "coverage" in rule:
        below, above = figure(rule["below"]), figure(rule["above"])
        unit = task.unit if task.steady == inf else f"times ({task.steady:g} {task.unit} + the forecast)"
        reach = f"from {below} below the forecast to {above} above it, {unit}"
        return (f"The interval that is to hold {share(rule['coverage'])} of the outcomes reaches {reach}.",)
    return ()


def directions(given: Given) -> Section:
    """Whether scores move where everybody knows they must."""
    unit = "points" if isinstance(given.task, Classification) else given.task.unit
    factor = 100 if isinstance(given.task, Classification) else 1
    table = Table(
        caption="Everybody's field moved, all else the same",
        headings=("Field", "From", "To", f"Mean score moved, {unit}", "Verdict"),
        rows=tuple(
            (
                d.field,
                str(d.low),
                str(d.high),
                figure(factor * d.effect, sign=True),
                "✓ passed" if d.passed else "✗ fell",
            )
            for d in given.evidence.directions
        ),
    )
    says = "The mean score must not fall." if table.rows else "The use case declares no directional tests."
    return Section(title="Directional tests", says=(says,), tables=(table,))


def importance(given: Given) -> Section:
    """Which raw fields move scores."""
    ranked = sorted(given.evidence.importance.items(), key=lambda item: -item[1])
    total, unit = sum(value for _, value in ranked) or 1.0, given.task.margin_unit
    table = Table(
        caption="Mean absolute contribution of each field",
        headings=("Field", f"Contribution, {unit}", "Share of all"),
        rows=tuple((name, figure(value), share(value / total)) for name, value in ranked),
    )
    top = ", ".join(name for name, _ in ranked[:3])
    return Section(
        title="What moves the scores",
        says=(f"What a field adds to the score is told in {unit}: what the model uses, not what causes the outcome.",),
        tables=(table,),
        pictures=(Picture(name="importance.png", alt=f"Bars of each field's contribution; the largest are {top}."),),
    )

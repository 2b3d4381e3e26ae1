"""What the card says around the evidence: what the version is for, who let it in, what it was made from, its limits."""

from collections.abc import Iterable, Iterator
from typing import Any

from forewarn.tasks import Classification
from training import wording
from training.card.sections import Cells, Given, Picture, Section, Table, status
from training.wording import count, share


def purpose(given: Given) -> Section:
    """What it is, and what it must not be used for."""
    task = given.task
    if isinstance(task, Classification):
        asked = f"It gives the probability of “{task.verdicts[1]}”, a verdict by a threshold, and a risk level."
    else:
        asked = f"It forecasts an amount in {task.unit}, with an interval that is to hold 9 of 10 outcomes."
    return Section(
        title="What it is for",
        says=(
            f"{given.case.title}. {asked} The model: {wording.algorithm(given.metadata.get('algorithm', 'unknown'))}.",
            "Made for: showing people what to look at first, with the reasons. A person looks, and a person decides.",
            "Not to be used for: automatic decisions about people; judging a person without hearing them; rows from "
            "elsewhere than the data described below; saying what causes the event.",
        ),
    )


def decision(given: Given) -> Section:
    """Where the version stands, and every gate's reason."""
    verdict = given.verdict
    by = f" by {verdict['by']}" if verdict.get("by") else ""
    why = f" Why: {verdict['why']}" if verdict.get("why") else ""
    gates = Table(
        caption="Gates",
        headings=("Gate", "Verdict", "Reason"),
        rows=tuple(
            (str(check["gate"]), "✓ passed" if check["passed"] else "✗ failed", str(check["says"]))
            for check in verdict["checks"]
        ),
    )
    return Section(title="Status and gates", says=(f"{status(verdict)}{by}.{why}",), tables=(gates,))


def data(given: Given) -> Section:
    """Which rows it learned from, and how good their table was."""
    origin, found = given.part("data"), given.part("quality")
    facts = (
        ("Name", str(origin.get("name", "–"))),
        ("SHA-256", str(origin.get("sha256", "–"))),
        ("Rows learned from", count(origin.get("rows"))),
        ("Rows rejected", count(origin.get("rejected"))),
        ("Rows that repeat a subject", count(found.get("duplicates"))),
        ("Columns that were not there", _listed(found.get("absent"))),
        ("Columns too empty to be used", _listed(found.get("dropped"))),
    )
    return Section(title="Data", says=tuple(_violations(given)), tables=(_facts("Where from", facts), _columns(given)))


def _violations(given: Given) -> Iterator[str]:
    found = given.part("quality")
    violations = [str(violation) for violation in found.get("violations") or ()]
    yield f"The quality gate refused: {'; '.join(violations)}." if violations else "The quality gate refused nothing."
    if found.get("override"):
        yield f"The gate was overridden. The reason given: {found['override']}"


def _columns(given: Given) -> Table:
    found = given.part("quality")
    missing, outliers = found.get("missing") or {}, found.get("outliers") or {}
    return Table(
        caption="Quality of each column",
        headings=("Column", "Missing", "Outliers"),
        rows=tuple((name, share(part), count(outliers.get(name))) for name, part in missing.items()),
    )


def fields(given: Given) -> Section:
    """What the model may know, and what it never learns."""
    case = given.case
    used = {spec.name for spec in case.inputs}
    return Section(
        title="What the model knows",
        says=(
            f"Protected fields, which the model never receives: {_named(given, case.protected)}.",
            f"Sensitive fields, which it uses and no answer repeats: {_named(given, case.sensitive & used)}.",
            f"Left out since they teach nothing: {_named(given, case.unused)}.",
            f"Columns that it computes with: {_listed(given.metadata.get('fields'))}.",
        ),
    )


def _named(given: Given, names: Iterable[str]) -> str:
    """By the names that answers use, in the schema's order."""
    wanted = set(names)
    return _listed(spec.wire for spec in given.case.fields if spec.name in wanted)


def search(given: Given) -> Section:
    """How its parameters were found, and what they are."""
    trials = given.evidence.trials
    stopped = sum(not trial.whole for trial in trials)
    parameters = Table(
        caption="Parameters",
        headings=("Algorithm", "Parameter", "Value"),
        rows=tuple(
            (wording.algorithm(algorithm), name, _setting(value))
            for algorithm, found in given.part("parameters").items()
            for name, value in found.items()
        ),
    )
    asked = given.metadata.get("trials", len(trials))
    says = f"{count(asked)} trials, {count(stopped)} of them stopped early since they fell behind."
    alt = (
        f"Score of each of {count(len(trials))} trials in order, {count(stopped)} stopped early, with the best so far."
    )
    pictures = (Picture(name="search.png", alt=alt),)
    tables = (parameters, *_balances(given))
    return Section(title="Search and parameters", says=(says, *_blend(given)), tables=tables, pictures=pictures)


def _balances(given: Given) -> Iterator[Table]:
    """What each way to balance rare events reached, where several were tried."""
    found, task = given.evidence.balances, given.task
    if len(found) > 1:
        yield Table(
            caption="Rare events, balanced in the training rows of each fold",
            headings=("Way", "Best mean over the search's folds"),
            rows=tuple((way, wording.figure(score)) for way, score in sorted(found.items(), key=lambda one: one[1],
                                                                             reverse=task.larger_is_better)),
        )  # fmt: skip


def _blend(given: Given) -> Cells:
    parts, part = str(given.metadata.get("algorithm", "")), given.metadata.get("first_share", 1.0)
    if "+" not in parts:
        return ()
    first, second = (wording.algorithm(name) for name in parts.split("+", 1))
    return (f"Blended: {share(part)} {first}, {share(1 - part)} {second}, by their margins.",)


def provenance(given: Given) -> Section:
    """Enough to make it again."""
    known = given.metadata
    seconds = known.get("duration_s")
    facts = (
        ("Version", str(known.get("version", "not registered yet"))),
        ("Made", wording.moment(str(known.get("created", "")))),
        ("Training took", "–" if seconds is None else f"{wording.figure(seconds)} s"),
        ("Seed", str(known.get("seed", "–"))),
        ("Commit", str(known.get("git_sha", "–"))),
        ("Training run", str(known.get("mlflow_run", "–"))),
        *((name, str(release)) for name, release in given.part("environment").items()),
    )
    return Section(title="How it was made", tables=(_facts("Provenance", facts),))


def limits(given: Given) -> Section:
    """What none of the figures above can say."""
    small = given.evidence.fairness.too_small
    unjudged = f"Nothing is known of how fair it is to groups that are too small: {'; '.join(small)}." if small else ""
    return Section(
        title="Known limits",
        says=(
            "Intervals are over the rows of this one data set: they say how much another draw of like rows would move "
            "a figure, and not how much another place or another year would.",
            "The version was never tried elsewhere than on these rows.",
            *filter(None, (unjudged,)),
            "Labels are taken as they are: where what came true was written down wrongly or unfairly, the model "
            "learned that too.",
        ),
    )


def _facts(caption: str, facts: tuple[tuple[str, str], ...]) -> Table:
    return Table(caption=caption, headings=("What", "Value"), rows=facts)


def _listed(names: Any) -> str:
    return ", ".join(str(name) for name in names or ()) or "none"


def _setting(value: Any) -> str:
    return wording.brief(value) if isinstance(value, float) else str(value)

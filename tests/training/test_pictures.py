from dataclasses import replace
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from matplotlib import image
from sklearn import metrics as sk

from forewarn import performance
from forewarn.estimators import FITTERS
from forewarn.evidence import (
    Bin,
    Comparison,
    Direction,
    Estimate,
    Evidence,
    FairnessReport,
    GroupGap,
    Imbalance,
    Slice,
    Trial,
)
from forewarn.tasks import Classification, Vector
from forewarn.usecase import UseCase
from tests.conftest import CASES, quick
from training import data
from training.pictures import pictures
from training.pictures.charts import BLUE, ORANGE, VERMILLION

pytestmark = pytest.mark.slow

EVENTS = next(case for case in CASES if isinstance(case.task, Classification))
AMOUNTS = next(case for case in CASES if not isinstance(case.task, Classification))
KINDS = pytest.mark.parametrize("case", [EVENTS, AMOUNTS], ids=["events", "amounts"])


def about(value: float, width: float = 0.05) -> Estimate:
    return Estimate(value=value, low=value - width, high=value + width)


@cache
def example(case: UseCase, n: int = 300) -> Evidence:
    """A real model's scores on made-up rows, with the rest of the evidence made up around them."""
    labels, scores = held_out(case, n)
    rule = performance.learn_rule(case.task, labels, scores)
    measured = performance.measure(case.task, labels, scores, rule)
    measured |= {"ece": 0.034} if isinstance(case.task, Classification) else {}
    width = 0.03 if isinstance(case.task, Classification) else 0.6
    evidence = Evidence(
        metrics={name: {"mean": value, "sd": 0.02} for name, value in measured.items()},
        intervals={name: about(value, width) for name, value in measured.items()},
        baselines=simpler(case, measured),
        comparisons=rivals(case),
        fairness=groups(case, n),
        slices=parts(case, measured[case.task.metric], n, width),
        directions=[Direction(field=case.inputs[0].wire, low=1, high=5, effect=0.021, passed=True)],
        importance={spec.wire: 0.8 / (place + 1) for place, spec in enumerate(case.inputs)},
        trials=trials(case, measured[case.task.metric]),
        reliability={"chosen": bins(labels, scores)},
    )
    return (
        curves(evidence, labels, scores, rule)
        if isinstance(case.task, Classification)
        else amounts(evidence, labels, scores)
    )


def held_out(case: UseCase, n: int) -> tuple[Vector, Vector]:
    labels, scores = [], []
    name = case.task.algorithms[0]
    for fold in data.folds(data.examples(case, case.sample(n, seed=3)), repeats=1, seed=0):
        fitted = FITTERS[name](fold.train, fold.train_labels, fold.levels, seed=0, **quick(name))
        labels.append(fold.test_labels)
        scores.append(case.task.scores(fitted.margins(fold.test)))
    return np.concatenate(labels), np.concatenate(scores)


def simpler(case: UseCase, measured: dict[str, float]) -> dict[str, float]:
    trivial = {"majority": 0.5} if isinstance(case.task, Classification) else {"median": measured["median_mae"]}
    worse = 0.97 if case.task.larger_is_better else 1.04
    return trivial | dict.fromkeys(case.task.algorithms, measured[case.task.metric] * worse)


def rivals(case: UseCase) -> list[Comparison]:
    trivial = ("majority", "log_loss") if isinstance(case.task, Classification) else ("median", case.task.metric)
    found = [(*trivial, 0.11), (case.task.algorithms[1], case.task.metric, 0.012), ("v3", case.task.metric, -0.003)]
    return [
        Comparison(against=against, metric=metric, gain=gain, low=gain - 0.02, high=gain + 0.02, p=0.2)
        for against, metric, gain in found
    ]


def groups(case: UseCase, n: int) -> FairnessReport:
    field = case.spec[min(case.protected)].wire if case.protected else case.inputs[0].wire
    events = isinstance(case.task, Classification)
    names = ("recall", "false_positive_rate", "selection_rate", "selection_ratio") if events else ("mae", "mean_error")
    after = [
        gap(field, group, metric, n // 3, place)
        for place, group in enumerate(("18 to 33", "34 to 40", "41 to 60"))
        for metric in names
    ]
    before = Imbalance(
        field=field,
        group="18 to 33",
        rows=n // 3,
        events=31 if events else None,
        class_imbalance=0.33,
        positive_difference=about(0.08),
    )
    return FairnessReport(
        before=[before],
        after=after,
        too_small=["Gender: Diverse (4 rows)"],
        overall={field: {"demographic_parity_ratio": 0.71}},
    )


def gap(field: str, group: str, metric: str, rows: int, place: int) -> GroupGap:
    limit = {"recall": 0.2, "false_positive_rate": 0.2, "mae": 1.5}.get(metric)
    breached = place == 0 and metric in ("recall", "mae")
    if metric in ("mae", "mean_error"):
        found = about(2.9 if breached else 0.4 - place * 0.5, 0.9)
    else:
        found = (
            about(0.31 if breached else 0.08 - place * 0.06, 0.09)
            if metric != "selection_ratio"
            else about(0.8 - 0.05 * place, 0.1)
        )
    return GroupGap(
        field=field,
        group=group,
        rows=rows,
        events=20,
        metric=metric,
        group_value=0.62,
        others_value=0.51,
        gap=found,
        limit=limit,
        breached=breached,
    )


def parts(case: UseCase, overall: float, n: int, width: float) -> list[Slice]:
    one, two = (spec.wire for spec in case.inputs[1:3])
    found = [
        (one, "Low", 0.4, 0.02),
        (one, "Middle", 0.35, 0.0),
        (one, "High", 0.25, -0.05),
        (two, "Yes", 0.3, -0.02),
        (two, "No", 0.68, 0.01),
    ]
    said = [
        Slice(
            field=field,
            group=group,
            rows=int(n * part),
            events=int(n * part / 6) if isinstance(case.task, Classification) else None,
            metrics={case.task.metric: about(overall * (1 + off), 1.5 * width)},
        )
        for field, group, part, off in found
    ]
    return [*said, Slice(field=two, group="Unknown", rows=6, events=1)]


def trials(case: UseCase, best: float) -> list[Trial]:
    random = np.random.default_rng(0)
    worse = random.exponential(0.03, 40) * np.linspace(2, 1, 40) * best
    scores = best - worse if case.task.larger_is_better else best + worse
    return [
        Trial(name=f"t{n}", algorithm=case.task.algorithms[n % 2], score=float(score), whole=n % 3 != 2)
        for n, score in enumerate(scores)
    ]


def bins(labels: Vector, scores: Vector) -> list[Bin]:
    return [
        Bin(score=float(scores[part].mean()), outcome=float(labels[part].mean()), rows=len(part))
        for part in np.array_split(np.argsort(scores), 10)
    ]


def curves(evidence: Evidence, labels: Vector, scores: Vector, rule: dict[str, float]) -> Evidence:
    fpr, recall, _ = sk.roc_curve(labels, scores)
    precision, hit, _ = sk.precision_recall_curve(labels, scores)
    chosen = evidence.reliability["chosen"]
    raw = [replace(part, score=min(1.0, part.score * 1.5)) for part in chosen]
    return replace(
        evidence,
        calibration="platt",
        calibration_loss={"none": 0.391, "platt": 0.372, "isotonic": 0.38},
        reliability={"raw": raw, "chosen": chosen},
        confusion=sk.confusion_matrix(labels, scores >= rule["threshold"]).tolist(),
        roc=list(zip(fpr.tolist(), recall.tolist(), strict=True)),
        precision_recall=list(zip(hit.tolist(), precision.tolist(), strict=True)),
    )


def amounts(evidence: Evidence, labels: Vector, scores: Vector) -> Evidence:
    return replace(evidence, forecasts=list(zip(scores.tolist(), labels.tolist(), strict=True)))


EVERYWHERE = {"baselines", "comparisons", "importance", "search", "slices", "fairness"}
PROMISED = {
    EVENTS.name: EVERYWHERE | {"confusion_matrix", "roc_precision_recall", "calibration"},
    AMOUNTS.name: EVERYWHERE | {"forecasts", "reliability"},
}
NOTHING = Evidence(
    metrics={},
    intervals={},
    baselines={},
    comparisons=[],
    fairness=FairnessReport(before=[], after=[], too_small=[]),
    slices=[],
    directions=[],
    importance={},
    trials=[],
    reliability={},
)


@cache
def drawn(case: UseCase) -> dict[str, bytes]:
    return pictures(case, example(case))


def pixels(png: bytes) -> Any:
    """Shape (height, width, 4), each 0 to 1."""
    return image.imread(BytesIO(png))


def coloured(png: bytes, colour: str) -> int:
    """How many pixels are of this very colour."""
    wanted = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)])
    return int((np.abs(pixels(png)[..., :3] * 255 - wanted).max(axis=-1) < 1.5).sum())


@pytest.mark.requirement("S2-35")
@pytest.mark.requirement("S2-36")
@pytest.mark.requirement("S2-95")
@KINDS
def test_every_picture_that_is_promised_is_drawn_and_can_be_read(case: UseCase) -> None:
    assert drawn(case).keys() == {f"{name}.png" for name in PROMISED[case.name]}
    for name, png in drawn(case).items():
        height, width, _ = pixels(png).shape
        assert width == 1280, name
        assert 250 <= height <= 2000, name
        assert coloured(png, "#ffffff") < height * width, name
        assert len(png) < 250_000, name


@KINDS
def test_the_same_evidence_gives_the_same_bytes(case: UseCase) -> None:
    few = replace(NOTHING, importance=example(case).importance, reliability=example(case).reliability)
    assert pictures(case, few) == pictures(case, few)
    assert not [name for name, png in drawn(case).items() if b"Software" in png or b"tIME" in png]


@KINDS
def test_evidence_of_nothing_gives_no_picture_and_no_error(case: UseCase) -> None:
    assert pictures(case, NOTHING) == {}


@KINDS
def test_a_broken_limit_stands_out(case: UseCase) -> None:
    report = example(case).fairness
    calm = replace(report, after=[replace(gap, breached=False) for gap in report.after])
    fine = pictures(case, replace(NOTHING, fairness=calm))["fairness.png"]
    assert coloured(fine, VERMILLION) == 0
    assert coloured(drawn(case)["fairness.png"], VERMILLION) > 50


@KINDS
def test_groups_with_too_few_rows_are_named_and_not_drawn(case: UseCase) -> None:
    few = [replace(part, metrics={}) for part in example(case).slices]
    png = pictures(case, replace(NOTHING, slices=few))["slices.png"]
    assert coloured(png, BLUE) == 0 < coloured(drawn(case)["slices.png"], BLUE)


def test_what_was_not_calibrated_is_drawn_once() -> None:
    same = replace(NOTHING, reliability={**example(EVENTS).reliability})
    assert coloured(pictures(EVENTS, same)["calibration.png"], ORANGE) == 0
    assert coloured(drawn(EVENTS)["calibration.png"], ORANGE) > 0


def test_groups_whose_long_names_begin_alike_stay_apart() -> None:
    one = example(EVENTS).fairness.after[0]
    two = [replace(one, group="z" * 60 + end) for end in "abcdef"]
    reports = [
        replace(NOTHING, fairness=FairnessReport(before=[], after=after, too_small=[])) for after in ([one], two)
    ]
    low, high = (pixels(pictures(EVENTS, report)["fairness.png"]).shape[0] for report in reports)
    assert high > low


@KINDS
@pytest.mark.parametrize("name", ["pay $ and $ more", "x^2 & <b>", "a" * 200])
def test_any_name_can_be_drawn(case: UseCase, name: str) -> None:
    one = Slice(field=name, group=name, rows=40, events=None, metrics={case.task.metric: about(0.7)})
    assert pixels(pictures(case, replace(NOTHING, slices=[one]))["slices.png"]).shape[1] == 1280

import dataclasses

import numpy as np
import pytest
from sklearn import metrics

from forewarn import usecases
from forewarn.evidence import Slice
from forewarn.slices import slices
from forewarn.tasks import Vector

EVENTS = dataclasses.replace(usecases.get("attrition"), slices=("Department", "JobLevel"), edges={"JobLevel": (3,)})
AMOUNTS = dataclasses.replace(usecases.get("absenteeism"), slices=("education",), edges={"education": (2, 3)})
RULE = {"threshold": 0.5}


def made(n: int, *, seed: int = 0) -> tuple[list[dict[str, object]], Vector, Vector]:
    """Scores that are right in Sales and noise in Human Resources."""
    random = np.random.default_rng(seed)
    sales = random.random(n) < 0.5
    labels = (random.random(n) < 0.3).astype(float)
    scores = np.clip(np.where(sales, 0.3 + 0.4 * labels, 0.4) + random.normal(0, 0.15, n), 0, 1).round(2)
    names = np.where(sales, "Sales", "Human Resources")
    return [{"Department": str(name), "JobLevel": 1 + place % 5} for place, name in enumerate(names)], labels, scores


def by_group(found: list[Slice], field: str) -> dict[str, Slice]:
    return {part.group: part for part in found if part.field == field}


def test_each_group_is_measured_by_itself() -> None:
    rows, labels, scores = made(800)
    found = by_group(slices(EVENTS, rows, labels, scores, RULE, seed=1), "Department")
    own = np.array([row["Department"] == "Sales" for row in rows])
    sales = {name: estimate.value for name, estimate in found["Sales"].metrics.items()}
    assert (found["Sales"].rows, found["Sales"].events) == (own.sum(), labels[own].sum())
    assert sales == pytest.approx(
        {
            "roc_auc": metrics.roc_auc_score(labels[own], scores[own]),
            "recall": metrics.recall_score(labels[own], scores[own] >= 0.5),
            "precision": metrics.precision_score(labels[own], scores[own] >= 0.5),
            "calibration_gap": scores[own].mean() - labels[own].mean(),
        }
    )
    assert found["Human Resources"].metrics["roc_auc"].high < found["Sales"].metrics["roc_auc"].low


def test_every_declared_field_is_sliced_in_order() -> None:
    found = slices(EVENTS, *made(400), RULE, seed=1)
    assert [(part.field, part.group) for part in found] == [
        ("Department", "Human Resources"),
        ("Department", "Sales"),
        ("JobLevel", "below 3"),
        ("JobLevel", "3 and more"),
    ]


def test_groups_with_too_few_rows_or_events_are_named_without_figures() -> None:
    rows, labels, scores = made(400)
    rows = [{**row, "Department": "Sales" if place < 29 else None} for place, row in enumerate(rows)]
    labels[29:33], labels[33:] = 1, 0
    found = by_group(slices(EVENTS, rows, labels, scores, RULE, seed=1), "Department")
    assert [(part.rows, part.metrics) for part in found.values()] == [(29, {}), (371, {})]
    assert found["(missing)"].events == 4


def test_where_nobody_is_warned_of_there_is_no_precision() -> None:
    rows, labels, _ = made(400)
    found = slices(EVENTS, rows, labels, np.full(400, 0.2), RULE, seed=1)
    assert all("precision" not in part.metrics and part.metrics["recall"].value == 0 for part in found)
    assert all(part.metrics["roc_auc"].value == 0.5 for part in found)


def test_amounts_are_measured_by_their_errors() -> None:
    random = np.random.default_rng(0)
    labels = random.gamma(2, 4, 300)
    scores = np.where(np.arange(300) < 150, labels + 3, labels)
    rows = [{"education": 1 if place < 150 else 3} for place in range(300)]
    rule = {"below": 2.0, "above": 2.0, "coverage": 0.9}
    case = dataclasses.replace(AMOUNTS, task=dataclasses.replace(AMOUNTS.task, steady=np.inf))
    high, right = slices(case, rows, labels, scores, rule, seed=1)
    assert (high.field, high.group, high.events) == ("Education", "below 2", None)
    assert {name: round(one.value, 6) for name, one in high.metrics.items()} == {
        "mae": 3.0,
        "mean_error": 3.0,
        "coverage": 0.0,
    }
    assert (right.metrics["mae"].value, right.metrics["coverage"].value) == (0.0, 1.0)


@pytest.mark.slow
def test_intervals_hold_the_truth_nineteen_times_of_twenty_and_are_seeded() -> None:
    case = dataclasses.replace(EVENTS, slices=("Department",))
    rows, labels, scores = made(200_000, seed=99)
    sales = np.array([row["Department"] == "Sales" for row in rows])
    truth = metrics.recall_score(labels[sales], scores[sales] >= 0.5)
    held = []
    for seed in range(100):
        found = by_group(slices(case, *made(300, seed=seed), RULE, seed=seed), "Department")
        held.append(found["Sales"].metrics["recall"].low <= truth <= found["Sales"].metrics["recall"].high)
    assert np.mean(held) > 0.87  # the percentile bootstrap of some 45 events holds a little less than it says
    assert slices(case, *made(300), RULE, seed=3) == slices(case, *made(300), RULE, seed=3)

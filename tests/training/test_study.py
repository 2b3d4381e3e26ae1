"""What a study leaves in the registry, against a real one; tests/story runs whole trainings."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from mlflow import MlflowClient

from forewarn import usecases
from forewarn.errors import CannotStart
from forewarn.registry import Registry
from forewarn.settings import Settings
from forewarn.spaces import STARTING_POINTS
from training import tune
from training.order import Order
from training.study import Study

ORDER = Order(
    case=usecases.get("attrition"),
    raw=[],
    origin={"name": "rows.csv"},
    budget=tune.Budget(trials=4, seconds=1),
    by="ada",
)
TRIAL = tune.Finished(
    number=7, algorithm="logistic", params=STARTING_POINTS["logistic"][0], balance="smote", score=0.8, seen=[0.7, 0.8],
    whole=False, seconds=0.1,
)  # fmt: skip


def runs(settings: Settings) -> dict[str, Any]:
    client = MlflowClient(tracking_uri=settings.mlflow_uri)
    experiment = client.get_experiment_by_name(ORDER.case.name)
    assert experiment is not None
    return {run.info.run_name: run.data for run in client.search_runs([experiment.experiment_id])}


@pytest.mark.requirement("S2-37")
def test_a_trial_that_was_noted_but_not_registered_is_caught_up_on_once(settings: Settings) -> None:
    """The driver was killed between the two."""
    study = Study.open(ORDER, settings)
    (study._folder / tune.FINISHED).write_text(json.dumps(asdict(TRIAL)) + "\n")
    for _ in range(2):
        study._catch_up()
    assert Registry(settings).trials(ORDER.case, study._parent) == {"logistic-007"}
    logged = runs(settings)
    assert logged["logistic-007"].params == {"algorithm": "logistic", "balance": "smote", "C": "0.1"}
    assert logged["logistic-007"].metrics == {"roc_auc": 0.8, "folds": 2, "seconds": 0.1}
    assert logged["logistic-007"].tags["stopped_early"] == "True"
    assert logged["search"].params["preset"] == "default"
    assert logged["search"].tags["trained_by"] == "ada"


def test_the_same_order_is_one_study_and_another_seed_is_another(settings: Settings) -> None:
    study = Study.open(ORDER, settings)
    with pytest.raises(CannotStart, match="is running already; wait for it, or give another --seed"):
        Study.open(replace(ORDER, budget=tune.Budget(trials=80, seconds=60)), settings)
    other = Study.open(replace(ORDER, seed=1), settings)
    assert other._folder != study._folder
    assert other._parent != study._parent

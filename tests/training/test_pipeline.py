"""What a study leaves in the registry, against a real one; tests/story runs whole trainings."""

import json
from dataclasses import asdict

from forewarn import usecases
from forewarn.registry import Registry
from forewarn.settings import Settings
from forewarn.spaces import STARTING_POINTS
from training import tune
from training.pipeline import Order, Study


def test_a_trial_that_was_noted_but_not_registered_is_caught_up_on_once(settings: Settings) -> None:
    """The driver was killed between the two."""
    case = usecases.get("attrition")
    budget = tune.Budget(trials=4, seconds=1)
    study = Study.open(Order(case=case, raw=[], origin={"name": "rows.csv"}, budget=budget), settings)
    trial = tune.Finished(
        name="logistic-1", algorithm="logistic", params=STARTING_POINTS["logistic"][0], score=0.8, folds=10, whole=True,
        seconds=0.1,
    )  # fmt: skip
    (study._folder / tune.FINISHED).write_text(json.dumps(asdict(trial)) + "\n")
    for _ in range(2):
        study._catch_up()
    registry = Registry(settings)
    assert registry.trials(case, study._parent) == {"logistic-1"}

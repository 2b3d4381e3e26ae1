"""Against a real MLflow on SQLite."""

from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from forewarn import scoring
from forewarn.errors import NotFound
from forewarn.package import ModelPackage
from forewarn.registry import PARENT, Registry
from forewarn.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("registry"))


@pytest.fixture(scope="module")
def registry(home: Settings) -> Registry:
    return Registry(home)


@pytest.fixture(scope="module")
def registered(registry: Registry, package: ModelPackage, tmp_path_factory: pytest.TempPathFactory) -> str:
    run = registry.start_run(package.case, "search", params={"trials": 1}, tags={"use_case": package.case.name})
    registry.log_trial(
        package.case, run, "t1", params={"C": 0.1}, metrics={"roc_auc": 0.8}, tags={"stopped_early": "no"}
    )
    version = registry.register(package.case, run, package.save(tmp_path_factory.mktemp("saved") / "package"))
    registry.alias(package.case, "champion", version)
    assert registry.trials(package.case, run) == {"t1"}
    registry.finish_run(run, metrics={"roc_auc": 0.81})
    return version


def test_the_alias_names_the_champion(registry: Registry, package: ModelPackage, registered: str) -> None:
    assert registered == "v1"
    assert registry.aliased(package.case, "champion") == "v1"


def test_a_fetched_version_is_the_package_that_was_registered(
    registry: Registry, package: ModelPackage, registered: str
) -> None:
    rows = scoring.validate(package.case, package.case.sample(50, seed=3)).values
    fetched = ModelPackage.load(package.case, registry.fetch(package.case, registered), version=registered)
    np.testing.assert_array_equal(fetched.predict(fetched.prepare(rows)), package.predict(package.prepare(rows)))


def test_an_unknown_version_is_named(registry: Registry, package: ModelPackage, registered: str) -> None:
    with pytest.raises(NotFound, match="no registered version v99"):
        registry.fetch(package.case, "v99")


def test_trials_are_nested_below_their_search(home: Settings, package: ModelPackage, registered: str) -> None:
    client = MlflowClient(tracking_uri=home.mlflow_uri)
    experiment = client.get_experiment_by_name(package.case.name)
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs["t1"].data.tags[PARENT] == runs["search"].info.run_id
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert Path(experiment.artifact_location.removeprefix("file://")).is_relative_to(home.home)


def test_the_registered_model_is_a_plain_mlflow_model(home: Settings, package: ModelPackage, registered: str) -> None:
    mlflow.set_tracking_uri(home.mlflow_uri)
    model = mlflow.pyfunc.load_model(f"models:/{package.case.name}@champion")
    raw = package.case.sample(20, seed=3)
    fields = package.case.fields
    frame = pd.DataFrame(raw).reindex(columns=[spec.wire for spec in fields])
    coded = [spec.wire for spec in fields if spec.kind == "number" or isinstance((*spec.levels, "")[0], int)]
    frame = frame.astype({spec.wire: "float64" if spec.wire in coded else object for spec in fields})
    expected = scoring.score(package, scoring.validate(package.case, raw).values).values
    np.testing.assert_array_equal(model.predict(frame)["score"].to_numpy(), expected)
    with pytest.raises(mlflow.exceptions.MlflowException, match="schema"):
        model.predict(frame.drop(columns=[spec.wire for spec in package.case.fields if spec.required]))


def test_an_alias_is_moved_and_taken_away(settings: Settings, package: ModelPackage, tmp_path: Path) -> None:
    registry = Registry(settings)
    run = registry.start_run(package.case, "search", params={}, tags={})
    for number in (1, 2):
        registry.register(package.case, run, package.save(tmp_path / str(number)))
    for version in ("v1", "v2", None, None):
        registry.alias(package.case, "champion", version)
        assert registry.aliased(package.case, "champion") == version


def test_two_registries_in_one_process_give_each_its_own(
    settings: Settings, package: ModelPackage, tmp_path: Path
) -> None:
    """Both call their first version v1."""
    homes = [settings.model_copy(update={"home": tmp_path / name}) for name in ("one", "other")]
    for number, home in enumerate(homes):
        registry = Registry(home)
        run = registry.start_run(package.case, "search", params={}, tags={})
        registry.register(package.case, run, replace(package, record={"number": number}).save(tmp_path / str(number)))
    found = [ModelPackage.load(package.case, Registry(home).fetch(package.case, "v1")).record for home in homes]
    assert found == [{"number": 0}, {"number": 1}]

"""A package as a plain file for joblib and as a plain MLflow model: neither needs anything of the service."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from forewarn import scoring, usecases
from forewarn.errors import BadInput, PackageDamaged
from forewarn.package import ModelPackage
from forewarn.pyfunc import PackageModel, _load_pyfunc
from forewarn.registry import Registry
from forewarn.settings import Settings
from forewarn.tasks import Classification, Vector
from tests.conftest import fitted

pytestmark = pytest.mark.slow

SERVICE = ("ray", "fastapi", "starlette", "uvicorn", "typer", "rich", "optuna", "fairlearn", "imblearn", "matplotlib")
NEEDED_BY_MLFLOW = ("fastapi", "starlette")
# Trees with a linear model, and trees with support vectors: what an event and an amount are made of.
BOTH = [fitted(usecases.get(name), seed=1) for name in ("attrition", "absenteeism")]
# A process that cannot import what it is told not to: paths and rows in, scores as exact hexadecimals out.
REFUSING = """
import importlib, importlib.abc, json, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ImportError(name + " is not here")

sys.meta_path.insert(0, Refuse())
refused = ()
reader, refused, models = json.load(sys.stdin)
module = importlib.import_module(reader[0])
import pandas as pd

for path, frame in models:
    model = getattr(module, reader[1])(path)
    scores = model.predict(pd.DataFrame(frame["rows"]).astype(frame["types"]))["score"]
    print(json.dumps([value.hex() for value in scores.tolist()]))
print(json.dumps(sys.modules["forewarn"].__file__))
"""


@pytest.fixture
def model(package: ModelPackage, tmp_path: Path) -> PackageModel:
    return PackageModel(package.save(tmp_path / "package"))


def frame_of(package: ModelPackage, n: int = 30) -> pd.DataFrame:
    return pd.DataFrame(package.case.sample(n, seed=3))


def scores_of(package: ModelPackage, n: int = 30) -> Vector:
    return scoring.score(package, scoring.validate(package.case, package.case.sample(n, seed=3)).values).values


def test_a_frame_is_scored_as_the_service_would(package: ModelPackage, model: PackageModel) -> None:
    found = model.predict(frame_of(package))
    assert list(found.columns) == ["score"]
    np.testing.assert_array_equal(found["score"], scores_of(package))


def test_what_is_missing_in_a_frame_is_not_sent(package: ModelPackage, model: PackageModel) -> None:
    optional = [spec.wire for spec in package.case.fields if not spec.required]
    bare = frame_of(package).drop(columns=optional, errors="ignore")
    empty = bare.assign(**dict.fromkeys(optional, np.nan))
    np.testing.assert_array_equal(model.predict(empty)["score"], model.predict(bare)["score"])


@pytest.mark.requirement("S0-09")
@pytest.mark.requirement("S2-38")
@pytest.mark.parametrize("way", ["pickle", "joblib"])
def test_what_was_pickled_scores_the_same_bits(
    package: ModelPackage, model: PackageModel, way: str, tmp_path: Path
) -> None:
    if way == "pickle":
        loaded = pickle.loads(pickle.dumps(model))
    else:
        joblib.dump(model, tmp_path / "model.pkl")
        loaded = joblib.load(tmp_path / "model.pkl")
    np.testing.assert_array_equal(loaded.predict(frame_of(package))["score"], scores_of(package))
    assert pickle.dumps(loaded) == pickle.dumps(model)


@pytest.mark.requirement("S2-73")
def test_a_pickle_whose_model_was_tampered_with_is_refused(package: ModelPackage, model: PackageModel) -> None:
    whole = pickle.dumps(model)
    name = package.features.derived[0].encode() if package.features.derived else package.case.inputs[0].name.encode()
    assert name in whole
    with pytest.raises(PackageDamaged, match="has changed since it was written"):
        pickle.loads(whole.replace(b'"' + name + b'"', b'"' + name[::-1] + b'"'))


def test_probabilities_come_in_two_columns_and_amounts_in_none(package: ModelPackage, model: PackageModel) -> None:
    if not isinstance(package.case.task, Classification):
        with pytest.raises(BadInput, match=f"{package.case.name} forecasts an amount, which has no probability"):
            model.predict_proba(frame_of(package))
        return
    found = model.predict_proba(frame_of(package))
    assert found.shape == (30, 2)
    np.testing.assert_array_equal(found[:, 1], scores_of(package))
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_mlflows_entry_point_reads_a_packages_folder(package: ModelPackage, tmp_path: Path) -> None:
    loaded = _load_pyfunc(str(package.save(tmp_path / "package")))
    np.testing.assert_array_equal(loaded.predict(frame_of(package), params={})["score"], scores_of(package))


def logged(registry: Registry, package: ModelPackage, folder: Path) -> Path:
    run = registry.start_run(package.case, "search", params={}, tags={})
    version = registry.register(package.case, run, package.save(folder))
    return registry.fetch(package.case, version).parents[1]


def asked(package: ModelPackage) -> dict[str, Any]:
    fields = [spec for spec in package.case.fields if spec.wire in frame_of(package).columns]
    coded = [spec for spec in fields if spec.kind == "number" or isinstance((*spec.levels, "")[0], int)]
    types = {spec.wire: "float64" if spec in coded else "object" for spec in fields}
    return {"rows": json.loads(frame_of(package)[list(types)].to_json(orient="records")), "types": types}


def elsewhere(reader: tuple[str, str], refused: list[str], paths: list[Path], folder: Path) -> list[Any]:
    """Read models in a process of its own; each one's scores, and last where Forewarn's code came from."""
    given = [(str(path), asked(package)) for path, package in zip(paths, BOTH, strict=True)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FOREWARN"))}
    done = subprocess.run(
        [sys.executable, "-c", REFUSING], input=json.dumps([reader, refused, given]), env=environment, cwd=folder,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *scores, where = (json.loads(line) for line in done.stdout.splitlines())
    return [*([float.fromhex(value) for value in one] for one in scores), where]


@pytest.mark.requirement("S0-09")
@pytest.mark.requirement("S2-38")
def test_a_joblib_file_scores_the_same_bits_without_the_service_and_without_mlflow(tmp_path: Path) -> None:
    paths = [tmp_path / f"{package.case.name}.pkl" for package in BOTH]
    for package, path in zip(BOTH, paths, strict=True):
        joblib.dump(PackageModel(package.save(tmp_path / package.case.name)), path)
    refused = [*SERVICE, "mlflow", "sqlalchemy", "httpx", "jinja2", "psutil"]
    *scores, _ = elsewhere(("joblib", "load"), refused, paths, tmp_path)
    assert scores == [scores_of(package).tolist() for package in BOTH]


@pytest.mark.requirement("S0-09")
@pytest.mark.requirement("S2-38")
def test_a_logged_model_scores_the_same_bits_by_the_code_that_it_brings(settings: Settings, tmp_path: Path) -> None:
    """MLflow itself asks for some of the service's libraries; the others are refused."""
    registry = Registry(settings)
    paths = [logged(registry, package, tmp_path / package.case.name) for package in BOTH]
    refused = [name for name in SERVICE if name not in NEEDED_BY_MLFLOW]
    *scores, where = elsewhere(("mlflow.pyfunc", "load_model"), refused, paths, tmp_path)
    assert scores == [scores_of(package).tolist() for package in BOTH]
    assert Path(where).is_relative_to(paths[0])

"""The files of a version that other tools read: each is read by its own library and scores as the package does."""

import json
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import xgboost
import yaml

from forewarn import scoring, usecases
from forewarn.calibration import Calibration
from forewarn.estimators import Blend, Calibrated, Estimator
from forewarn.package import ModelPackage
from forewarn.tasks import Classification
from forewarn.trees import Trees
from tests.conftest import fitted
from tests.training.test_card import told
from tests.training.test_pictures import example
from training import exports

PROMISED = {
    "model.pkl",
    "model.json",
    "metadata.yaml",
    "feature_names.txt",
    "model_metadata.json",
    "card.html",
    "card.md",
    "pictures/roc.png",
}
PLATT = Calibration(method="platt", knots=((0.0, 0.3),), slope=0.8)
CHURN = fitted(usecases.get("churn"), seed=1)


def export(package: ModelPackage, folder: Path, *, picture: str = "roc.png") -> Path:
    """As a training exports a package that it has judged."""
    account, verdict = told(package.case)
    data = {**account["data"], **package.metadata["data"]}
    package = replace(
        package,
        version="v7",
        metadata={**account, **package.metadata, "data": data, "calibration": "none"},
        record={"trained_by": "ada", "verdict": verdict},
        evidence=example(package.case).to_json(),
    )
    source = package.save(folder / f"saved-{picture}")
    return exports.export(package, source, folder / "v7", pictures={picture: b"\x89PNG"})


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def trees_of(estimator: Estimator) -> Trees:
    inner = estimator.inner if isinstance(estimator, Calibrated) else estimator
    trees = inner.first if isinstance(inner, Blend) else inner
    assert isinstance(trees, Trees)
    return trees


@pytest.mark.requirement("S2-38")
@pytest.mark.requirement("S3-02")
def test_every_promised_file_is_there(package: ModelPackage, tmp_path: Path) -> None:
    folder = export(package, tmp_path)
    second = "model.logistic.json" if isinstance(package.case.task, Classification) else "model.skops"
    assert files(folder) == PROMISED | {second}
    assert (folder / "feature_names.txt").read_text().splitlines() == list(package.features.fields)
    for card in ("card.html", "card.md"):
        assert "v7" in (folder / card).read_text()
        assert "Waits for a person's approval" in (folder / card).read_text().replace("&#39;", "'")
    assert (folder / "pictures" / "roc.png").read_bytes() == b"\x89PNG"


@pytest.mark.requirement("S2-38")
@pytest.mark.requirement("S3-02")
def test_the_metadata_says_which_version_it_is_and_how_good(package: ModelPackage, tmp_path: Path) -> None:
    folder = export(package, tmp_path)
    whole = yaml.safe_load((folder / "metadata.yaml").read_text())
    assert (whole["version"], whole["trained_by"], whole["seed"]) == ("v7", "ada", 1)
    assert whole["metrics"] == package.metadata["metrics"]
    short = json.loads((folder / "model_metadata.json").read_text())
    metric = package.case.task.metric
    assert short[f"test_{metric}"] == package.metadata["metrics"][metric]["mean"]
    assert (short["use_case"], short["version"]) == (package.case.name, "v7")
    assert (short["model_type"], short["rule"]) == ("+".join(package.case.task.algorithms), dict(package.rule))
    assert (short["features_count"], short["training_samples"]) == (len(package.features.fields), 400)
    assert set(short["files"]) == {name for name in files(folder) if name.startswith("model.")}


@pytest.mark.requirement("S0-09")
@pytest.mark.requirement("S2-38")
@pytest.mark.requirement("S3-02")
def test_joblib_loads_a_model_that_predicts_as_the_package_does(package: ModelPackage, tmp_path: Path) -> None:
    model = joblib.load(export(package, tmp_path) / "model.pkl")
    raw = package.case.sample(30, seed=3)
    expected = scoring.score(package, scoring.validate(package.case, raw).values).values
    np.testing.assert_array_equal(model.predict(pd.DataFrame(raw))["score"], expected)


@pytest.mark.requirement("S2-38")
@pytest.mark.parametrize("calibrated", [False, True], ids=["plain", "calibrated"])
def test_xgboost_loads_the_trees_and_scores_as_they_do(package: ModelPackage, calibrated: bool, tmp_path: Path) -> None:
    given = Calibrated(inner=package.estimator, calibration=PLATT) if calibrated else package.estimator
    folder = export(replace(package, estimator=given), tmp_path)
    booster = xgboost.Booster()
    booster.load_model(folder / "model.json")
    matrix = package.prepare(scoring.validate(package.case, package.case.sample(30, seed=3)).values)
    margins = booster.inplace_predict(matrix, predict_type="margin")
    np.testing.assert_array_equal(margins, trees_of(given).margins(matrix))


def test_a_linear_model_alone_is_the_model_and_trees_alone_come_alone(tmp_path: Path) -> None:
    blend = CHURN.estimator
    assert isinstance(blend, Blend)
    linear = export(replace(CHURN, estimator=blend.second), tmp_path / "linear")
    assert files(linear) == PROMISED
    assert json.loads((linear / "model.json").read_text()).keys() == {"standard", "weights", "intercept"}
    trees = export(replace(CHURN, estimator=blend.first), tmp_path / "trees")
    assert files(trees) == PROMISED
    xgboost.Booster().load_model(trees / "model.json")


def test_exporting_again_leaves_nothing_of_before(tmp_path: Path) -> None:
    folder = export(CHURN, tmp_path, picture="old.png")
    (folder / "left-by-a-run-that-died.txt").write_text("half")
    again = export(CHURN, tmp_path, picture="roc.png")
    assert again == folder
    assert files(again) == PROMISED | {"model.logistic.json"}


@pytest.mark.requirement("S1-30")
@pytest.mark.parametrize(("status", "word"), [("approved", "Approved"), ("rejected", "Rejected")])
def test_a_decision_goes_onto_the_card_and_changes_nothing_else(status: str, word: str, tmp_path: Path) -> None:
    folder = export(CHURN, tmp_path)
    before = {name: (folder / name).read_bytes() for name in files(folder)}
    package = ModelPackage.load(CHURN.case, tmp_path / "saved-roc.png", version="v7")
    exports.retell(package, folder, status=status, by="Grace", why="the groups are treated alike")
    for card in ("card.html", "card.md"):
        assert f"{word} by Grace. Why: the groups are treated alike" in (folder / card).read_text()
    assert files(folder) == before.keys()
    changed = {name for name, content in before.items() if (folder / name).read_bytes() != content}
    assert changed == {"card.html", "card.md"}


def test_where_nothing_was_exported_a_decision_exports_nothing(tmp_path: Path) -> None:
    exports.retell(CHURN, tmp_path / "v7", status="approved", by="Grace", why="fine")
    assert not (tmp_path / "v7").exists()

import json
from pathlib import Path

import numpy as np
import pytest

from forewarn import package as module
from forewarn import scoring
from forewarn.errors import PackageDamaged
from forewarn.package import ModelPackage


@pytest.fixture
def saved(package: ModelPackage, tmp_path: Path) -> Path:
    return package.save(tmp_path / "package")


def test_a_loaded_package_scores_the_same_bits(package: ModelPackage, saved: Path) -> None:
    rows = scoring.validate(package.case, package.case.sample(200, seed=9)).values
    loaded = ModelPackage.load(package.case, saved, version="v7")
    assert loaded.version == "v7"
    assert loaded.threshold == package.threshold
    np.testing.assert_array_equal(scoring.score(loaded, rows).probabilities, scoring.score(package, rows).probabilities)


@pytest.mark.requirement("S2-73")
def test_one_flipped_byte_in_any_file_is_noticed(package: ModelPackage, saved: Path) -> None:
    for file in [path for path in saved.rglob("*") if path.is_file()]:
        whole = file.read_bytes()
        file.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
        with pytest.raises(PackageDamaged):
            ModelPackage.load(package.case, saved)
        file.write_bytes(whole)
    ModelPackage.load(package.case, saved)


def test_missing_and_added_files_are_named(package: ModelPackage, saved: Path) -> None:
    (saved / "added.json").write_text("{}")
    with pytest.raises(PackageDamaged, match=r"added\.json is not in the manifest"):
        ModelPackage.load(package.case, saved)
    (saved / "added.json").unlink()
    (saved / "contract.json").unlink()
    with pytest.raises(PackageDamaged, match=r"contract\.json is missing"):
        ModelPackage.load(package.case, saved)


def test_a_folder_without_manifest_is_no_package(package: ModelPackage, tmp_path: Path) -> None:
    with pytest.raises(PackageDamaged, match="not a whole model package"):
        ModelPackage.load(package.case, tmp_path)


def test_smoke_rows_that_score_otherwise_are_refused(package: ModelPackage, saved: Path) -> None:
    smoke = json.loads((saved / "smoke.json").read_text())
    smoke["scores"][0] += 0.01
    (saved / "smoke.json").write_text(json.dumps(smoke))
    manifest = json.loads((saved / "manifest.json").read_text())
    manifest["smoke.json"] = module._sha256(saved / "smoke.json")
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PackageDamaged, match=r"smoke row's score is off by 0\.01"):
        ModelPackage.load(package.case, saved)


def test_a_version_is_never_overwritten(package: ModelPackage, saved: Path) -> None:
    with pytest.raises(FileExistsError):
        package.save(saved)


def test_the_contract_holds_what_is_allowed_and_what_was_seen(package: ModelPackage) -> None:
    case, contract = package.case, package.contract
    assert set(contract) == set(case.row.model_fields) - {case.key}
    number = next(spec for spec in case.inputs if spec.kind == "number" and spec.required)
    clause = contract[number.name]
    assert clause["required"] is True
    assert clause["allowed"] == {"low": number.low, "high": number.high}
    assert number.low <= clause["seen"]["low"] < clause["seen"]["high"] <= number.high


def test_the_reference_counts_every_training_row_once(package: ModelPackage) -> None:
    reference = package.reference
    for field in (*reference["fields"].values(), reference["score"]):
        counts = field["counts"].values() if isinstance(field["counts"], dict) else field["counts"]
        assert sum(counts) + field["missing"] == reference["rows"]


def test_no_subject_leaves_with_a_package(package: ModelPackage, saved: Path) -> None:
    subjects = {row[package.case.key] for row in package.case.sample(400, seed=1)}
    text = "\n".join(path.read_text(errors="replace") for path in saved.rglob("*") if path.is_file())
    assert not [subject for subject in subjects if f'"{subject}"' in text]

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forewarn import package as module
from forewarn import scoring, usecases
from forewarn.errors import PackageDamaged
from forewarn.package import ModelPackage
from tests.conftest import fitted


@pytest.fixture
def saved(package: ModelPackage, tmp_path: Path) -> Path:
    return package.save(tmp_path / "package")


def test_a_loaded_package_scores_the_same_bits(package: ModelPackage, saved: Path) -> None:
    rows = scoring.validate(package.case, package.case.sample(200, seed=9)).values
    loaded = ModelPackage.load(package.case, saved, version="v7")
    assert loaded.version == "v7"
    assert loaded.rule == package.rule
    np.testing.assert_array_equal(scoring.score(loaded, rows).values, scoring.score(package, rows).values)


def test_features_alone_prepare_the_same_bits_and_are_verified_as_a_package_is(
    package: ModelPackage, saved: Path
) -> None:
    rows = scoring.validate(package.case, package.case.sample(200, seed=9)).values
    alone = module.features(package.case, saved)
    np.testing.assert_array_equal(alone.matrix(rows), package.prepare(rows))
    with pytest.raises(PackageDamaged, match="not for another"):
        module.features(replace(package.case, name="another"), saved)
    (saved / "estimator" / "estimator.json").write_text("{}")
    with pytest.raises(PackageDamaged, match=r"estimator\.json has changed"):
        module.features(package.case, saved)


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
    smoke["scores"][0] += 0.01 * max(1, smoke["scores"][0])
    (saved / "smoke.json").write_text(json.dumps(smoke))
    manifest = json.loads((saved / "manifest.json").read_text())
    manifest["smoke.json"] = module._sha256(saved / "smoke.json")
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PackageDamaged, match=r"smoke row's score is off by 0\.0"):
        ModelPackage.load(package.case, saved)


def test_a_version_is_never_overwritten(package: ModelPackage, saved: Path) -> None:
    with pytest.raises(FileExistsError):
        package.save(saved)


def test_the_contract_holds_what_is_allowed_and_what_was_seen(package: ModelPackage) -> None:
    case, contract = package.case, package.contract
    assert set(contract) == {spec.wire for spec in case.fields if spec.name != case.key}
    number = next(spec for spec in case.inputs if spec.kind == "number" and spec.required)
    clause = contract[number.wire]
    assert clause["required"] is True
    assert clause["allowed"] == {"low": number.low, "high": number.high}
    assert number.low <= clause["seen"]["low"] < clause["seen"]["high"] <= number.high


def test_the_reference_counts_every_training_row_once(package: ModelPackage) -> None:
    reference = package.reference
    for field in (*reference["fields"].values(), reference["score"]):
        counts = field["counts"].values() if isinstance(field["counts"], dict) else field["counts"]
        assert sum(counts) + field["missing"] == reference["rows"]


def test_no_subject_leaves_with_a_package(package: ModelPackage, saved: Path) -> None:
    case = package.case
    subjects = {row[case.spec[case.key].wire] for row in case.sample(400, seed=1)}
    smoke = json.loads((saved / "smoke.json").read_text())["rows"]
    assert all(row[case.key] is None for row in smoke)
    text = "\n".join(path.read_text(errors="replace") for path in saved.rglob("*") if path.is_file())
    named = [subject for subject in subjects if not subject.isdigit()]
    assert not [subject for subject in named if f'"{subject}"' in text]


def test_a_package_of_another_release_is_told_and_not_misread(package: ModelPackage, saved: Path) -> None:
    text = (saved / "metadata.yaml").read_text().replace("format: 3\n", "format: 2\n")
    (saved / "metadata.yaml").write_text(text)
    manifest = json.loads((saved / "manifest.json").read_text())
    manifest["metadata.yaml"] = module._sha256(saved / "metadata.yaml")
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PackageDamaged, match="another release"):
        ModelPackage.load(package.case, saved)


def test_free_text_is_counted_and_not_kept(package: ModelPackage) -> None:
    texts = [spec.wire for spec in package.case.fields if spec.kind == "text" and spec.name != package.case.key]
    for name in texts:
        assert package.contract[name]["seen"].keys() == {"distinct"}


RECORD = {"created": "2026-11-23T07:00:00+00:00", "duration_s": 61.2, "trained_by": "ada"}


@pytest.mark.parametrize(
    "name",
    [
        "attrition",
        "churn",
        "absenteeism",
    ],
)
def test_two_packages_that_differ_in_their_record_differ_in_that_file_alone(name: str, tmp_path: Path) -> None:
    """Each is fitted and saved by itself, as a second training of the same rows would."""
    case = usecases.get(name)
    one, other = (
        module.manifest(replace(fitted(case, seed=1), record=record).save(tmp_path / record["trained_by"]))
        for record in (RECORD, {**RECORD, "trained_by": "grace"})
    )
    assert one.keys() == other.keys()
    assert [file for file in one if one[file] != other[file]] == ["record.json"]


def test_the_card_is_what_was_learned_with_the_record_of_when(package: ModelPackage, tmp_path: Path) -> None:
    folder = replace(package, record=RECORD, evidence={"calibration": "platt"}).save(tmp_path / "package")
    card = module.metadata(folder)
    assert card.items() >= RECORD.items()
    assert (card["use_case"], card["seed"], card["format"]) == (package.case.name, 1, module.FORMAT)
    loaded = ModelPackage.load(package.case, folder)
    assert loaded.card == card
    assert "trained_by" not in loaded.metadata
    assert loaded.evidence == {"calibration": "platt"}

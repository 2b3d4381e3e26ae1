from pathlib import Path

import pytest

from forewarn.errors import NotFound, PackageDamaged
from forewarn.package import ModelPackage
from forewarn.releases import Releases


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(tmp_path / "packages")


@pytest.fixture
def source(package: ModelPackage, tmp_path: Path) -> Path:
    return package.save(tmp_path / "source")


def test_nothing_is_champion_at_first(package: ModelPackage, releases: Releases) -> None:
    assert releases.champion(package.case) is None
    assert releases.versions(package.case) == []


def test_an_admitted_version_can_be_promoted_and_loaded(
    package: ModelPackage, releases: Releases, source: Path
) -> None:
    for version in ("v2", "v10", "v1"):
        releases.admit(package.case, version, source)
    assert releases.versions(package.case) == ["v1", "v2", "v10"]
    releases.promote(package.case, "v10")
    assert releases.champion(package.case) == "v10"
    assert releases.load(package.case, "v10").version == "v10"


def test_admitting_twice_changes_nothing(package: ModelPackage, releases: Releases, source: Path) -> None:
    first = releases.admit(package.case, "v1", source)
    before = (first / "manifest.json").stat().st_mtime_ns
    assert releases.admit(package.case, "v1", source) == first
    assert (first / "manifest.json").stat().st_mtime_ns == before


def test_a_damaged_package_is_not_admitted(package: ModelPackage, releases: Releases, source: Path) -> None:
    (source / "features.json").write_text("{}")
    with pytest.raises(PackageDamaged):
        releases.admit(package.case, "v1", source)
    assert releases.versions(package.case) == []


def test_only_what_is_in_the_store_can_be_promoted(package: ModelPackage, releases: Releases, source: Path) -> None:
    releases.admit(package.case, "v1", source)
    releases.promote(package.case, "v1")
    with pytest.raises(NotFound, match="there is v1"):
        releases.promote(package.case, "v9")
    assert releases.champion(package.case) == "v1"

from pathlib import Path

import pytest

from forewarn.errors import NotFound, PackageDamaged, StateDamaged, VersionTaken
from forewarn.package import ModelPackage
from forewarn.releases import Releases, ReleaseState
from tests.conftest import fitted


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
    releases.put_up(package.case, ReleaseState(champion="v10"))
    assert releases.champion(package.case) == "v10"
    assert releases.load(package.case, "v10").version == "v10"


def test_admitting_twice_changes_nothing(package: ModelPackage, releases: Releases, source: Path) -> None:
    first = releases.admit(package.case, "v1", source)
    before = (first / "manifest.json").stat().st_mtime_ns
    assert releases.admit(package.case, "v1", source) == first
    assert (first / "manifest.json").stat().st_mtime_ns == before


def test_a_registry_that_counts_anew_does_not_pass_an_old_package_off_as_the_new_one(
    package: ModelPackage, releases: Releases, source: Path, tmp_path: Path
) -> None:
    releases.admit(package.case, "v1", source)
    other = fitted(package.case, seed=2).save(tmp_path / "other")
    with pytest.raises(VersionTaken, match="counts anew"):
        releases.admit(package.case, "v1", other)


def test_a_torn_state_file_is_told_with_a_remedy(package: ModelPackage, releases: Releases, tmp_path: Path) -> None:
    state = tmp_path / "packages" / package.case.name / "release.json"
    state.parent.mkdir(parents=True)
    state.write_text('{"champ')
    with pytest.raises(StateDamaged, match=r"release\.json: cannot be read.*delete it"):
        releases.champion(package.case)


def test_a_damaged_package_is_not_admitted(package: ModelPackage, releases: Releases, source: Path) -> None:
    (source / "features.json").write_text("{}")
    with pytest.raises(PackageDamaged):
        releases.admit(package.case, "v1", source)
    assert releases.versions(package.case) == []


def test_only_what_is_in_the_store_can_be_promoted(package: ModelPackage, releases: Releases, source: Path) -> None:
    releases.admit(package.case, "v1", source)
    releases.put_up(package.case, ReleaseState(champion="v1"))
    with pytest.raises(NotFound, match="there is v1"):
        releases.put_up(package.case, ReleaseState(champion="v9"))
    assert releases.champion(package.case) == "v1"

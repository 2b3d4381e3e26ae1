from pathlib import Path

import pytest

from forewarn import settings as module
from forewarn.errors import CannotStart
from forewarn.settings import PROJECT, Settings


def test_home_is_in_the_project_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().home == PROJECT / ".forewarn"
    monkeypatch.setenv("FOREWARN_HOME", "/somewhere/else")
    assert Settings().home == Path("/somewhere/else")


def test_two_homes_share_no_path(tmp_path: Path) -> None:
    one, two = Settings(home=tmp_path / "one"), Settings(home=tmp_path / "two")
    for name in (
        "mlflow_uri",
        "artifacts",
        "packages",
        "searches",
        "ledger",
        "spools",
        "notices",
        "audit_key",
        "local_key",
        "running",
    ):
        assert getattr(one, name) != getattr(two, name)


def test_workers_in_other_folders_find_the_same_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings(home=Path("relative")).mlflow_uri == f"sqlite:///{tmp_path}/relative/mlflow.db"


def test_a_job_in_a_throw_away_copy_refuses_to_lose_its_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROJECT", Path("/tmp/ray/session/runtime_resources/working_dir_files/_ray_pkg_1"))
    with pytest.raises(CannotStart, match="FOREWARN_HOME is not set"):
        Settings()

"""A process that serves holds the libraries that it works with, and no others; each is asked in one of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import startup
from forewarn.package import ModelPackage
from forewarn.releases import Releases, ReleaseState
from forewarn.settings import PROJECT, Settings
from tests.conftest import CASES, fitted

# The core's share of what ingress and preprocessor do with a request, whose scores come from elsewhere. Without Ray,
# which brings pandas itself.
REQUEST = """
import sys
from datetime import UTC, datetime
import numpy as np
from forewarn import answering, feature_store, scoring, usecases
from forewarn.explain import Why
from forewarn.releases import Releases, ReleaseState
from forewarn.settings import Settings

case, settings = usecases.get(sys.argv[1]), Settings()
releases = Releases(settings.packages)
feature_store.FeatureStore.open(settings).close()
rows = scoring.validate(case, case.sample(3, seed=0))
assert len(releases.features(case, "v1").matrix(rows.values)) == 3
card = releases.card(case, "v1")
fields = tuple(spec.name for spec in case.inputs)
added = np.ones((3, len(fields)))
why = Why(fields=fields, values=added, errors=added, base=np.zeros(3), method="made up")
scores = scoring.Scores(version="v1", rule=card["rule"], values=np.full(3, 0.5), why=why)
assert len(answering.tell(case, rows, scores, card, at=datetime.now(UTC), explained=True)) == 3
print(*{name.partition(".")[0] for name in sys.modules})
"""
COMMANDS = "import sys, jobs.cli; print(*{name.partition('.')[0] for name in sys.modules})"
LEARNING = {"mlflow", "pandas", "sklearn", "scipy", "xgboost", "matplotlib", "optuna", "imblearn", "fairlearn", "skops"}
NEEDED = {
    "Ingress": {"fastapi", "sqlalchemy"},
    "Preprocessor": set(),
    "Model": {"xgboost", "scipy", "sklearn"},  # the last one because XGBoost imports it wherever it is installed
}


def installed(package: ModelPackage, home: Path) -> Path:
    """A home whose champion is this."""
    releases = Releases(Settings(home=home).packages)
    releases.admit(package.case, "v1", package.save(home / "package"))
    releases.put_up(package.case, ReleaseState(champion="v1"))
    return home


def modules(code: str, *given: str, home: Path) -> set[str]:
    """What a new process holds in the end."""
    environment = {"FOREWARN_HOME": str(home), "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", code, *given]
    return set(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout.split())


def test_a_request_is_checked_prepared_and_told_without_the_libraries_that_learn(
    package: ModelPackage, tmp_path: Path
) -> None:
    found = modules(REQUEST, package.case.name, home=installed(package, tmp_path))
    assert "numpy" in found
    assert not found & LEARNING


def test_no_command_waits_for_libraries_that_it_may_not_need(tmp_path: Path) -> None:
    found = modules(COMMANDS, home=tmp_path)
    assert "typer" in found
    assert not found & {*LEARNING, "ray", "fastapi"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", startup.KINDS)
def test_a_replica_adds_to_ray_serve_only_what_it_needs(kind: str, tmp_path: Path) -> None:
    package = fitted(CASES[0], seed=1)  # one use case will do, each has trees
    given = startup.arguments(package.case.name)[kind]
    floor, stood = startup.fresh(kind, given, installed(package, tmp_path))
    assert stood["made"] == kind
    assert set(stood["heavy"]) - set(floor["heavy"]) <= NEEDED[kind]

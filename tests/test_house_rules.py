"""Rules of the house that no linter knows."""

import re
from pathlib import Path

import pytest

from forewarn import usecases
from forewarn.settings import PROJECT
from tests.conftest import CASES

SHELLS = ("forewarn", "training", "deployments", "jobs", "benchmarks")


def sources() -> list[Path]:
    return [path for folder in SHELLS for path in (PROJECT / folder).rglob("*.py")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_code_but_its_own_file_knows_a_use_case_by_name(case: usecases.UseCase) -> None:
    own = {path for path in sources() if re.search(rf'name="{case.name}"', path.read_text())}
    assert len(own) == 1
    family = {path for path in sources() for one in case.profiles if re.search(rf'name="{one.name}"', path.read_text())}
    assert not [path for path in sources() if path not in own | family and case.name in path.read_text()]

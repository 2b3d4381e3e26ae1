"""The whole story, as `make demo` tells it, in its short form."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from forewarn.settings import PROJECT
from jobs import cluster, machine
from tests.story.test_up import NOTHING

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def test_the_short_demonstration_goes_through_from_serving_to_being_forgotten(tmp_path: Path) -> None:
    foreign = (*cluster.PORTS, *cluster.FILES, machine.MARK, "RAY_ADDRESS")
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    environment |= {"FOREWARN_SCHEDULE": str(NOTHING)}
    command = [sys.executable, "-c", "from jobs.cli import main; main()", "demo", "--short", "--output", str(tmp_path)]
    ran = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=800)
    assert ran.returncode == 0, ran.stderr[-3000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    page = Path(told["page"]).read_text()
    assert told["chapters"] == 9
    for said in ("Alarm: ", "learned from", "answers everybody", "the judge took it back", "broken: none"):
        assert said in page, f"{said} is missing"
    assert page.count("data:image/png;base64") == 2

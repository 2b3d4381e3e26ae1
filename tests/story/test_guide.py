"""docs/add-a-use-case.md, followed to the letter: one file, and a fourth use case trains, serves and scores."""

import csv
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from forewarn import tables
from forewarn.settings import PROJECT, Settings
from jobs.machine import free_port
from tests.conftest import until
from tests.jobs.test_commands import forewarn
from tests.story.test_up import environment, running

pytestmark = pytest.mark.cluster
GUIDE = (PROJECT / "docs" / "add-a-use-case.md").read_text()
NAME = "iranian_churn"


@pytest.fixture
def files(tmp_path: Path, public_data: Path) -> tuple[Path, Path]:
    """Four fifths to learn from, one to be tested on."""
    with (public_data / "iranian_churn.csv").open() as source:
        header, *rows = csv.reader(source)
    random.Random(0).shuffle(rows)
    cut = len(rows) * 4 // 5
    learned, held_out = tmp_path / "rows.csv", tmp_path / "held_out_rows.csv"
    for path, part in ((learned, rows[:cut]), (held_out, rows[cut:])):
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *part])
    return learned, held_out


def test_the_guide_s_file_is_all_it_takes(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned, held_out = files
    (tmp_path / "cases").mkdir()
    block = re.search(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert block
    (tmp_path / "cases" / f"{NAME}.py").write_text(block[1])
    monkeypatch.setenv("FOREWARN_USE_CASES", str(tmp_path / "cases"))
    home = Settings(home=tmp_path / "home", port=free_port(), dashboard_port=free_port())
    plan = yaml.safe_load((PROJECT / "serve_config.yaml").read_text())
    plan["applications"][0]["args"] |= {"use_cases": [NAME], "default_use_case": NAME}
    (tmp_path / "my_serve_config.yaml").write_text(yaml.safe_dump(plan))
    log = tmp_path / "up.log"
    forewarn_up = [sys.executable, "-c", "from jobs.cli import main; main()", "up"]
    options = ["--config", f"{tmp_path}/my_serve_config.yaml", "--data", f"{NAME}={learned}"]
    up = [*forewarn_up, *options, "--trials", "24", "--budget-s", "40"]
    with running(up, home, log) as process:
        until(lambda: "Ctrl-C stops it" in log.read_text() or process.poll() is not None, seconds=200, what="it is up")
        assert "Ctrl-C stops it" in log.read_text(), log.read_text()
        measured = forewarn(
            home, "evaluate", NAME, "--data", str(held_out), "--json", FOREWARN_USE_CASES=f"{tmp_path}/cases"
        )
        assert json.loads(measured.stdout)["roc_auc"] >= 0.975, measured.stdout
        body = ask(home, tables.rows_of_csv(held_out.read_bytes())[0])
        assert body["explanation"]["contributions"]
        assert body["served_by"] == NAME
        scores = tmp_path / "scores.csv"
        scored = subprocess.run(
            [sys.executable, "-c", "from jobs.cli import main; main()", "score", NAME, "--input", str(held_out),
             "--output", str(scores)], env={**os.environ, **environment(home)}, cwd=PROJECT, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert scored.returncode == 0, scored.stderr
        first = tables.rows_of_csv(scores.read_bytes())[0]
        assert float(first["probability"]) == body["probability"]


def ask(home: Settings, row: dict[str, object]) -> dict[str, object]:
    key = forewarn(home, "key").stdout.strip()
    url = f"http://127.0.0.1:{home.port}/v1/{NAME}/predict?explain=true"
    answer = httpx.post(url, json=row, headers={"X-API-Key": key}, timeout=30)
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found

"""A whole Forewarn of a test's own: `forewarn up` with a plan, until the block ends."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from forewarn.settings import PROJECT, Settings
from jobs import machine
from tests.conftest import until
from tests.story.test_up import running

COMMAND = [sys.executable, "-c", "from jobs.cli import main; main()", "up"]


@contextmanager
def up(home: Settings, folder: Path, **args: Any) -> Iterator[subprocess.Popen[bytes]]:
    """One use case that has a champion already, run as the arguments of the application say."""
    told = yaml.safe_load((PROJECT / "serve_config.yaml").read_text())
    told["applications"][0]["args"] |= {"use_cases": ["attrition"], "default_use_case": "attrition", **args}
    config, log = folder / "serve_config.yaml", folder / "up.log"
    config.write_text(yaml.safe_dump(told))
    with running([*COMMAND, "--config", str(config)], home, log) as process:
        print(f"its log: {log}")
        up_or_ended = lambda: "Ctrl-C stops it" in log.read_text() or process.poll() is not None  # noqa: E731
        until(up_or_ended, seconds=180, what="it is up")
        assert process.poll() is None, log.read_text()
        yield process


def replicas(mark: str, kind: str) -> list[psutil.Process]:
    """Of a deployment, such as Model."""
    begin = f"ray::ServeReplica:forewarn:{kind}"
    return [one for one in machine.marked(mark) if " ".join(one.cmdline()).startswith(begin)]

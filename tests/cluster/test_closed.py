"""Whatever we ship that starts a cluster starts a closed one: Ray runs any code that it is handed."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import jsonschema
import pytest
import ray
import yaml

from forewarn.settings import PROJECT
from jobs import machine
from tests.conftest import until

LAUNCHED = sorted((PROJECT / "cluster").glob("vm/*.yaml"))
STARTS = re.compile(r"\bray start\b")


def commands(file: Path) -> list[str]:
    told = yaml.safe_load(file.read_text())
    return [*told["head_start_ray_commands"], *told["worker_start_ray_commands"]]


@pytest.mark.parametrize("file", LAUNCHED, ids=lambda file: file.name)
def test_a_launcher_s_file_is_what_ray_s_own_schema_asks_for(file: Path) -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(yaml.safe_load(file.read_text()), schema)


def test_every_shipped_command_that_starts_ray_asks_for_a_token() -> None:
    files = [path for path in (PROJECT / "cluster").rglob("*") if path.is_file()]
    starting = [line for path in files for line in path.read_text().splitlines() if STARTS.search(line)]
    assert starting
    assert not [line for line in starting if "RAY_AUTH_MODE=token" not in line]
    assert not [line for line in starting if "--head" in line and "--dashboard-host=127.0.0.1" not in line]


@contextmanager
def head(command: str, home: Path) -> Iterator[str]:
    """The shipped head, on ports of its own and with a home of its own; its dashboard."""
    port, dashboard, agent = machine.free_ports(3)
    told = command.replace("6379", str(port)).replace("8265", str(dashboard)).replace("~/forewarn/.venv/bin/ray", "ray")
    told = re.sub(r" --autoscaling-config=\S+", "", told)  # which only a launcher writes
    told += f" --dashboard-agent-listen-port={agent} --num-cpus=1 --temp-dir={home}/r --object-store-memory=100000000"
    (home / ".forewarn.env").write_text("FOREWARN_HOME=/nowhere\n")
    mark = f"shipped-{os.getpid()}"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    try:
        subprocess.run(["bash", "-c", told], env={**plain, "HOME": str(home), "PATH": path, machine.MARK: mark},
                       check=True, capture_output=True, timeout=120)  # fmt: skip
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        machine.end(machine.marked(mark))
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.cluster
@pytest.mark.parametrize("file", LAUNCHED, ids=lambda file: file.name)
def test_the_head_that_it_starts_takes_a_job_with_the_token_and_none_without(
    file: Path,
) -> None:
    home = Path("/tmp") / f"fw-closed-{os.getpid()}"  # sockets below it may have 107 characters
    (home / ".ray").mkdir(parents=True)
    token = "0123456789abcdef" * 4
    (home / ".ray" / "auth_token").write_text(token)
    with head(commands(file)[0], home) as dashboard:

        def asked(**headers: str) -> int:
            try:
                return httpx.get(f"{dashboard}/api/jobs/", headers=headers, timeout=5).status_code
            except httpx.HTTPError:
                return 0

        until(lambda: asked(Authorization=f"Bearer {token}") == 200, seconds=60, what="its Jobs API")
        assert asked() in (401, 403)
        assert asked(Authorization="Bearer " + "f" * 64) in (401, 403)
        body = {"entrypoint": "true"}
        assert httpx.post(f"{dashboard}/api/jobs/", json=body, timeout=10).status_code in (401, 403)

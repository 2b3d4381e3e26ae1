"""What a newcomer does, in processes of their own: up, the printed command, status, down; and Ray by hand."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from ray._private.ray_constants import DEFAULT_DASHBOARD_AGENT_LISTEN_PORT
from ray.job_submission import JobStatus, JobSubmissionClient

from forewarn.settings import PROJECT, Settings
from jobs import cluster, machine
from jobs.machine import free_port
from tests.conftest import installed, until
from tests.jobs.test_commands import forewarn

pytestmark = pytest.mark.cluster


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "home", port=free_port(), dashboard_port=free_port())
    installed(settings)
    return settings


def environment(home: Settings) -> dict[str, str]:
    ports = {"FOREWARN_PORT": str(home.port), "FOREWARN_DASHBOARD_PORT": str(home.dashboard_port)}
    servers = {"FOREWARN_LEDGER_URI": home.ledger_uri, "FOREWARN_REDIS_URL": home.redis_url}
    foreign = (*cluster.PORTS, *cluster.FILES, machine.MARK, "RAY_ADDRESS")
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    # Whatever the time of day, nothing begins by itself while a test looks on.
    return {**kept, "FOREWARN_HOME": str(home.home), "FOREWARN_SCHEDULE": str(NOTHING), **ports, **servers}


NOTHING = Path(__file__).parent / "no_schedule.yaml"


@contextmanager
def running(command: list[str], home: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    apart = {"start_new_session": True, "preexec_fn": heed_ctrl_c, "cwd": PROJECT, "env": environment(home)}
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file, **apart) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def heed_ctrl_c() -> None:
    """A shell starts background processes, such as this test run, with Ctrl-C ignored; children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_up_prints_a_command_that_answers_and_ends_what_it_started(home: Settings, tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    up = [sys.executable, "-c", "from jobs.cli import main; main()", "up"]
    with another_ray_on_the_agents_port(), running(up, home, log) as process:
        until(lambda: "Ctrl-C stops it" in log.read_text() or process.poll() is not None, seconds=120, what="it is up")
        printed = log.read_text()
        curl = next(line for line in printed.splitlines() if line.startswith("curl "))
        answered = subprocess.run([*shlex.split(curl), "-s", "-w", " %{http_code}"], capture_output=True, text=True)
        body, status = answered.stdout.rsplit(" ", 1)
        assert status == "200", printed
        assert json.loads(body)["model_version"] == "v1"
        assert f"http://127.0.0.1:{home.port}/docs" in printed
        note = cluster.running(home)
        assert runs_a_job(note["dashboard"]), "it takes jobs beside another Ray"
        state = json.loads(forewarn(home, "status", "--json").stdout)
        assert (state["running"], state["health"]) == (True, "healthy")
        ours = machine.marked(note["mark"])
        assert len(ours) > 5
        assert [found for one in ours for found in machine.reachable(one)] == []
        assert "can be reached" not in printed
        assert forewarn(home, "down").returncode == 0
        process.wait(timeout=60)
    assert not machine.marked(note["mark"])
    assert "Stopped what was started here" in log.read_text()
    key = home.local_key.read_text()
    logs = [path for path in cluster.scratch(home).rglob("*") if path.is_file() and path.stat().st_size < 2**24]
    assert not [path for path in logs if key.encode() in path.read_bytes()], "the key is in a log"


@contextmanager
def another_ray_on_the_agents_port() -> Iterator[None]:
    """Ray's dashboard agent wants one fixed port; the session's own cluster may hold it already."""
    with socket.socket() as holder:
        if machine.is_free(DEFAULT_DASHBOARD_AGENT_LISTEN_PORT):
            holder.bind(("127.0.0.1", DEFAULT_DASHBOARD_AGENT_LISTEN_PORT))
            holder.listen()
        yield


def runs_a_job(dashboard: str) -> bool:
    client = JobSubmissionClient(dashboard)
    job = client.submit_job(entrypoint="echo done")
    until(lambda: client.get_job_status(job).is_terminal(), seconds=60, what="the job ends")
    return bool(client.get_job_status(job) == JobStatus.SUCCEEDED)


def test_serve_run_brings_the_same_application_up_on_a_ray_started_by_hand(home: Settings, tmp_path: Path) -> None:
    """No launcher of ours: Ray Serve's own command, its own defaults, its own local Ray."""
    plan = yaml.safe_load((PROJECT / "serve_config.yaml").read_text())
    plan["http_options"]["port"] = home.port
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(plan))
    key = forewarn(home, "key").stdout.strip()
    serve = [str(Path(sys.executable).with_name("serve")), "run", "--address", "local", str(tmp_path / "serve.yaml")]
    url = f"http://127.0.0.1:{home.port}"

    def ready() -> bool:
        try:
            return httpx.get(f"{url}/ready", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    log = tmp_path / "serve.log"
    with running(serve, home, log) as process:
        until(lambda: ready() or process.poll() is not None, seconds=150, what="serve run is ready")
        answer = httpx.post(f"{url}/predict", json={"MonthlyIncome": 5500, "OverTime": 1}, headers={"X-API-Key": key})
        assert answer.status_code == 200, log.read_text()
        assert answer.json()["model_version"] == "v1"


def test_mlflows_pages_open_on_this_homes_database(home: Settings, tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", "from jobs.cli import main; main()", "mlflow", "--port", str(port)]

    def healthy() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    with running(command, home, tmp_path / "mlflow.log"):
        until(healthy, seconds=90, what="MLflow answers")
    assert (home.home / "mlflow.db").exists()

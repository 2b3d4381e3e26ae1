"""This process's Ray: the job's own, the one that `forewarn up` runs here, or a new one on this machine.

Only processes that were started here are ever ended here: each carries this start's id in its environment.
"""

import json
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil

from forewarn.errors import CannotStart
from forewarn.settings import Settings

MARK = "FOREWARN_CLUSTER"
MIN_FREE_MEMORY = 2 * 2**30
OBJECT_STORE_BYTES = 256 * 2**20
LOCALHOST = "127.0.0.1"
STOP_SECONDS = 60

# Read by Ray when it is imported, hence set before; what the caller's environment says wins.
RAY_ENVIRONMENT = {
    # Explicit, because unset means "token, if some earlier Ray left one in $HOME". Everything listens on
    # localhost; RAY_AUTH_MODE=token closes it to the machine's other users too.
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # Ray swaps 127.0.0.1 for the machine's outward address, and then GCS and raylet listen on every interface.
    # This switch, made for laptops, keeps it, and with it every control port on the loopback interface.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Ctrl-C during a search ends the program, not just the search.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "OMP_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
    "RAY_SERVE_HAPROXY_NBTHREAD": "2",
    # A stopping ingress replica drains this long at least; 30 s by default.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
}
# One each per cluster; Ray's fixed defaults would keep a second home on this machine from starting.
PORTS = (
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
)


def prepare_environment() -> None:
    """Settle how Ray behaves, before anything imports it."""
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextmanager
def connected(settings: Settings) -> Iterator[None]:
    """Be connected to Ray for the length of the block."""
    prepare_environment()
    import ray

    address = os.environ.get("RAY_ADDRESS") or running(settings).get("address")
    if address:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
        try:
            yield
        finally:
            ray.shutdown()
    else:
        with started(settings):
            yield


@contextmanager
def started(settings: Settings) -> Iterator[dict[str, Any]]:
    """A Ray head of our own on this machine; it and all its children are gone when the block ends.

    Raises:
        CannotStart: too little memory, or leftovers of an earlier run.
    """
    prepare_environment()
    refuse_running(settings)
    _refuse_little_memory()
    mark = secrets.token_hex(8)
    os.environ[MARK] = mark
    os.environ["FOREWARN_HOME"] = str(settings.home)
    # A job's `python` is looked up by name: it must be this one, with this environment's libraries.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    _choose_ports(scratch(settings))
    import ray

    try:
        context: Any = ray.init(
            address="local",
            num_cpus=max(2, os.cpu_count() or 2),
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=True,
            dashboard_host=LOCALHOST,
            dashboard_port=settings.dashboard_port,
            log_to_driver=False,
            configure_logging=False,
            _node_ip_address=LOCALHOST,
            _temp_dir=str(scratch(settings) / "ray"),
        )
        found = {"pid": os.getpid(), "mark": mark, "address": context.address_info["gcs_address"]}
        yield {**found, "dashboard": f"http://{context.address_info['webui_url']}"}
    finally:
        ours = marked(mark)
        ray.shutdown()
        end(ours)
        del os.environ[MARK]


def running(settings: Settings) -> dict[str, Any]:
    """What `forewarn up` wrote down, if it is still alive; else an empty dict."""
    note = _note(settings)
    return note if note and psutil.pid_exists(note["pid"]) and _is_ours(psutil.Process(note["pid"]), note) else {}


def remember(settings: Settings, note: dict[str, Any]) -> None:
    """Write down what was started."""
    settings.make_home()
    settings.running.write_text(json.dumps({**note, "born": psutil.Process(note["pid"]).create_time()}, indent=1))


def forget(settings: Settings) -> None:
    """Nothing runs any more."""
    settings.running.unlink(missing_ok=True)


def leftovers(settings: Settings) -> list[psutil.Process]:
    """Processes of an earlier run whose supervisor is gone."""
    note = _note(settings)
    return marked(note["mark"]) if note and not running(settings) else []


def marked(mark: str) -> list[psutil.Process]:
    """Every process that carries this start's id, save this one."""
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _mark_of(process) == mark]


def end(processes: list[psutil.Process]) -> None:
    """Ask them to stop, insist after a while, wait until they are gone."""
    for process in processes:
        _signal(process, "terminate")
    _, stubborn = psutil.wait_procs(processes, timeout=5)
    for process in stubborn:
        _signal(process, "kill")
    psutil.wait_procs(stubborn, timeout=5)


def stop(found: dict[str, Any], left: list[psutil.Process]) -> None:
    """Ask the supervisor to stop, wait for it, and end whatever it could not."""
    if found:
        supervisor = psutil.Process(found["pid"])
        _signal(supervisor, "terminate")
        psutil.wait_procs([supervisor], timeout=STOP_SECONDS)
        left = marked(found["mark"])
    end(left)


def refuse_running(settings: Settings) -> None:
    """One home runs once.

    Raises:
        CannotStart: this home is up already, or an earlier run of it left processes behind.
    """
    if found := running(settings):
        raise CannotStart(
            f"this home is already up at {found['url']} (process {found['pid']}); "
            "use it, or stop it with `forewarn down`"
        )
    if left := leftovers(settings):
        raise CannotStart(
            f"an old Ray of this home is still running ({len(left)} processes, such as {left[0].pid} "
            f"{left[0].name()}); end it with `forewarn down` and try again"
        )


def refuse_taken_port(port: int, remedy: str) -> None:
    """Say who holds a port that we need.

    Raises:
        CannotStart: naming the process and the remedy.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCALHOST, port))
        except OSError:
            raise CannotStart(f"port {port} is in use{_holder(port)}; end it, or {remedy}") from None


def scratch(settings: Settings) -> Path:
    """Short-lived files of this home's Ray. A short path: HAProxy's sockets below it may have 97 characters."""
    return Path("/tmp") / f"fw-{sha256(str(settings.home).encode()).hexdigest()[:8]}"  # noqa: S108


def _note(settings: Settings) -> dict[str, Any]:
    if not settings.running.exists():
        return {}
    note: dict[str, Any] = json.loads(settings.running.read_text())
    return note


def _is_ours(process: psutil.Process, note: dict[str, Any]) -> bool:
    """The process id may have gone to another process since."""
    return bool(abs(process.create_time() - note["born"]) < 1)


def _refuse_little_memory() -> None:
    free = psutil.virtual_memory().available
    if free < MIN_FREE_MEMORY:
        raise CannotStart(
            f"only {free / 2**30:.1f} GiB of memory are free and Forewarn needs {MIN_FREE_MEMORY / 2**30:.0f}; "
            "close other programs and try again"
        )


def _choose_ports(folder: Path) -> None:
    """Free ports for HAProxy's side doors, and its files in this home's own folder."""
    for name in PORTS:
        os.environ.setdefault(name, str(_free_port()))
    files = {"CONFIG_FILE_LOC": "haproxy.cfg", "SOCKET_PATH": "admin.sock", "SERVER_STATE_FILE": "server-state",
             "METRICS_SOCKET_PATH": "metrics.sock"}  # fmt: skip
    for name, file in files.items():
        os.environ.setdefault(f"RAY_SERVE_HAPROXY_{name}", str(folder / file))
    os.environ.setdefault("RAY_SERVE_HAPROXY_SERVER_STATE_BASE", str(folder))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        return int(probe.getsockname()[1])


def _holder(port: int) -> str:
    for process in psutil.process_iter(["pid", "name"]):
        if port in _listening(process):
            hint = ", an old Ray" if "ray" in " ".join(_command(process)).lower() else ""
            return f" by process {process.pid} ({process.name()}{hint})"
    return ""


def _listening(process: psutil.Process) -> set[int]:
    try:
        found = process.net_connections(kind="inet")
    except psutil.Error:
        return set()
    return {connection.laddr.port for connection in found if connection.status == psutil.CONN_LISTEN}


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None


def _signal(process: psutil.Process, how: str) -> None:
    try:
        getattr(process, how)()
    except psutil.NoSuchProcess:
        return

"""This process's Ray: the job's own, the one that `forewarn up` runs here, or a new one on this machine.

Only processes that were started here are ever ended here: each carries this start's id in its environment.
"""

import hmac
import os
import secrets
import shutil
import signal
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from hashlib import sha256
from pathlib import Path
from time import time
from typing import Any

import psutil

from forewarn import sources, state
from forewarn.errors import CannotStart
from forewarn.settings import Settings
from jobs import machine
from jobs.machine import LOCALHOST, MARK

# Four use cases with a batch job beside them took 3.5 GiB (proportional set size).
MIN_FREE_MEMORY = 3 * 2**30
OBJECT_STORE_BYTES = 256 * 2**20
STOP_SECONDS = 60
KEEP_LOGS_SECONDS = 7 * 24 * 3600

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
    # HAProxy tells a Python process of every request, for Ray Serve's own counters: 0.05 ms of CPU that /metrics, which
    # counts at the ingress, does not need.
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    # A client that has sent nothing for so long is let go; an hour by default.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
    # A stopping ingress replica drains this long at least; 30 s by default.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
}
# Settings that say where things are, and that a job takes from the environment of the cluster.
ELSEWHERE = (
    "FOREWARN_TRACKING_URI",
    "FOREWARN_FEATURES_URI",
    "FOREWARN_LEDGER_URI",
    "FOREWARN_ID_SECRET",
    "FOREWARN_AUDIT_SECRET",
    "FOREWARN_SOURCE_PASSWORD",
)
# One each per cluster; Ray's fixed defaults would keep a second home on this machine from starting.
PORTS = (
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
)
# HAProxy's own, likewise.
FILES = {
    "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
    "RAY_SERVE_HAPROXY_SOCKET_PATH": "admin.sock",
    "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "server-state",
    "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "metrics.sock",
    "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": "",
}


def elsewhere(settings: Settings, mark: str) -> str:
    """What a job must find as here, in a form that can be compared and not read: a digest, keyed by this start's id."""
    uris = (settings.tracking_uri, settings.features_uri, settings.ledger_uri)
    known = (settings.id_secret.get_secret_value(), settings.audit_secret.get_secret_value())
    values = (*uris, *known, os.environ.get(sources.PASSWORD, ""))
    return hmac.new(mark.encode(), "\0".join(values).encode(), "sha256").hexdigest()


def prepare_environment() -> None:
    """Settle how Ray behaves, before anything imports it."""
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextmanager
def connected(settings: Settings) -> Iterator[None]:
    """Be connected to Ray for the length of the block. Whatever prints meanwhile prints to stderr: Ray itself writes
    warnings to stdout, where a command's one JSON line belongs.

    Raises:
        CannotStart: no Ray answers at the address given.
    """
    prepare_environment()
    address = os.environ.get("RAY_ADDRESS") or running(settings).get("address")
    with redirect_stdout(sys.stderr):
        if not address:
            with started(settings):
                yield
            return
        _init(f"no Ray answers at {address}; unset RAY_ADDRESS, or start one there", address=address)
        try:
            yield
        finally:
            _leave()


def _leave() -> None:
    import ray

    ray.shutdown()


@contextmanager
def started(settings: Settings, *, url: str = "") -> Iterator[dict[str, Any]]:
    """A Ray head of our own on this machine; it and all its children are gone when the block ends.

    With `url`, the address it will serve, it is written down for `forewarn status` and `forewarn down`.

    Raises:
        CannotStart: too little memory, leftovers of an earlier run, or Ray does not start.
    """
    prepare_environment()
    refuse_running(settings)
    _refuse_little_memory()
    mark = secrets.token_hex(8)
    _settle_environment(settings, mark)
    try:
        found = {"pid": os.getpid(), "mark": mark, "elsewhere": elsewhere(settings, mark), **_start_head(settings)}
        if url:
            remember(settings, {**found, "url": url})
        yield found
    finally:
        with _undisturbed():
            _end_head(mark)
            if url:
                forget(settings)


def _settle_environment(settings: Settings, mark: str) -> None:
    """What the head's processes inherit: whose they are, where the state lies, which Python a job's `python` is."""
    os.environ[MARK] = mark
    os.environ["FOREWARN_HOME"] = str(settings.make_home())
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    _choose_ports(scratch(settings), apart_from={settings.port or 0, settings.dashboard_port})


def _start_head(settings: Settings) -> dict[str, str]:
    from ray._private.utils import write_ray_address

    port = settings.dashboard_port if machine.is_free(settings.dashboard_port) else machine.free_port()
    with _agent_port():
        context = _init(
            "Ray does not start; end an old Ray of this machine, or look into its logs",
            address="local",
            num_cpus=max(2, len(os.sched_getaffinity(0))),
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=True,
            dashboard_host=LOCALHOST,
            dashboard_port=port,
            _node_ip_address=LOCALHOST,
            _temp_dir=str(_own_folder(scratch(settings)) / "ray"),
        )
    address = context.address_info["gcs_address"]
    # A job looks its cluster up in this folder, and takes any Ray of this machine if nothing is there. `ray start`
    # writes it down, `ray.init` does not.
    write_ray_address(address, str(scratch(settings) / "ray"))
    return {"address": address, "dashboard": f"http://{context.address_info['webui_url']}"}


@contextmanager
def _agent_port() -> Iterator[None]:
    """Let this head's dashboard agent have a port of its own, where another Ray holds the usual one.

    `ray.init` takes no argument for it (`ray start` does), and a head whose agent has no port takes no jobs.
    """
    from ray._private import parameter, ray_constants

    if machine.is_free(ray_constants.DEFAULT_DASHBOARD_AGENT_LISTEN_PORT):
        yield
        return
    module: Any = parameter
    usual = module.RayParams
    module.RayParams = partial(usual, dashboard_agent_listen_port=machine.free_port())
    try:
        yield
    finally:
        module.RayParams = usual


def _init(trouble: str, **options: Any) -> Any:
    import ray

    try:
        return ray.init(log_to_driver=False, configure_logging=False, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise CannotStart(f"{trouble} ({str(error).strip().splitlines()[0][:200]})") from error


def _end_head(mark: str) -> None:
    import ray

    ray.shutdown()
    machine.end(machine.marked(mark))
    os.environ.pop(MARK, None)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C must not end the cleaning up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _own_folder(folder: Path) -> Path:
    """The folder, for us alone: HAProxy's admin socket lies in it, and its name can be guessed.

    Raises:
        CannotStart: another user made it first.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise CannotStart(f"{folder} belongs to another user; remove it, or choose another FOREWARN_HOME")
    folder.chmod(0o700)
    for session in folder.glob("ray/session_2*"):  # Ray never removes its logs, 9 MB a start
        if time() - session.stat().st_mtime > KEEP_LOGS_SECONDS:
            shutil.rmtree(session, ignore_errors=True)
    return folder


def running(settings: Settings) -> dict[str, Any]:
    """What `forewarn up` wrote down, if it is still alive; else an empty dict."""
    note = _note(settings)
    return note if note and psutil.pid_exists(note["pid"]) and _is_ours(psutil.Process(note["pid"]), note) else {}


def remember(settings: Settings, note: dict[str, Any]) -> None:
    """Write down what was started."""
    settings.make_home()
    state.write_json(settings.running, {**note, "born": psutil.Process(note["pid"]).create_time()})


def forget(settings: Settings) -> None:
    """Nothing runs any more."""
    settings.running.unlink(missing_ok=True)


def leftovers(settings: Settings) -> list[psutil.Process]:
    """Processes of an earlier run whose supervisor is gone."""
    note = _note(settings)
    return machine.marked(note["mark"]) if note and not running(settings) else []


def stop(found: dict[str, Any], left: list[psutil.Process]) -> None:
    """Ask the supervisor to stop, wait for it, and end whatever it could not."""
    if found:
        supervisor = psutil.Process(found["pid"])
        machine.signal(supervisor, "terminate")
        stubborn = [] if machine.ended(supervisor, within_s=STOP_SECONDS) else [supervisor]
        left = [*stubborn, *machine.marked(found["mark"])]
    machine.end(left)


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


def scratch(settings: Settings) -> Path:
    """Short-lived files of this home's Ray. A short path: HAProxy's sockets below it may have 97 characters."""
    return Path("/tmp") / f"fw-{sha256(str(settings.home).encode()).hexdigest()[:8]}"  # noqa: S108


def _note(settings: Settings) -> dict[str, Any]:
    return state.read_json(settings.running)


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


def _choose_ports(folder: Path, *, apart_from: Collection[int]) -> None:
    """Free ports for HAProxy's side doors, and its files in this home's own folder."""
    for name, port in zip(PORTS, machine.free_ports(len(PORTS), apart_from=apart_from), strict=True):
        os.environ.setdefault(name, str(port))
    for name, file in FILES.items():
        os.environ.setdefault(name, str(folder / file))

"""What this machine is doing: who holds a port, and which processes carry a start's mark."""

import os
import random
import socket
from collections.abc import Collection
from itertools import islice
from time import monotonic, sleep

import psutil

from forewarn.errors import CannotStart

LOCALHOST = "127.0.0.1"
PORTS = range(20_000, 30_000)
# In the environment of every process that one start of ours brought about.
MARK = "FOREWARN_CLUSTER"


def marked(mark: str) -> list[psutil.Process]:
    """Every process that carries this start's id, save this one."""
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _mark_of(process) == mark]


def end(processes: list[psutil.Process]) -> None:
    """Ask them to stop, insist after a while, wait until they are gone."""
    for process in processes:
        signal(process, "terminate")
    _, stubborn = psutil.wait_procs(processes, timeout=5)
    for process in stubborn:
        signal(process, "kill")
    psutil.wait_procs(stubborn, timeout=5)


def reachable(process: psutil.Process) -> list[str]:
    """Where a process listens that other machines could reach, as "name address:port", beyond what Ray 2.60 cannot
    close: HAProxy's two counters, and one port of each Serve replica (docs/decisions/0003).
    """
    try:
        name = process.name()
        found = [c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    except psutil.Error:
        return []
    open_to_all = [one for one in found if one.ip not in (LOCALHOST, f"::ffff:{LOCALHOST}", "::1")]
    side_doors = 2 if name == "haproxy" else 1 if name.startswith("ray::ServeRepli") else 0
    return [f"{name} {one.ip}:{one.port}" for one in open_to_all] if len(open_to_all) > side_doors else []


def refuse_taken_port(port: int, remedy: str) -> None:
    """Say who holds a port that we need.

    Raises:
        CannotStart: naming the process and the remedy.
    """
    if not is_free(port):
        raise CannotStart(f"port {port} is in use{_holder(port)}; end it, or {remedy}")


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


def ended(process: psutil.Process, *, within_s: float) -> bool:
    """Whether it ends in time. One that only waits for its parent to take note has ended."""
    deadline = monotonic() + within_s
    while monotonic() < deadline:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        sleep(0.1)
    return False


def signal(process: psutil.Process, how: str) -> None:
    """`terminate` or `kill` a process that may be gone already."""
    try:
        getattr(process, how)()
    except psutil.NoSuchProcess:
        return


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    return _can_bind(port, reuse=True)


def free_port() -> int:
    """A port that nobody holds."""
    return free_ports(1)[0]


def free_ports(count: int, *, apart_from: Collection[int] = ()) -> list[int]:
    """Different ports that nobody holds nor has just held, and that no outgoing connection takes before they are used:
    the kernel gives those from 32768 on (one took HAProxy's port while a load ran here), Ray Serve its replicas those
    from 30000. Ray's fallback proxy cannot bind one whose last connections are not a minute old.
    """
    drawn = (port for port in random.sample(PORTS, len(PORTS)) if port not in apart_from)
    return list(islice((port for port in drawn if _can_bind(port, reuse=False)), count))


def _can_bind(port: int, *, reuse: bool) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse))
        try:
            probe.bind((LOCALHOST, port))
        except OSError:
            return False
    return True

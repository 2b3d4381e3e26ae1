"""A burst of load on one URL: by wrk where it is installed, else by a Python process that takes more of the machine."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a burst came to.

    Attributes:
        rate: answers with status 200 a second.
        p50, p95, p99: latencies of the answers, in milliseconds.
        failed: what -> how many: a status, or a connection that broke.
    """

    rate: float
    p50: float
    p95: float
    p99: float
    failed: Mapping[str, int]


def load(
    url: str,
    bodies: Sequence[bytes],
    headers: Mapping[str, str],
    *,
    connections: int,
    seconds: float,
    pause_ms: int = 0,
) -> Load:
    """Post the bodies in turn on so many connections at once for so long. Each asks again when it has its answer; after
    a pause, where wrk is there to make one.
    """
    asked = {"Content-Type": "application/json", **headers}
    if shutil.which("wrk"):
        with TemporaryDirectory() as folder:
            lines = Path(folder) / "bodies"
            lines.write_bytes(b"\n".join(bodies))
            return _wrk(url, [str(lines), *([str(pause_ms)] if pause_ms else [])], asked, connections, seconds)
    from benchmarks import clients  # the fallback

    return clients.ask(url, clients.requests(url, bodies, asked), connections=connections, seconds=seconds)


def _wrk(url: str, told: list[str], headers: Mapping[str, str], connections: int, seconds: float) -> Load:
    named = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    timing = ["-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "30s"]
    command = ["wrk", *timing, "-s", str(SCRIPT), *named, url, "--", *told]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = orjson.loads(done.stdout.splitlines()[-1])
    failed = {name: found[name] for name in ("status", "broken", "timeout") if found[name]}
    rate = (found["answered"] - found["status"]) / found["seconds"]
    return Load(rate=rate, p50=found["p50"], p95=found["p95"], p99=found["p99"], failed=failed)

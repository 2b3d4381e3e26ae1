"""Servers of a test's own, so that it may end them: PostgreSQL and Redis, on free ports."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from jobs.machine import free_port
from tests.conftest import until


class Postgres:
    """A whole server in a folder."""

    def __init__(self, folder: Path, programs: Path):
        self._folder, self._programs, self.port = folder / "data", programs, free_port()
        self._as(str(programs / "initdb"), "-D", str(self._folder), "-U", "forewarn", "-A", "trust", "--no-sync")

    @property
    def uri(self) -> str:
        return f"postgresql://forewarn@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k '' -c fsync=off"
        log = str(self._folder / "log")
        self._as(str(self._programs / "pg_ctl"), "-D", str(self._folder), "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        self._as(str(self._programs / "pg_ctl"), "-D", str(self._folder), "-w", "-m", "immediate", "stop")

    def _as(self, *command: str) -> None:
        """PostgreSQL refuses to be run by root."""
        root = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        subprocess.run([*root, *command], check=True, stdout=subprocess.DEVNULL, cwd="/")


@contextmanager
def postgres() -> Iterator[Postgres]:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs or (os.getuid() == 0 and not shutil.which("runuser")):
        pytest.skip("PostgreSQL's own programs are not on this machine")
    with TemporaryDirectory() as folder:
        if os.getuid() == 0:
            os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
        server = Postgres(Path(folder), programs[-1].parent)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def redis() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not on this machine")
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with TemporaryDirectory() as folder, subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as server:
        try:
            until(lambda: _answers(port), seconds=10, what="Redis is up")
            yield f"redis://127.0.0.1:{port}/0", server
        finally:
            server.kill()


def _answers(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from forewarn.errors import CannotStart
from forewarn.settings import Settings
from jobs import cluster, machine
from jobs.machine import free_port
from tests.conftest import until


def test_a_taken_port_is_told_with_its_holder_and_the_remedy() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(CannotStart, match=rf"port {port} is in use by process {os.getpid()} .* or do this"):
            machine.refuse_taken_port(port, "do this")


def test_a_free_port_is_fine() -> None:
    machine.refuse_taken_port(free_port(), "nothing to do")


def test_ports_given_together_differ_and_were_not_just_in_use() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            server.accept()[0].close()  # whoever closes first waits a minute for stragglers
            client.recv(1)
    assert machine.is_free(port), "for a server that reuses its address"
    everything = machine.free_ports(len(machine.PORTS), apart_from={20_001})
    assert len(everything) == len(set(everything))
    assert not {port, 20_001} & set(everything)


def test_too_little_memory_is_told_before_anything_starts(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=3 * 2**29))
    with (
        pytest.raises(CannotStart, match=r"only 1\.5 GiB of memory are free and Forewarn needs 3"),
        cluster.started(settings),
    ):
        pass


def test_a_home_that_is_up_is_not_started_twice(settings: Settings) -> None:
    cluster.remember(settings, {"pid": os.getpid(), "mark": "m", "url": "http://127.0.0.1:1"})
    with pytest.raises(CannotStart, match=r"already up at http://127\.0\.0\.1:1"), cluster.started(settings):
        pass


def test_a_process_id_that_went_to_another_process_is_not_ours(settings: Settings) -> None:
    cluster.remember(settings, {"pid": os.getpid(), "mark": "m", "url": "u"})
    note = settings.running.read_text()
    settings.running.write_text(note.replace('"born": ', '"born": 1'))
    assert cluster.running(settings) == {}


def test_leftovers_are_found_by_their_mark_named_and_ended_and_nothing_else(settings: Settings) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (
        subprocess.Popen(sleep, env={**os.environ, machine.MARK: "ours"}) as ours,
        subprocess.Popen(sleep, env={**os.environ, machine.MARK: "theirs"}) as theirs,
        subprocess.Popen([sys.executable, "-c", "pass"]) as gone,
    ):
        cluster.remember(settings, {"pid": gone.pid, "mark": "ours", "url": "u"})
        gone.wait()
        until(lambda: cluster.leftovers(settings), seconds=10, what="the leftover is seen")
        with (
            pytest.raises(CannotStart, match=rf"an old Ray of this home is still running .*{ours.pid}"),
            cluster.started(settings),
        ):
            pass
        cluster.stop(cluster.running(settings), cluster.leftovers(settings))
        assert not psutil.pid_exists(ours.pid)
        assert theirs.poll() is None
        theirs.kill()


def test_two_homes_use_two_scratch_folders_short_enough_for_sockets(tmp_path_factory: pytest.TempPathFactory) -> None:
    one, two = (cluster.scratch(Settings(home=tmp_path_factory.mktemp(name))) for name in ("one", "two"))
    assert one != two
    node = "f" * 56
    assert len(str(one / node / "metrics.sock")) <= 97


def test_what_the_caller_set_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    cluster.prepare_environment()
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_logs_of_last_week_go_and_those_of_yesterday_stay(tmp_path: Path) -> None:
    old, new = tmp_path / "ray" / "session_2026-01-01", tmp_path / "ray" / "session_2026-01-08"
    for session in (old, new):
        session.mkdir(parents=True)
    eight_days_ago = time.time() - 8 * 24 * 3600
    os.utime(old, (eight_days_ago, eight_days_ago))
    cluster._own_folder(tmp_path)
    assert not old.exists()
    assert new.exists()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_what_is_printed_while_connected_does_not_go_where_results_go(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ray writes its warnings to stdout."""

    @contextmanager
    def started(_: Settings) -> Iterator[None]:
        yield

    monkeypatch.setattr(cluster, "started", started)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with cluster.connected(settings):
        print("(raylet) WARNING")
    print("{}")
    assert capsys.readouterr().out == "{}\n"

"""Processes beside the cluster."""

import os
import signal
import subprocess

import pytest

from jobs import kept_up
from tests.conftest import until

MODULE = "http.server"  # any that stays


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_up, "AGAIN_SECONDS", 0.05)
    quiet = ["-c", "import time; time.sleep(60)"]
    real = subprocess.Popen
    monkeypatch.setattr("jobs.kept_up.subprocess.Popen", lambda command, **more: real([command[0], *quiet], **more))


def test_one_that_dies_is_begun_again_and_at_the_end_it_is_gone() -> None:
    with kept_up.kept_up(MODULE) as kept:
        first = kept.process.pid
        os.kill(first, signal.SIGKILL)
        until(lambda: kept.process.pid != first, seconds=10, what="another one")
        second = kept.process
        assert second.poll() is None
    assert second.poll() is not None


def test_one_that_is_waiting_to_begin_again_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_up, "AGAIN_SECONDS", 60.0)
    with kept_up.kept_up(MODULE) as kept:
        kept.process.kill()
        kept.process.wait()
    assert kept.process.poll() == -signal.SIGKILL

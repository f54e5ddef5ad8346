"""A process whose main loop or an essential thread hangs says so, and ends itself."""

import subprocess
import sys
import textwrap
import time

import httpx
import pytest

from ebb import liveness
from ebb.liveness import Liveness
from ebb.metrics import serve_metrics
from ebb.settings import Settings
from ebb_cli.local.ports import free_port


def run(code: str) -> subprocess.CompletedProcess[str]:
    head = "import threading, time\nfrom ebb import liveness\nliveness.END_SECONDS = 0.5\nliveness.START_SECONDS = 30\n"
    command = [sys.executable, "-c", head + textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_loop_that_stops_turning_ends_the_process_and_leaves_every_stack_in_the_log() -> None:
    ended = run("""
        def deadlocked():
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        living = liveness.Liveness(ends=True)
        living.beat()
        deadlocked()
    """)
    assert ended.returncode == 1
    assert "in deadlocked" in ended.stderr


def test_an_essential_thread_that_dies_ends_the_process_though_the_loop_turns() -> None:
    ended = run("""
        liveness.START_SECONDS = 3
        living = liveness.Liveness(ends=True)
        thread = threading.Thread(target=lambda: None)
        thread.start()
        living.watch("the reader", lambda: None if thread.is_alive() else "has died")
        while True:
            living.beat()
            time.sleep(0.05)
    """)
    assert ended.returncode == 1
    assert "the reader has died" in ended.stdout + ended.stderr


def test_a_loop_that_turns_lives_on_and_a_slow_start_is_no_hang() -> None:
    ended = run("""
        liveness.END_SECONDS = 2.5
        living = liveness.Liveness(ends=True)
        time.sleep(3)
        until = time.monotonic() + 3
        while time.monotonic() < until:
            living.beat()
            time.sleep(0.05)
    """)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_livez_beside_the_metrics_tells_what_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(metrics_port=free_port())
    living = Liveness()
    failing: list[str] = []
    living.watch("the reader", lambda: failing[0] if failing else None)
    serve_metrics(settings, living)
    with httpx.Client(base_url=f"http://127.0.0.1:{settings.metrics_port}", trust_env=False, timeout=30) as client:
        assert client.get("/livez").status_code == 200, "it starts"
        living.beat()
        assert client.get("/livez").status_code == 200
        failing.append("has died")
        answer = client.get("/livez")
        assert (answer.status_code, answer.text) == (503, "the reader has died\n")
        failing.clear()
        monkeypatch.setattr(liveness, "LATE_SECONDS", 0.1)
        time.sleep(0.2)
        answer = client.get("/livez")
        assert answer.status_code == 503
        assert answer.text.startswith("the main loop has not turned for")
        assert "ebb_events_total" in client.get("/metrics").text

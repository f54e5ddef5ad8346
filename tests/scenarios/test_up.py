"""`ebb up` as a person meets it: it starts, heals, is found by other commands, and leaves nothing behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from ebb_cli.local import event_time
from ebb_cli.local import home as run_file
from ebb_cli.local.ports import free_port, is_free
from tests.support.project import LIB

pytestmark = pytest.mark.timeout(600)

EBB = Path(sys.executable).with_name("ebb")
PORTS = ("EBB_API_PORT", "EBB_KAFKA_PORT", "EBB_CLICKHOUSE_PORT")


class Up:
    """A running `ebb up`, its output, and what it started."""

    def __init__(self, home: Path, *arguments: str, **variables: str) -> None:
        self.home = home
        self.ports = {name: free_port() for name in PORTS}
        given = {name: str(port) for name, port in self.ports.items()} | variables
        self.environment = {**os.environ, "EBB_HOME": str(home), "EBB_LIB": str(LIB), "EBB_PARTITIONS": "2", **given}
        self.output = home.with_suffix(".out")
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [str(EBB), "up", *arguments], env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )
        self.family: set[psutil.Process] = set()

    def text(self) -> str:
        """Return what it has printed so far."""
        return self.output.read_text()

    def wait_until(self, truth: Callable[[], Any], *, within: float = 240) -> None:
        """Wait until something holds; fail with its output if it ends first or takes too long."""
        deadline = time.monotonic() + within
        while not truth():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.2)

    def wait_until_ready(self) -> dict[str, Any]:
        """Wait until its addresses are announced; return what `run.json` holds."""
        self.wait_until(lambda: run_file.read(self.home))
        self.family |= set(psutil.Process(self.process.pid).children(recursive=True))
        found = run_file.read(self.home)
        assert found
        return found

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another `ebb` command on the same home, with nothing else given."""
        kept = {name: value for name, value in self.environment.items() if name not in PORTS}
        return subprocess.run(
            [str(EBB), *arguments], env=kept, capture_output=True, text=True, check=False, timeout=120
        )

    def part(self, module: str) -> psutil.Process:
        """Return the process that runs a module."""
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if module in child.cmdline())

    def left(self) -> list[str]:
        """Return what is still there of it: processes and ports."""
        processes = [f"{member.pid} {member.name()}" for member in self.family if _alive(member)]
        return processes + [f"{name} {port}" for name, port in self.ports.items() if not is_free(port)]


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Start `ebb up` on the test's home; whatever is left of it in the end is killed."""
    started: list[Up] = []

    def run(*arguments: str, **variables: str) -> Up:
        started.append(Up(tmp_path / "home", *arguments, **variables))
        return started[-1]

    yield run
    for running in started:
        if running.process.poll() is None:
            running.family |= set(psutil.Process(running.process.pid).children(recursive=True))
            running.process.kill()
            running.process.wait()
        for member in running.family:
            if _alive(member):
                member.kill()


SMALL = ("--day-seconds", "4", "--customers", "40", "--history-days", "3")


def test_a_system_starts_heals_is_found_stops_on_sigterm_and_goes_on(start: Callable[..., Up]) -> None:
    up = start(*SMALL)
    found = up.wait_until_ready()

    # Every address that it prints answers, on the requested ports.
    api = f"http://127.0.0.1:{up.ports['EBB_API_PORT']}"
    assert found["addresses"]["Live page"] == api
    assert found["settings"]["kafka_bootstrap"] == f"127.0.0.1:{up.ports['EBB_KAFKA_PORT']}"
    for what, where in found["addresses"].items():
        if where.startswith("http"):
            # ClickHouse asks for the home's password, which is printed nowhere.
            others = {"REST": httpx.codes.NOT_FOUND, "ClickHouse": httpx.codes.FORBIDDEN}
            expected = {httpx.codes.OK, others.get(what, httpx.codes.OK)}
            assert httpx.get(where, timeout=60, trust_env=False, follow_redirects=True).status_code in expected, what

    # The command it offers to try works, and customers get scores.
    tried = re.search(r"curl -s '([^']+)'", up.text())
    assert tried, up.text()
    up.wait_until(lambda: httpx.get(tried[1], timeout=60, trust_env=False).json()["customers"])

    # Other commands find it; a second one on the home is refused, and so is a reset.
    status = up.command("status")
    assert api in status.stdout
    assert "customers scored" in status.stdout
    second = up.command("up", *SMALL)
    assert second.returncode == 1
    assert f"already running on {up.home} (process {up.process.pid})" in second.stderr.replace("\n", " ")
    assert up.command("reset", "--yes").returncode == 1

    # A killed part comes back, and the output says so.
    worker = up.part("stream_processors")
    worker.kill()
    up.wait_until(lambda: "worker-0 is back" in up.text())
    assert "worker-0 ended (killed by SIGKILL)" in up.text()
    assert str(up.home / "logs" / "worker-0.log") in up.text()
    up.family |= set(psutil.Process(up.process.pid).children(recursive=True))

    # SIGTERM, even twice, leaves no process, no port and a clock to go on from.
    up.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(120) == 0, up.text()
    assert up.left() == []
    assert run_file.read(up.home) is None
    assert "Traceback" not in up.text()
    stopped = event_time.load(up.home)
    assert stopped
    assert stopped.clean

    # The next start goes on: same event time, same customers.
    again = start(*SMALL)
    content = again.wait_until_ready()
    assert content["settings"]["clock_origin_event"] == stopped.event
    base = content["addresses"]["Live page"]
    assert httpx.get(f"{base}/v1/customers/at-risk", timeout=60, trust_env=False).json()["customers"]
    again.process.send_signal(signal.SIGINT)
    assert again.process.wait(120) == 0, again.text()
    assert again.left() == []


def test_parts_do_not_outlive_a_system_that_is_killed(start: Callable[..., Up]) -> None:
    up = start("--no-simulator")
    up.wait_until_ready()
    assert len(up.family) >= 6
    up.process.kill()
    up.process.wait()
    deadline = time.monotonic() + 60
    while up.left() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert up.left() == []
    assert run_file.read(up.home) is None
    assert json.loads(run_file.path(up.home).read_text())["pid"] == up.process.pid


def test_a_system_that_is_stopped_while_it_starts_leaves_nothing(start: Callable[..., Up]) -> None:
    up = start(*SMALL)
    up.wait_until(lambda: len(psutil.Process(up.process.pid).children()) >= 3)
    up.family |= set(psutil.Process(up.process.pid).children(recursive=True))
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(120) == 0, up.text()
    assert up.left() == []
    assert "Traceback" not in up.text()


def test_an_asked_for_port_that_is_taken_stops_the_start_in_one_sentence(start: Callable[..., Up]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        up = start("--no-simulator", EBB_CLICKHOUSE_PORT=str(port))
        assert up.process.wait(120) == 1
    assert f"Port {port}, asked for by EBB_CLICKHOUSE_PORT, is taken by" in up.text()
    assert up.text().count("\n") == 1
    assert "Traceback" not in up.text()

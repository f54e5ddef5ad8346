"""Environments and processes of the peers: failures are reported, and the requested period is measured."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks._peers import environments, running
from benchmarks._peers.meter import Meter, Task, cpu_seconds
from ebb.errors import EbbError, SetupError


def task(folder: Path, *, records: int = 10, warm_up: int = 4) -> Task:
    return Task("peer", "127.0.0.1:1", "activity", "results", 8, records, warm_up, str(folder))


class EmptyTopic:
    """A stub of a results topic on which nothing arrives and whose queries take this long."""

    def __init__(self, *_: object, **__: object) -> None:
        self.queries = 0

    def __enter__(self) -> "EmptyTopic":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ends(self) -> list[int]:
        self.queries += 1
        return [min(self.queries, 3)]


class Clock:
    """A clock that advances only in `sleep`, however slow the machine is."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    time = monotonic

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_clock_runs_from_the_warm_up_and_the_end_is_reported_once_all_is_processed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks._peers.meter.time", SimpleNamespace(time=lambda: 100.0))
    meter, measured = Meter(task(tmp_path)), tmp_path / "measured.json"
    for records in (3, 3, 2):
        meter.add(records)
        assert not measured.exists()
    meter.add(2)
    began = json.loads(measured.read_text())
    assert (began["processed"], began["at"]) == (6, 100.0)
    assert 0 < began["cpu_seconds"] <= cpu_seconds()


def test_a_peer_that_ends_without_results_is_reported_with_its_own_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "Delivered", EmptyTopic)
    with pytest.raises(EbbError, match=r"No module named '?benchmarks\._peers\.nobody_peer"):
        running.run("nobody", Path(sys.executable), task(tmp_path))


def test_a_peer_is_watched_until_no_more_results_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "QUIET_SECONDS", 0.2)
    monkeypatch.setattr(running, "time", Clock())
    topic = EmptyTopic()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        try:
            spent = running._watch(process, topic)  # type: ignore[arg-type]
        finally:
            process.kill()
    assert topic.queries > 3
    assert len(spent) == topic.queries
    assert spent == sorted(spent)


def test_packages_that_cannot_be_installed_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = tmp_path / "pins"
    pins.mkdir()
    (pins / "broken.txt").write_text("this is no requirement ===\n")
    monkeypatch.setattr(environments, "REQUIREMENTS", pins)
    with pytest.raises(SetupError, match="The packages of broken cannot be installed on Python"):
        environments.python_of("broken", tmp_path / "made")
    assert not (tmp_path / "made" / "broken").exists()


def test_an_environment_is_made_once_for_its_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = tmp_path / "pins"
    pins.mkdir()
    (pins / "empty.txt").write_text("# nothing\n")
    monkeypatch.setattr(environments, "REQUIREMENTS", pins)
    python = environments.python_of("empty", tmp_path / "made")
    assert python.exists()
    (tmp_path / "made" / "empty" / "mark").touch()
    environments.python_of("empty", tmp_path / "made")
    assert (tmp_path / "made" / "empty" / "mark").exists()
    (pins / "empty.txt").write_text("# still nothing\n")
    environments.python_of("empty", tmp_path / "made")
    assert not (tmp_path / "made" / "empty" / "mark").exists()

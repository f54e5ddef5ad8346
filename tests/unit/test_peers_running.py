"""Environments and processes of the peers: what goes wrong is told, and measured is what was asked."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks._peers import environments, running
from benchmarks._peers.meter import Meter, Task
from ebb.errors import EbbError, SetupError


def task(folder: Path, *, records: int = 10, warm_up: int = 4) -> Task:
    return Task("peer", "127.0.0.1:1", "activity", 8, records, warm_up, str(folder))


def test_the_clock_runs_from_the_warm_up_to_the_last_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 103.0])
    monkeypatch.setattr("benchmarks._peers.meter.time", SimpleNamespace(perf_counter=lambda: next(now)))
    meter = Meter(task(tmp_path))
    for records in (3, 3, 2):
        meter.add(records)
        assert not meter.done
    meter.add(2)
    assert meter.done
    assert meter.measured["seconds"] == 3.0
    assert meter.measured["events_per_s"] == pytest.approx(4 / 3)
    meter.add(0)
    assert not meter.done


def test_results_are_there_before_the_measurements_say_so(tmp_path: Path) -> None:
    meter = Meter(task(tmp_path, records=2, warm_up=1))
    meter.add(1)
    meter.add(1)
    meter.hand_over([("c1", [1, 2.5], 0.5)])
    assert json.loads((tmp_path / "results.jsonl").read_text()) == ["c1", [1, 2.5], 0.5]
    assert set(json.loads((tmp_path / "measured.json").read_text())) == {"events_per_s", "seconds", "cpu_seconds"}


def test_a_peer_that_ends_without_results_is_told_of_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(EbbError, match=r"No module named '?benchmarks\._peers\.nobody_peer"):
        running.run("nobody", Path(sys.executable), task(tmp_path))


def test_packages_that_cannot_be_installed_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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

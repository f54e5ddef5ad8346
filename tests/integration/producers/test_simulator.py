"""The simulator as a process over a real broker: history, live pace, restart, and truth stored separately."""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from ebb.clock import DAY, day_of
from ebb.contracts.activity import TICK_HEADER
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from ebb_cli.local.parts import environment, module
from producers.simulator.records import records
from producers.simulator.shifts import Shifts
from producers.simulator.truth import read_truth, truth_folder
from producers.simulator.world import Simulation, World

OPTIONS = ("--customers", "300", "--history-days", "8", "--seed", "5")
TODAY = 20_500


@pytest.fixture
def compressed(space: Settings, tmp_path: Path) -> Settings:
    """A day in two seconds, beginning now."""
    return space.model_copy(
        update={
            "home": tmp_path,
            "day_seconds": 2.0,
            "clock_origin_wall": time.time(),
            "clock_origin_event": float(TODAY * DAY),
        }
    )


@contextlib.contextmanager
def _simulator(settings: Settings, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = module("producers.simulator.app", *options)
    process = subprocess.Popen(command, env=environment(settings), stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=60)


def _until(settings: Settings, process: subprocess.Popen[str], event_time: float) -> None:
    """Wait until a simulator has written down that it has sent everything up to an event time."""
    deadline = time.monotonic() + 90
    while not _journal_path(settings).exists() or _journal(settings)[1] < event_time:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _stop(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return errors


def _sent(settings: Settings) -> tuple[list[tuple[str, float, float]], dict[int, list[float]]]:
    """Return (event id, event time, event time at which the broker had it) of all events, and ticks by partition."""
    clock = settings.clock
    events, ticks = [], dict[int, list[float]]()
    headers: dict[str, Any]
    known: set[str] = set()
    newest = dict.fromkeys(range(settings.partitions), 0.0)
    for message in read_to_end(settings, settings.topics.activity, range(settings.partitions)):
        partition = message.partition() or 0
        headers = dict(message.headers() or [])
        if TICK_HEADER in headers:
            tick = float(headers[TICK_HEADER])
            assert newest[partition] < tick or tick in ticks[partition]
            ticks.setdefault(partition, []).append(tick)
            continue
        body = orjson.loads(message.value() or b"")
        assert set(body) == {"event_id", "customer_id", "type", "occurred_at", "properties"}
        at = _unix(body["occurred_at"])
        # Behind the tick that closed its day there is nothing but what had been sent before a crash.
        assert at >= max(ticks.get(partition, [0.0])) or body["event_id"] in known
        known.add(body["event_id"])
        newest[partition] = max(newest[partition], at)
        events.append((body["event_id"], at, clock.at(message.timestamp()[1] / 1000)))
    return events, ticks


def _unix(text: str) -> float:
    from datetime import datetime  # noqa: PLC0415

    return datetime.fromisoformat(text).timestamp()


def _wait_until(settings: Settings, event_time: float) -> None:
    time.sleep(max(settings.clock.wall(event_time) - time.time(), 0))


def _journal_path(settings: Settings) -> Path:
    return settings.home / f"simulator-{settings.namespace}.json"


def _journal(settings: Settings) -> tuple[int, float]:
    """Return the world's first day, and the event time up to which it has been sent."""
    stored = json.loads(_journal_path(settings).read_text())
    return stored["first_day"], stored["sent_until"]


def _expected(first_day: int, until: float) -> list[str]:
    world = World(seed=5, customers=300, first_day=first_day, shifts=Shifts())
    simulation = Simulation(world)
    ids: list[str] = []
    while simulation.day * DAY <= until:
        day = simulation.step()
        ids += [orjson.loads(record.body)["event_id"] for record in records(day, world.tag) if record.time <= until]
    return ids


def test_history_then_live_events_then_a_restart_without_duplicates(compressed: Settings) -> None:
    with _simulator(compressed, *OPTIONS) as process:
        _until(compressed, process, 0.0)
        first_day = _journal(compressed)[0]
        # The history ends at the clock's time at the start.
        assert TODAY <= first_day + 8 <= day_of(compressed.clock.now())
        _until(compressed, process, (first_day + 9.3) * DAY)
        _stop(process)
    first_part = len(_sent(compressed)[0])
    until = _journal(compressed)[1]
    with _simulator(compressed) as process:  # the options are remembered
        _until(compressed, process, until + 3 * DAY)
        _stop(process)
    until = _journal(compressed)[1]

    events, ticks = _sent(compressed)
    assert len(events) > first_part > 300
    ids = [event_id for event_id, _, _ in events]
    assert len(ids) == len(set(ids))
    assert sorted(ids) == sorted(_expected(first_day, until))
    # Kafka's timestamps are cut to milliseconds, 43 seconds of this event time.
    assert all(at <= seen + 45 for _, at, seen in events)
    days_sent = range(first_day, int(until // DAY) + 1)
    closings = [day * DAY + compressed.allowed_lateness_seconds for day in days_sent]
    assert set(ticks) == set(range(compressed.partitions))
    assert all(sorted(set(sent)) == [at for at in closings if at <= until] for sent in ticks.values())

    table, horizon, lookback = read_truth(truth_folder(compressed))
    assert (horizon, lookback) == (compressed.horizon_days, compressed.lookback_days)
    days = table.column("day").to_pylist()
    # On the first day no customer has been seen.
    assert set(days) == set(days_sent[1:])


def test_after_a_crash_what_is_sent_again_has_the_same_ids(compressed: Settings) -> None:
    with _simulator(compressed, *OPTIONS) as process:
        _until(compressed, process, TODAY * DAY)
        _wait_until(compressed, compressed.clock.now() + 1.5 * DAY)
        process.kill()
        process.wait(timeout=20)
    until = _journal(compressed)[1]
    with _simulator(compressed) as process:
        _until(compressed, process, until + 2 * DAY)
        _stop(process)
    ids = {event_id for event_id, _, _ in _sent(compressed)[0]}
    assert ids == set(_expected(*_journal(compressed)))


def test_a_second_simulator_on_the_home_is_refused(compressed: Settings) -> None:
    with _simulator(compressed, *OPTIONS) as first:
        _until(compressed, first, 0.0)
        with _simulator(compressed) as second:
            _, errors = second.communicate(timeout=90)
            assert second.returncode == 1
            assert "already runs" in errors
        _stop(first)


def test_options_that_contradict_the_home_end_in_one_sentence(compressed: Settings) -> None:
    with _simulator(compressed, *OPTIONS) as process:
        _until(compressed, process, TODAY * DAY)
        _stop(process)
    for options in (("--customers", "400"), ("--shift", "1:price"), ("--shift", "noon")):
        with _simulator(compressed, *options) as process:
            _, errors = process.communicate(timeout=90)
            assert process.returncode == 1
            assert "Traceback" not in errors
            assert f"{options[0]} {options[1]}" in errors

"""A recorded log on the topic: in order, ticked at every boundary, its refused rows dead-lettered."""

import time
from collections import defaultdict
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from confluent_kafka import Message

from ebb.clock import DAY
from ebb.contracts.activity import TICK_HEADER
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from producers.activity_producer import ActivityProducer
from producers.replay.presets import GENERIC, mapping_of
from producers.replay.rows import Rows, columns_of, complete_mapping
from producers.replay.sender import ReplayTally, replay
from producers.replay.sources import open_log

DAY_0 = 15_000  # 2011-01-26
MAPPING = ["customer_id=who", "occurred_at=at", "type==view", "amount=paid"]


def _headers(message: Message) -> dict[str, str]:
    pairs: list[Any] = list(message.headers() or [])
    return {name: value.decode() for name, value in pairs}


def _body(message: Message) -> Any:
    return orjson.loads(message.value() or b"")


def _csv(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(["who,at,paid", *lines]) + "\n")
    return path


def _rows(path: Path) -> Rows:
    source = open_log(path)
    mapping = complete_mapping(mapping_of(GENERIC, MAPPING), source.names)
    return Rows(source.read(columns_of(mapping)), mapping, zone=ZoneInfo("UTC"), latest=2e9, max_bytes=2_000)


def _replay(space: Settings, path: Path, speed: float | None = None) -> ReplayTally:
    with ActivityProducer(space, source="replay") as producer:
        return replay(_rows(path), producer, name=path.name, speed=speed)


def test_every_partition_gets_every_boundary_after_the_events_before_it(space: Settings, tmp_path: Path) -> None:
    times = [DAY_0 * DAY + hours * 3_600 for hours in (30, 1, 2, 99, 23.9, 24)]
    path = _csv(tmp_path / "log.csv", [f"c{number},{at:.0f},1" for number, at in enumerate(times)])
    tally = _replay(space, path)
    assert (tally.read, tally.accepted, tally.refused.total()) == (6, 6, 0)
    assert tally.final_boundary == DAY_0 + 5
    ticks: dict[int, list[int]] = defaultdict(list)
    seen = 0
    for message in read_to_end(space, space.topics.activity, range(space.partitions)):
        mine = ticks[message.partition() or 0]
        if headers := _headers(message):
            mine.append(int(headers[TICK_HEADER]))
        else:
            event = _body(message)
            number = int(event["customer_id"][1:])
            # All boundaries up to its day have been sent, and no later one.
            assert mine[-1] == times[number] // DAY * DAY
            seen += 1
    assert seen == 6
    # From the first day of the log to the boundary after its last event: no label beyond its end can mature.
    assert dict(ticks) == {number: [(DAY_0 + day) * DAY for day in range(6)] for number in range(space.partitions)}


def test_refused_rows_are_counted_and_dead_lettered_unchanged(space: Settings, tmp_path: Path) -> None:
    good = DAY_0 * DAY
    path = _csv(tmp_path / "log.csv", [f"a,{good},1", f",{good},2", "b,soon,3", "c,1", f"d,{good},lots", f"e,{good},6"])
    tally = _replay(space, path)
    assert dict(tally.refused) == {"wrong_columns": 1, "bad_time": 1, "no_customer": 1, "wrong_type": 1}
    assert (tally.read, tally.accepted) == (6, 2)
    assert tally.examples["bad_time"].startswith("line 4: `at` is 'soon'")
    dead_letters = {}
    for message in read_to_end(space, space.topics.dead_letters, range(space.partitions)):
        headers = _headers(message)
        assert (headers["stage"], headers["topic"]) == ("replay", "log.csv")
        dead_letters[headers["reason"], int(headers["offset"])] = message.value()
    assert set(dead_letters) == {("no_customer", 1), ("bad_time", 2), ("wrong_columns", 3), ("wrong_type", 4)}
    assert dead_letters["wrong_columns", 3] == b"c,1"
    assert orjson.loads(dead_letters["wrong_type", 4] or b"") == {"who": "d", "at": str(good), "paid": "lots"}


def test_a_log_sent_twice_carries_the_same_ids(space: Settings, tmp_path: Path) -> None:
    line = f"a,{DAY_0 * DAY},1"
    path = _csv(tmp_path / "log.csv", [line, line, f"b,{DAY_0 * DAY},1"])
    _replay(space, path)
    _replay(space, path)
    ids = [
        _body(message)["event_id"]
        for message in read_to_end(space, space.topics.activity, range(space.partitions))
        if message.value()
    ]
    assert len(ids) == 6
    assert len(set(ids)) == 3


def test_a_speed_is_kept(space: Settings, tmp_path: Path) -> None:
    path = _csv(tmp_path / "log.csv", [f"a,{DAY_0 * DAY + 600 * n},{n}" for n in range(10)])
    began = time.monotonic()
    _replay(space, path, speed=3_600)  # 90 minutes
    assert 1.4 < time.monotonic() - began < 60


def test_a_replay_that_is_stopped_sends_no_last_tick(space: Settings, tmp_path: Path) -> None:
    path = _csv(tmp_path / "log.csv", [f"a,{DAY_0 * DAY + n},{n}" for n in range(5_000)])
    with ActivityProducer(space, source="replay") as producer:
        tally = replay(_rows(path), producer, name="log", stopping=lambda: True)
    assert tally.stopped
    assert 0 < tally.accepted < 5_000
    ticks = [
        _headers(message)[TICK_HEADER]
        for message in read_to_end(space, space.topics.activity, [0])
        if message.headers()
    ]
    assert ticks == [str(DAY_0 * DAY)]


def test_a_log_without_a_usable_row_has_no_last_boundary(space: Settings, tmp_path: Path) -> None:
    tally = _replay(space, _csv(tmp_path / "log.csv", ["a,never,1"]))
    assert tally.final_boundary is None
    assert not list(read_to_end(space, space.topics.activity, range(space.partitions)))

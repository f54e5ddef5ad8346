"""A follower on a real broker: order, failures of its handler, and a broker that hangs."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from ebb.errors import UnavailableError
from ebb.kafka import follower
from ebb.kafka.follower import STOP_SECONDS, ShutdownError, TopicFollower
from ebb.kafka.producer import Publisher
from ebb.settings import Settings
from ebb_cli.local.supervisor import Supervisor
from tests.support.flow import wait_for

Handle = Callable[[Sequence[Message]], None]


@pytest.fixture(autouse=True)
def _fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "FIRST_RETRY_SECONDS", 0.1)


def send(settings: Settings, *values: str) -> None:
    publisher = Publisher(settings)
    for value in values:
        publisher.send(settings.topics.state, key="k", value=value.encode(), partition=0)
    publisher.flush()


def values(records: Sequence[Message]) -> list[str]:
    return [(record.value() or b"").decode() for record in records]


@contextmanager
def following(settings: Settings, handle: Handle, **more: Any) -> Iterator[TopicFollower]:
    """Run a member of a consumer group that commits, unless `more` overrides it."""

    def subscribe(consumer: Consumer) -> None:
        consumer.subscribe([settings.topics.state])

    options = {"begin": subscribe, "group": settings.group("test"), "commits": True, "auto_offset_reset": "earliest"}
    running = TopicFollower(settings, "test", handle, **{**options, **more})
    running.start()
    try:
        yield running
    finally:
        running.stop()
        assert not running.alive


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_records_are_handled_in_order_and_the_next_member_resumes_behind_them(space: Settings, batch: int) -> None:
    first = [f"{number}" for number in range(50)]
    handled: list[str] = []
    sizes: list[int] = []

    def handle(records: Sequence[Message]) -> None:
        sizes.append(len(records))
        handled.extend(values(records))

    send(space, *first)
    with following(space, handle, batch=batch) as running:
        wait_for("the first", lambda: len(handled) == 50)
        wait_for("an idle poll", lambda: 0 in sizes)
        assert running.trouble is None
    assert handled == first
    assert max(sizes) <= batch
    send(space, "later")
    with following(space, handle, batch=batch):
        wait_for("the later one", lambda: "later" in handled)
    assert handled == [*first, "later"]


@pytest.mark.parametrize("error", [UnavailableError("It is away."), ZeroDivisionError("a defect")])
def test_batch_whose_handler_raises_is_handled_again(space: Settings, error: Exception) -> None:
    handled: list[str] = []
    failures = 2

    def handle(records: Sequence[Message]) -> None:
        nonlocal failures
        if "bad" in values(records) and failures:
            failures -= 1
            raise error
        handled.extend(values(records))

    send(space, "a", "bad", "b")
    with following(space, handle) as running:
        wait_for("all three", lambda: len(handled) == 3)
        assert running.alive
        assert failures == 0
    assert handled == ["a", "bad", "b"]


def test_failure_is_reported_until_it_is_over(space: Settings) -> None:
    fails = True

    def handle(_: Sequence[Message]) -> None:
        if fails:
            reason = "ClickHouse is away."
            raise UnavailableError(reason)

    with following(space, handle) as running:
        wait_for("the trouble", lambda: running.trouble == "ClickHouse is away.")
        fails = False
        wait_for("its end", lambda: running.trouble is None)


def test_assigned_partitions_are_read_from_their_offsets_to_the_end(space: Settings) -> None:
    handled: list[str] = []
    ends: list[tuple[str, int, int]] = []
    position, fails = 2, True

    def assign(consumer: Consumer) -> None:
        consumer.assign([TopicPartition(space.topics.state, 0, position)])

    def handle(records: Sequence[Message]) -> None:
        nonlocal position, fails
        if "d" in values(records) and fails:
            fails = False
            reason = "a defect"
            raise RuntimeError(reason)
        handled.extend(values(records))
        position += len(records)

    send(space, "a", "b", "c", "d", "e")
    with following(space, handle, begin=assign, commits=False, at_end=lambda *end: ends.append(end)):
        wait_for("the end", lambda: ends)
        send(space, "f")
        wait_for("the next end", lambda: (space.topics.state, 0, 6) in ends)
    assert handled == ["c", "d", "e", "f"]
    assert ends == [(space.topics.state, 0, 5), (space.topics.state, 0, 6)]


def test_handler_that_sleeps_is_interrupted_by_the_stop_and_its_record_stays(space: Settings) -> None:
    handled: list[str] = []
    begun, interrupted = threading.Event(), threading.Event()

    def handle(records: Sequence[Message]) -> None:
        if records:
            begun.set()
            try:
                running.sleep(60)
            except ShutdownError:
                interrupted.set()
                raise
            handled.extend(values(records))

    send(space, "a")
    with following(space, handle) as running:
        wait_for("the record in the handler", begun.is_set)
    assert interrupted.is_set()
    assert handled == []
    with following(space, lambda records: handled.extend(values(records))):
        wait_for("the record", lambda: handled == ["a"])


def test_stop_is_bounded_while_the_broker_hangs(space: Settings, stack_supervisor: Supervisor) -> None:
    running = TopicFollower(
        space,
        "test",
        lambda _: None,
        begin=lambda consumer: consumer.subscribe([space.topics.state]),
        group=space.group("test"),
    )
    running.start()
    wait_for("the first poll", lambda: running.trouble is None)
    broker = stack_supervisor.pid("kafka")
    assert broker is not None
    os.kill(broker, signal.SIGSTOP)
    try:
        began = time.monotonic()
        running.stop()
        assert time.monotonic() - began < STOP_SECONDS + 2
    finally:
        os.kill(broker, signal.SIGCONT)
    wait_for("the thread's end", lambda: not running.alive)

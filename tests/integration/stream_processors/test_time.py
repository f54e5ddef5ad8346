"""Event time in a real worker: partitions without events, a source that begins late, stops and returns, restarts."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ebb.contracts import examples as blocks
from ebb.contracts.activity import TICK_HEADER, encode_activity
from ebb.contracts.scores import utc
from ebb.kafka.admin import create_topics
from ebb.kafka.config import client_config, producer_config
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from ebb_cli.local import parts
from ebb_cli.local.supervisor import Supervisor
from stream_processors.checkpoint import restore
from stream_processors.intake_clock import IntakeClock
from stream_processors.intake_tail import read_reached
from stream_processors.state.engine import Engine
from tests.support.flow import Source, wait_for
from tests.support.workers import accepted, hurried, metric

DAY = 86_400
HOUR = 3_600
RunPart = Callable[[parts.ManagedProcess], Supervisor]


@pytest.fixture
def settings(space: Settings) -> Settings:
    """A namespace in which a day passes in a second, from the day with number 19,700 on."""
    return hurried(
        space,
        idle_after_seconds=0.3,
        day_seconds=1.0,
        clock_origin_wall=time.time(),
        clock_origin_event=19_700.0 * DAY,
        hold_after_hours=24.0 * 10,
    )


def engines(settings: Settings) -> list[Engine]:
    return [restore(settings, partition)[0] for partition in range(settings.partitions)]


def ticks(settings: Settings) -> list[tuple[float, float]]:
    """Return the time of each tick on the topic, and the event time at which the broker received it, Unix seconds."""
    found = []
    for message in read_to_end(settings, settings.topics.activity, range(settings.partitions)):
        headers: Any = message.headers() or []
        for name, value in headers:
            if name == TICK_HEADER:
                found.append((float(value or b""), settings.clock.at(message.timestamp()[1] / 1000)))
    return found


def churn_labels(settings: Settings) -> list[int]:
    found = []
    for message in read_to_end(settings, settings.topics.examples, range(settings.partitions)):
        block = blocks.decode(message.value() or b"")
        if isinstance(block, blocks.Labels) and block.target == "churn":
            found += block.labels.tolist()
    return found


def test_a_source_that_begins_late_stops_and_returns_with_its_backlog(settings: Settings, run_part: RunPart) -> None:
    worker = parts.worker(settings)
    run_part(worker)
    source, clock = Source(settings), settings.clock
    time.sleep(3)  # three days without any event, which must count for nothing
    first = clock.now()
    for number in range(8):
        source.event(f"c{number}", first - 10 * HOUR + number * HOUR, "view")
    source.flush()
    begun = time.time()

    # Every partition closes the same days, also one that never had an event, with no tick ahead of the clock.
    def closed() -> set[int | None]:
        return {engine.state.closed for engine in engines(settings)}

    wait_for("all partitions at one boundary", lambda: len(closed()) == 1 and None not in closed())
    assert metric(worker, 'ebb_events_total{result="late"}') == 0
    assert accepted(worker) == 8

    # The source falls silent: time goes on for ten days, then it is held, and no label says that all have left.
    wait_for("time to be held", lambda: metric(worker, "ebb_time_held") == 1)
    time.sleep(2)
    # A day closes six hours after its end.
    last = int((clock.at(begun) + 10 * DAY - 6 * HOUR) // DAY)
    assert all(engine.state.closed is not None and engine.state.closed <= last + 1 for engine in engines(settings))
    assert all(at <= received + 90 for at, received in ticks(settings))
    before = len(churn_labels(settings))

    # It returns with what it had kept. All of that counts, and time goes on from there.
    returned = clock.now()
    days = int((returned - clock.at(begun)) // DAY)
    assert days >= 11
    for day in range(days + 1):
        for number in range(8):
            source.event(f"c{number}", min(first + day * DAY + number * HOUR, returned), "view")
    source.flush()
    wait_for("the backlog", lambda: accepted(worker) == source.sent)
    assert metric(worker, 'ebb_events_total{result="late"}') == 0
    wait_for("time to go on", lambda: metric(worker, "ebb_time_held") == 0)
    wait_for("labels", lambda: len(churn_labels(settings)) > before)


def test_time_that_passes_while_no_worker_runs_counts_for_idle_partitions(
    settings: Settings, run_part: RunPart
) -> None:
    live = settings.model_copy(update={"hold_after_hours": 0.0})
    worker = parts.worker(live)
    supervisor = run_part(worker)
    source = Source(live)
    source.event("alone", live.clock.now() - HOUR)
    source.flush()
    wait_for("a first boundary everywhere", lambda: all(one.state.closed is not None for one in engines(live)))
    supervisor.take_down("worker-0")
    stopped = max(one.state.closed or 0 for one in engines(live))
    time.sleep(4)
    supervisor.bring_up("worker-0")
    began = int(live.clock.now() // DAY)
    wait_for("today", lambda: all((one.state.closed or 0) >= began - 1 for one in engines(live)), seconds=20)
    assert began - 1 >= stopped + 3


def test_what_a_transaction_aborts_is_not_counted_and_its_marks_are_no_lag(
    settings: Settings, run_part: RunPart
) -> None:
    live = settings.model_copy(update={"hold_after_hours": 0.0})
    worker = parts.worker(live)
    run_part(worker)
    producer = Producer(producer_config(live, transactional_id=f"{live.namespace}-shop"))
    producer.init_transactions()

    def send(name: str, count: int) -> None:
        for number in range(count):
            body = encode_activity(f"{name}{number}", "c", "view", utc(live.clock.now()), {})
            producer.produce(live.topics.activity, body, b"c")
        producer.flush()

    producer.begin_transaction()
    send("aborted", 60)
    producer.abort_transaction()
    producer.begin_transaction()
    send("good", 5)
    producer.commit_transaction()
    wait_for("the good ones", lambda: accepted(worker) == 5)
    for partition in range(live.partitions):
        lag = f'ebb_consumer_lag_events{{partition="{partition}",topic="{live.topics.activity}"}}'
        wait_for("no lag", lambda lag=lag: metric(worker, lag) == 0)  # type: ignore[misc]
    # Ticks, which wait for that, age the customer: the label matures.
    assert wait_for("a label", lambda: churn_labels(live))[0] == 1
    assert accepted(worker) == 5


def test_the_broker_sets_the_time_of_records_also_on_a_topic_made_otherwise(space: Settings) -> None:
    other = space.model_copy(update={"namespace": f"{space.namespace}x", "partitions": 1})
    admin = AdminClient(client_config(other))
    for future in admin.create_topics([NewTopic(other.topics.activity, num_partitions=1)]).values():
        future.result(timeout=30)
    create_topics(other)
    producer = Producer(client_config(other))

    def appended() -> list[int]:
        # Until the broker has taken the setting over, it refuses a time so far ahead.
        producer.produce(other.topics.activity, b"x", timestamp=4_000_000_000_000)
        producer.flush()
        return [message.timestamp()[1] for message in read_to_end(other, other.topics.activity, [0])]

    times = wait_for("a record", appended)
    assert all(abs(at / 1000 - time.time()) < 60 for at in times)
    for deleted in admin.delete_topics(
        [name for name in admin.list_topics().topics if name.startswith(other.topics.prefix)]
    ).values():
        deleted.result(timeout=30)


def test_a_worker_whose_partitions_were_never_used_learns_of_the_intake_from_the_others(settings: Settings) -> None:
    assert read_reached(settings) == []
    source = Source(settings)
    at = settings.clock.now() - HOUR
    source.event("alone", at)
    source.raw(b"no event", key=b"x")
    source.flush()
    source.tick(at + HOUR / 2)
    source.flush()
    reached = read_reached(settings)
    assert [one.has_event for one in reached] == [True] + [False] * settings.partitions
    assert reached[0].event_time == pytest.approx(at * 1000, abs=1)
    assert {one.event_time // 1000 for one in reached[1:]} == {int(at + HOUR / 2)}

    intake = IntakeClock(settings.clock.speed, settings.hold_after)
    for one in reached:
        intake.observe(one.event_time, one.appended, has_event=one.has_event)
    assert intake.event_at == reached[0].appended
    now = intake.now(time.time())
    assert now is not None
    assert now >= (at + HOUR / 2) * 1000 // 1000 * 1000 - 1_000

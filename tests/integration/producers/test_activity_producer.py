"""The producer against a real broker: delivered once, placed as Kafka's own clients place, ordered, counted."""

import threading
import time
from collections import defaultdict
from types import SimpleNamespace

import pytest
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import Message

from benchmarks import _load
from benchmarks._load import offer, random_events
from ebb.contracts.activity import TICK_HEADER, decode_activity
from ebb.errors import UnavailableError
from ebb.kafka.reader import read_to_end
from ebb.metrics import PRODUCED
from ebb.settings import Settings
from ebb_cli.local.ports import free_port
from producers.activity_producer import ActivityProducer


def _read(space: Settings) -> dict[int, list[Message]]:
    messages: dict[int, list[Message]] = defaultdict(list)
    for message in read_to_end(space, space.topics.activity, range(space.partitions)):
        messages[message.partition() or 0].append(message)
    return messages


def test_events_arrive_once_by_customer_in_order_in_the_partition_of_kafkas_default_partitioner(
    space: Settings,
) -> None:
    before = PRODUCED.labels("test")._value.get()
    with ActivityProducer(space, source="test") as producer:
        for number in range(3_000):
            producer.send(f"customer-{number % 70}", str(number).encode())
        producer.flush()
        assert producer.delivered == 3_000
    assert PRODUCED.labels("test")._value.get() - before == 3_000
    received = _read(space)
    partitions = list(range(space.partitions))
    index = DefaultPartitioner()
    for partition, messages in received.items():
        numbers = [int(message.value() or b"") for message in messages]
        assert numbers == sorted(set(numbers))
        for message in messages:
            assert index(message.key(), partitions, partitions) == partition
    assert sum(map(len, received.values())) == 3_000
    assert len(received) == space.partitions


def test_a_tick_reaches_every_partition_behind_the_events_sent_before_it(space: Settings) -> None:
    with ActivityProducer(space, source="test", linger_ms=50) as producer:
        for number in range(500):
            producer.send(f"c{number}", b"before")
        producer.send_tick(86_400 * 3)
        for number in range(500):
            producer.send(f"c{number}", b"after")
    for messages in _read(space).values():
        (index,) = [index for index, message in enumerate(messages) if message.headers()]
        assert messages[index].headers() == [(TICK_HEADER, b"259200")]
        assert messages[index].key() is None
        assert not messages[index].value()
        assert {message.value() for message in messages[:index]} == {b"before"}
        assert {message.value() for message in messages[index + 1 :]} == {b"after"}
    assert len(_read(space)) == space.partitions


def test_more_than_the_queue_holds_is_sent_by_waiting(space: Settings) -> None:
    with ActivityProducer(space, source="test", linger_ms=20) as producer:
        for number in range(150_000):
            producer.send(f"c{number % 1_000}", b"x" * 60)
    assert producer.delivered == 150_000


def test_without_a_broker_the_error_comes_soon_and_names_the_setting() -> None:
    nowhere = Settings(kafka_bootstrap=f"127.0.0.1:{free_port()}")
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="EBB_KAFKA_BOOTSTRAP"):
        ActivityProducer(nowhere, source="test", timeout_seconds=2)
    assert time.monotonic() - began < 30


def test_without_the_topic_the_error_names_it(space: Settings) -> None:
    other = space.model_copy(update={"namespace": "nobody"})
    with pytest.raises(UnavailableError, match=r"no topic ebb\.nobody\.activity"):
        ActivityProducer(other, source="test")


def test_a_refused_record_is_reported_at_the_flush(space: Settings) -> None:
    producer = ActivityProducer(space, source="test")
    producer.send("c", b"fine")
    with pytest.raises(UnavailableError, match="MSG_SIZE_TOO_LARGE"):
        producer.send("c", b"x" * 9_000_000)
    producer.close()
    assert producer.delivered == 1


def test_an_error_inside_is_not_hidden_by_the_end_of_the_producer(space: Settings) -> None:
    producer = ActivityProducer(space, source="test")
    with pytest.raises(ZeroDivisionError), producer:
        producer.send("c", (b"x" * (1 // 0)))


def test_load_is_offered_at_its_rate_and_is_accepted_by_the_contract(
    space: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        time.sleep(seconds)

    monkeypatch.setattr(_load, "time", SimpleNamespace(monotonic=time.monotonic, sleep=nap))
    events = random_events(1_000, customers=50, seed=1, begin=1e9, span_seconds=3_600)
    assert events == random_events(1_000, customers=50, seed=1, begin=1e9, span_seconds=3_600)
    for customer_id, body in events:
        assert decode_activity(body, latest=2e9, max_bytes=2_000)[0].customer_id == customer_id
    with ActivityProducer(space, source="load", linger_ms=1) as producer:
        paced = offer(producer, events, rate=1_000)
        # Not before its time, and waiting no longer than that: a machine that stalls makes it late all the same.
        assert paced.seconds > 0.9
        assert sum(naps) < 1.1
        naps.clear()
        flat = offer(producer, events)
        assert not naps
        stopped = threading.Event()
        stopped.set()
        assert offer(producer, events, stopping=stopped.is_set).sent == 0
    assert paced.sent == flat.sent == 1_000
    assert sum(map(len, _read(space).values())) == 2_000

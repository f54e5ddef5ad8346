"""Writing that one process at a time can do, on a real broker."""

import time
from typing import Any

import pytest

from ebb.errors import UnavailableError
from ebb.kafka.fenced_writer import FencedError, FencedRecord, FencedWriter
from ebb.kafka.producer import Publisher
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings


def writer(settings: Settings) -> FencedWriter:
    return FencedWriter(settings, settings.topics.state, 1)


def stored(settings: Settings) -> dict[str, bytes | None]:
    records = read_to_end(settings, settings.topics.state, [0, 1])
    return {(message.key() or b"").decode(): message.value() for message in records}


def test_a_new_writer_fences_the_previous_one(space: Settings) -> None:
    first = writer(space)
    first.write({"a": b"1", "b": b"1"})
    second = writer(space)
    with pytest.raises(FencedError, match="Another process owns"):
        first.write({"a": b"late", "c": b"late"})
    assert stored(space) == {"a": b"1", "b": b"1"}
    second.write({"a": b"2", "b": None})
    assert stored(space) == {"a": b"2", "b": None}
    with pytest.raises(FencedError):
        first.write({"a": b"later still"})
    assert stored(space) == {"a": b"2", "b": None}


def test_a_writer_that_is_fenced_between_two_records_says_so_too(space: Settings) -> None:
    class Slow(dict[str, bytes | None]):
        def items(self) -> Any:
            """Yield the records; the fence is noticed in the background after the first."""
            for record in super().items():
                yield record
                time.sleep(1.0)

    first = writer(space)
    first.write({"a": b"1"})
    writer(space)
    with pytest.raises(FencedError, match="Another process owns"):
        first.write(Slow({"a": b"late", "b": b"late", "c": b"late"}))
    assert stored(space) == {"a": b"1"}


def test_an_unfinished_transaction_is_never_visible(space: Settings) -> None:
    hung = writer(space)
    hung.write({"a": b"1"})
    hung._producer.begin_transaction()
    hung._produce(FencedRecord(space.topics.state, 1, "a", b"half"))
    hung._producer.flush(10)
    assert stored(space) == {"a": b"1"}, "an open transaction must not be visible"
    writer(space).write({"b": b"2"})
    assert stored(space) == {"a": b"1", "b": b"2"}


def test_a_topic_is_read_to_its_end_whatever_its_last_records(space: Settings) -> None:
    assert stored(space) == {}
    writer(space).write({"a": b"1"})
    publisher = Publisher(space)
    publisher.send(space.topics.state, key="plain", value=b"x", partition=0)
    publisher.flush()
    assert stored(space) == {"a": b"1", "plain": b"x"}


def test_an_unreachable_broker_is_reported(space: Settings) -> None:
    away = space.model_copy(update={"kafka_bootstrap": "127.0.0.1:1"})
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1"):
        FencedWriter(away, "x", 0, patience=2)

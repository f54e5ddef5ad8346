"""How far the whole intake is, read from the last records of every partition, also of those of other workers."""

import time
from typing import Any, NamedTuple

from confluent_kafka import Consumer, Message, TopicPartition

from ebb.kafka.config import client_config
from ebb.settings import Settings
from stream_processors.batch import TICK, Record
from stream_processors.ingest.decoder import Decoder

TAIL = 50
"""Records looked at in each partition. While nothing comes but ticks, there is one a day until time is held."""
TIMEOUT_SECONDS = 5.0


class Reached(NamedTuple):
    """A time that a partition has reached."""

    event_time: int
    """Milliseconds."""
    appended: float
    """When the record that says so was appended, Unix seconds."""
    has_event: bool
    """Whether it is an event; otherwise a tick."""


def read_tails(settings: Settings) -> list[Reached]:
    """Return the times that all partitions have reached, in the order in which their records were appended.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    decoder = Decoder(settings)
    topic, found = settings.topics.activity, []
    consumer = Consumer(
        client_config(settings, group_id=settings.group("intake"), enable_auto_commit=False, enable_partition_eof=True)
    )
    try:
        for partition in range(settings.partitions):
            where = TopicPartition(topic, partition)
            low, high = consumer.get_watermark_offsets(where, timeout=TIMEOUT_SECONDS)
            if high > low:
                consumer.assign([TopicPartition(topic, partition, max(low, high - TAIL))])
                records = [_record(message) for message in _until_end(consumer)]
                found += _reached(decoder, records) if records else []
    finally:
        consumer.close()
    return sorted(found, key=lambda one: one.appended)


def _until_end(consumer: Consumer) -> list[Message]:
    """Return the records of the one partition assigned, up to its end."""
    found: list[Message] = []
    until = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < until:
        # It waits this long for so many, also when fewer are left.
        messages = consumer.consume(TAIL, 0.1)
        good = [message for message in messages if message.error() is None]
        found += good
        if len(good) < len(messages):
            break
    return found


def _record(message: Message) -> Record:
    headers: Any = message.headers() or ()
    return Record(message.offset() or 0, message.timestamp()[1], message.key(), message.value(), tuple(headers))


def _reached(decoder: Decoder, records: list[Record]) -> list[Reached]:
    batch = decoder.decode(records)
    appended = {record.offset: record.timestamp / 1000.0 for record in records}
    return [
        Reached(moment, appended[offset], kind != TICK)
        for offset, moment, kind in zip(batch.offsets.tolist(), batch.times.tolist(), batch.kinds.tolist(), strict=True)
    ]

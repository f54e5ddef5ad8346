"""How far the whole intake is, read from the last records of every partition, also of those of other workers."""

from typing import Any, NamedTuple

from confluent_kafka import Message

from ebb.kafka.reader import read_tails
from ebb.settings import Settings
from stream_processors.batch import TICK, Record
from stream_processors.ingest.decoder import Decoder

RECORDS = 50
"""Records looked at in each partition. While nothing comes but ticks, there is one a day until time is held."""


class Reached(NamedTuple):
    """A time that a partition has reached."""

    event_time: int
    """Milliseconds."""
    appended: float
    """When the record that says so was appended, Unix seconds."""
    has_event: bool
    """Whether it is an event; otherwise a tick."""


def read_reached(settings: Settings) -> list[Reached]:
    """Return the times that all partitions have reached, in the order in which their records were appended.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    decoder, found = Decoder(settings), []
    partitions = range(settings.partitions)
    for _, messages in read_tails(settings, settings.topics.activity, partitions, records=RECORDS):
        records = [_record(message) for message in messages]
        batch = decoder.decode(records)
        appended = {record.offset: record.timestamp / 1000.0 for record in records}
        columns = (batch.offsets.tolist(), batch.times.tolist(), batch.kinds.tolist())
        found += [
            Reached(moment, appended[offset], kind != TICK) for offset, moment, kind in zip(*columns, strict=True)
        ]
    return sorted(found, key=lambda one: one.appended)


def _record(message: Message) -> Record:
    headers: Any = message.headers() or ()
    return Record(message.offset() or 0, message.timestamp()[1], message.key(), message.value(), tuple(headers))

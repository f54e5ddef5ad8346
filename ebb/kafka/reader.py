"""Read a topic to its end, or the last records of its partitions."""

import time
from collections.abc import Iterator, Sequence
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from ebb.contracts.topics import MAX_MESSAGE_BYTES
from ebb.errors import UnavailableError
from ebb.kafka.config import client_config
from ebb.settings import PlaceSettings

SILENCE_SECONDS = 330.0
"""Above `ebb.kafka.fenced_writer.TRANSACTION_SECONDS`."""
_HUNG = "no record comes, though there are more"


def read_to_end(
    settings: PlaceSettings,
    topic: str,
    partitions: Sequence[int],
    *,
    timeout: float = 30.0,
    silence: float = SILENCE_SECONDS,
) -> Iterator[Message]:
    """Yield every record of some partitions, from the first kept to the last at the time of the call.

    Parameters
    ----------
    timeout
        Seconds in which the broker must say how far the partitions go.
    silence
        Seconds without a record, before the last one, after which it counts as hung. The default lets it end a
        transaction that a dead process left open.

    Raises
    ------
    UnavailableError
        If the broker does not answer.
    """
    consumer = _reader(settings)
    heard_at = time.monotonic()
    try:
        ends: dict[int, int] = {}
        for partition in partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=timeout)
            if high > low:
                ends[partition] = high
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in ends])
        while ends:
            # It waits this long for a thousand, also when fewer are left.
            messages = consumer.consume(1_000, timeout=0.1)
            now = time.monotonic()
            heard_at = now if messages else heard_at
            if now - heard_at > silence:
                raise KafkaException(_HUNG)
            for message in messages:
                if (error := message.error()) is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    ends.pop(cast(int, message.partition()), None)
                else:
                    raise KafkaException(error)
            positions = consumer.position([TopicPartition(topic, partition) for partition in ends])
            for position in positions:
                if position.offset >= ends[position.partition]:
                    del ends[position.partition]
    except KafkaException as error:
        what = f"Kafka at {settings.kafka_bootstrap} cannot be read ({topic}): {error.args[0]}."
        raise UnavailableError(what, "Check that the broker runs and that EBB_KAFKA_BOOTSTRAP names it.") from error
    finally:
        consumer.close()


def read_tails(
    settings: PlaceSettings, topic: str, partitions: Sequence[int], *, records: int, timeout: float = 5.0
) -> Iterator[tuple[int, list[Message]]]:
    """Yield each partition with its last records, oldest first; a partition without any is left out.

    Parameters
    ----------
    records
        How many of each, at most.
    timeout
        Seconds to wait for one partition.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    consumer = _reader(settings)
    try:
        for partition in partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=timeout)
            if high > low:
                consumer.assign([TopicPartition(topic, partition, max(low, high - records))])
                if messages := _until_end(consumer, records, timeout):
                    yield partition, messages
    finally:
        consumer.close()


def _reader(settings: PlaceSettings) -> Consumer:
    """Return a consumer that commits nothing and says where a partition ends."""
    return Consumer(
        client_config(
            settings,
            group_id=f"{settings.topics.prefix}reader",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_message_max_bytes=MAX_MESSAGE_BYTES,
            fetch_wait_max_ms=20,
            # After the last record there may be a transaction marker, which no position ever shows.
            enable_partition_eof=True,
        )
    )


def _until_end(consumer: Consumer, records: int, timeout: float) -> list[Message]:
    """Return the records of the one partition assigned, up to its end."""
    found: list[Message] = []
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        # It waits this long for so many, also when fewer are left.
        messages = consumer.consume(records, timeout=0.1)
        good = [message for message in messages if message.error() is None]
        found += good
        if len(good) < len(messages):
            break
    return found

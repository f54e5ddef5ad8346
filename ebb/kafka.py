"""Kafka as every part uses it: an idempotent producer that loses nothing in silence, and reading a topic to its end."""

from collections.abc import Iterable, Iterator, Sequence
from threading import Lock
from typing import Any, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from ebb.clients import client_config, producer_config
from ebb.errors import UnavailableError
from ebb.settings import Settings
from ebb.topics import MAX_MESSAGE_BYTES


class Publisher:
    """Sends records and remembers the first that the broker refused, until `flush` tells of it.

    Safe for several threads. The producer is idempotent: a retry neither doubles nor reorders.

    Parameters
    ----------
    linger_ms
        How long a record may wait for company: throughput against latency.
    """

    def __init__(self, settings: Settings, *, linger_ms: float = 5) -> None:
        self._bootstrap = settings.kafka_bootstrap
        self._failure: KafkaError | None = None
        self._lock = Lock()
        self._producer = Producer(
            producer_config(
                settings,
                linger_ms=linger_ms,
                queue_buffering_max_messages=500_000,
                # Calling back for each of so many records costs more than all else about them.
                delivery_report_only_error=True,
                delivery_timeout_ms=120_000,
            )
            | {"on_delivery": self._refused}
        )

    def send(
        self,
        topic: str,
        *,
        key: bytes | str | None,
        value: bytes | None,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes | None]] | None = None,
    ) -> None:
        """Hand over a record; waits while the local queue is full."""
        placed: dict[str, Any] = {} if partition is None else {"partition": partition}
        if headers:
            placed["headers"] = list(headers)
        while True:
            try:
                self._producer.produce(topic, key=key, value=value, **placed)
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def send_all(self, topic: str, records: Iterable[tuple[str, bytes]], *, partition: int) -> None:
        """Hand over many records, as (key, value), to one partition; waits while the local queue is full."""
        produce = self._producer.produce
        for key, value in records:
            try:
                produce(topic, value, key, partition)
            except BufferError:
                self.send(topic, key=key, value=value, partition=partition)
        self._producer.poll(0)

    def flush(self, timeout: float = 130.0) -> None:
        """Wait until every record handed over is acknowledged.

        Raises
        ------
        UnavailableError
            If one was refused or is still unacknowledged after `timeout` seconds.
        """
        left = self._producer.flush(timeout)
        with self._lock:
            failure, self._failure = self._failure, None
        if failure is not None or left:
            why = str(failure) if failure is not None else f"{left} records unacknowledged after {timeout:.0f} s"
            what = f"Kafka at {self._bootstrap} did not take all records: {why}."
            raise UnavailableError(what, "Check the broker; the work since the last checkpoint is done again.")

    def _refused(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            with self._lock:
                self._failure = self._failure or error


def read_to_end(
    settings: Settings, topic: str, partitions: Sequence[int], *, timeout: float = 30.0
) -> Iterator[Message]:
    """Yield every record of some partitions, from the first kept to the last that stood there when reading began.

    Raises
    ------
    UnavailableError
        If the broker does not answer within `timeout` seconds.
    """
    consumer = Consumer(
        client_config(
            settings,
            group_id=f"{settings.topics.prefix}reader",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_message_max_bytes=MAX_MESSAGE_BYTES,
            fetch_wait_max_ms=20,
            # Behind the last record there may be the end of a transaction, which no position ever tells of.
            enable_partition_eof=True,
        )
    )
    try:
        ends: dict[int, int] = {}
        for partition in partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=timeout)
            if high > low:
                ends[partition] = high
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in ends])
        while ends:
            # It waits this long for a thousand, also when fewer are left to come.
            found = consumer.consume(1_000, timeout=0.1)
            for message in found:
                if (error := message.error()) is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    ends.pop(cast(int, message.partition()), None)
                else:
                    raise KafkaException(error)
            positions = consumer.position([TopicPartition(topic, partition) for partition in ends])
            for place in positions:
                if place.offset >= ends[place.partition]:
                    del ends[place.partition]
    except KafkaException as error:
        what = f"Kafka at {settings.kafka_bootstrap} cannot be read ({topic}): {error.args[0]}."
        raise UnavailableError(what, "Check that the broker runs and that EBB_KAFKA_BOOTSTRAP names it.") from error
    finally:
        consumer.close()

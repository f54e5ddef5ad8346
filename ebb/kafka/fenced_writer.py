"""Writes that only one process at a time can make: one Kafka transaction per write, fenced by the next owner."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, cast

from confluent_kafka import KafkaError, KafkaException, Producer

from ebb.contracts.topics import MAX_MESSAGE_BYTES
from ebb.errors import EbbError, UnavailableError
from ebb.kafka.config import broker_hint, client_config
from ebb.settings import PlaceSettings

TRANSACTION_SECONDS = 300
"""Longest that one write may take; a process that hangs in one blocks readers no longer than this."""
_FENCED = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}


ABORT_SECONDS = 5.0


class FencedError(EbbError):
    """Another process owns what this one was about to write."""


class FencedRecord(NamedTuple):
    """A record for another topic than the writer's own."""

    topic: str
    partition: int
    key: str
    value: bytes | None


class FencedWriter:
    """Writes records, all of them or none, until another writer of the same partition is made.

    From the moment that a writer is made, no earlier one of its partition can write anything more, however long it hung
    whatever it believes; its unfinished write is aborted. Readers see whole writes only (`read_committed`, which is
    librdkafka's default).

    Parameters
    ----------
    topic, partition
        What is owned; the transactional id names both.
    patience
        Seconds to wait for the broker.

    Raises
    ------
    UnavailableError
        If the broker does not answer.
    """

    def __init__(self, settings: PlaceSettings, topic: str, partition: int, *, patience: float = 60) -> None:
        self._name, self._topic, self._partition = f"{topic}-{partition}", topic, partition
        self._settings = settings
        self._fenced = False
        self._producer = Producer(
            client_config(
                settings,
                transactional_id=self._name,
                transaction_timeout_ms=TRANSACTION_SECONDS * 1000,
                linger_ms=20,
                message_max_bytes=MAX_MESSAGE_BYTES,
                queue_buffering_max_kbytes=1_048_576,
                delivery_report_only_error=True,
            )
        )
        self._do(lambda: self._producer.init_transactions(patience))

    def write(self, records: Mapping[str, bytes | None], others: Iterable[FencedRecord] = ()) -> None:
        """Write records by key; None deletes. They are durable and visible when this returns.

        Parameters
        ----------
        records
            For the writer's own partition.
        others
            For other topics.

        Raises
        ------
        FencedError
            If another writer of this partition was made; nothing was written.
        UnavailableError
            If the broker does not accept them; nothing was written.
        """

        def transaction() -> None:
            self._producer.begin_transaction()
            for record in others:
                self._produce(record)
            for key, value in records.items():
                self._produce(FencedRecord(self._topic, self._partition, key, value))
            self._producer.commit_transaction(TRANSACTION_SECONDS)

        self._do(transaction)

    def _produce(self, record: FencedRecord) -> None:
        while True:
            try:
                self._producer.produce(record.topic, key=record.key, value=record.value, partition=record.partition)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def _reason(self, error: KafkaError) -> KafkaError:
        """Return why the producer failed for good: queueing a record says only that it did."""
        if error.code() != KafkaError._FATAL:
            return error
        try:
            self._producer.abort_transaction(ABORT_SECONDS)
        except KafkaException as failure:
            return cast(KafkaError, failure.args[0])
        return error

    def _do(self, work: Callable[[], None]) -> None:
        lost = FencedError(
            f"Another process owns {self._name} now; this one released it.", "No action is needed: its owner continues."
        )
        if self._fenced:
            raise lost
        try:
            work()
        except KafkaException as failure:
            error = self._reason(cast(KafkaError, failure.args[0]))
            if error.code() in _FENCED:
                self._fenced = True
                raise lost from failure
            what = f"Kafka at {self._settings.kafka_bootstrap} did not accept the records of {self._name}: {error}."
            hint = "Check the broker; the work since the last checkpoint is done again."
            raise UnavailableError(what, broker_hint(self._settings, hint)) from failure

"""The idempotent producer that the parts share; a lost record is an error at the next flush."""

from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from ebb.errors import UnavailableError
from ebb.kafka.config import broker_hint, producer_config
from ebb.settings import PlaceSettings


class Publisher:
    """Sends records, and keeps the first delivery error until `flush` raises it.

    Safe for several threads. The producer is idempotent: a retry neither doubles nor reorders.

    Parameters
    ----------
    linger_ms
        How long a record may wait to share a request: throughput against latency.
    """

    def __init__(self, settings: PlaceSettings, *, linger_ms: float = 5) -> None:
        self._settings = settings
        self._failure: KafkaError | None = None
        self._lock = Lock()
        self._producer = Producer(
            producer_config(
                settings,
                linger_ms=linger_ms,
                queue_buffering_max_messages=500_000,
                # A callback for every record would cost more than sending it.
                delivery_report_only_error=True,
                delivery_timeout_ms=120_000,
            )
            | {"on_delivery": self._on_delivery}
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
        """Queue a record; waits while the local queue is full."""
        options: dict[str, Any] = {} if partition is None else {"partition": partition}
        if headers:
            options["headers"] = list(headers)
        while True:
            try:
                self._producer.produce(topic, key=key, value=value, **options)
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def send_all(self, topic: str, records: Iterable[tuple[str, bytes]], *, partition: int) -> None:
        """Queue many records, as (key, value), to one partition; waits while the local queue is full."""
        produce = self._producer.produce
        for key, value in records:
            try:
                produce(topic, value, key, partition)
            except BufferError:
                self.send(topic, key=key, value=value, partition=partition)
        self._producer.poll(0)

    def flush(self, timeout: float = 130.0) -> None:
        """Wait until every queued record is acknowledged.

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
            what = f"Kafka at {self._settings.kafka_bootstrap} did not acknowledge all records: {why}."
            hint = "Check the broker. A part does the work since its last checkpoint again; repeat a command."
            raise UnavailableError(what, broker_hint(self._settings, hint))

    def _on_delivery(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            with self._lock:
                self._failure = self._failure or error

"""The only producer of the activity topic: idempotent, keyed by customer, counted, with backpressure by the broker.

Guarantee: every event handed to `send` is on the topic once when `flush` returns, in the order of the calls within
its partition, or `flush` raises. A process that dies before `flush` may have sent any prefix of a partition's events;
sources therefore give deterministic event ids, by which workers drop duplicates.
"""

import time
from types import TracebackType
from typing import Never, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ebb.contracts.activity import PUBLISHED_HEADER, TICK_HEADER
from ebb.errors import UnavailableError
from ebb.kafka.config import producer_config
from ebb.metrics import PRODUCE_FAILURES, PRODUCED
from ebb.settings import PlaceSettings

QUEUE_EVENTS = 100_000
"""Events that may wait for the broker; some 30 MB of memory, half a second of work for it."""
QUEUE_KBYTES = 262_144
POLL_EVERY = 1_000
"""Events between two polls for delivery reports."""


class ActivityProducer:
    """Sends activity events of one source to `ebb.activity`.

    Parameters
    ----------
    source
        Label under which what is sent is counted (`simulator`, `replay`, `load`).
    linger_ms
        Milliseconds an event may wait for others to share its request; small for live sources, larger for bulk.
    timeout_seconds
        How long to wait for the broker, at the start and on delivery of an event.

    Raises
    ------
    UnavailableError
        If no broker answers within `timeout_seconds`, or if it has no activity topic.
    """

    def __init__(
        self, settings: PlaceSettings, *, source: str, linger_ms: float = 5.0, timeout_seconds: float = 60.0
    ) -> None:
        self._settings = settings
        self._topic = settings.topics.activity
        self._source = source
        self._timeout_seconds = timeout_seconds
        self._failure: KafkaError | None = None
        self._sent = 0
        self._failed = 0
        self._counted = 0
        self._producer = Producer(
            producer_config(
                settings,
                client_id=f"ebb-{source}",
                linger_ms=linger_ms,
                batch_size=1_000_000,
                message_timeout_ms=int(timeout_seconds * 1_000),
                queue_buffering_max_messages=QUEUE_EVENTS,
                queue_buffering_max_kbytes=QUEUE_KBYTES,
                # A report for every event would cost more than sending it: what left the queue without one has arrived.
                delivery_report_only_error=True,
            )
            | {"on_delivery": self._on_delivery}
        )
        self.partitions = self._count_partitions()

    @property
    def delivered(self) -> int:
        """Events and ticks that the broker has acknowledged."""
        return self._sent - len(self._producer) - self._failed

    def send(self, customer_id: str, body: bytes) -> None:
        """Queue one event; while the queue is full, wait for the broker.

        Raises
        ------
        UnavailableError
            If the broker refused an earlier event or accepts none for `timeout_seconds`.
        """
        self._queue(self._topic, key=customer_id.encode(), value=body)

    def send_tick(self, event_time: float, *, published: int | None = None) -> None:
        """Queue a tick for every partition: all events before `event_time` (Unix seconds) have been sent.

        Parameters
        ----------
        published
            Boundary (day number) whose models workers must have in use before they go on; for paced replays.
        """
        headers: list[tuple[str, str | bytes | None]] = [(TICK_HEADER, str(int(event_time)).encode())]
        if published is not None:
            headers.append((PUBLISHED_HEADER, str(published).encode()))
        for partition in range(self.partitions):
            self._queue(self._topic, key=None, value=b"", partition=partition, headers=headers)

    def send_dead_letter(self, body: bytes, headers: list[tuple[str, str | bytes | None]]) -> None:
        """Queue a record that is not an event for the dead-letter topic, bytes unchanged."""
        self._queue(self._settings.topics.dead_letters, key=None, value=body, headers=headers)

    def flush(self) -> None:
        """Wait until the broker has acknowledged everything.

        Raises
        ------
        UnavailableError
            If it refused an event or stays silent.
        """
        # Longer than message.timeout.ms, after which each event has either arrived or been reported.
        left = self._producer.flush(self._timeout_seconds + 5)
        self._count()
        if left:
            self._raise(f"{left} events are still unacknowledged")
        if self._failure is not None:
            self._raise(f"{self._failed} events were not delivered, the first with {self._failure.name()}")

    def close(self) -> None:
        """Flush; what cannot be delivered is dropped so that closing ends."""
        try:
            self.flush()
        finally:
            self._producer.purge()
            self._producer.flush(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:  # An error of the flush would hide the first one.
            self._producer.purge()
            self._producer.flush(1)

    def _queue(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes,
        partition: int = -1,
        headers: list[tuple[str, str | bytes | None]] | None = None,
    ) -> None:
        deadline = 0.0
        while True:
            try:
                if headers is None:
                    self._producer.produce(topic, value, key, partition)
                else:
                    self._producer.produce(topic, value, key, partition, headers=headers)
                break
            except BufferError:
                now = time.monotonic()
                deadline = deadline or now + self._timeout_seconds
                if now > deadline:
                    self._raise(f"it has accepted no event for {self._timeout_seconds:.0f} s")
                self._producer.poll(0.05)
            except KafkaException as error:
                self._raise(f"it refuses the event ({error.args[0].name()})", error)
        self._sent += 1
        if self._sent % POLL_EVERY == 0:
            self._producer.poll(0)
            self._count()
        if self._failure is not None:
            self._raise(f"an event was not delivered: {self._failure.name()}")

    def _on_delivery(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            return
        self._failed += 1
        self._failure = self._failure or error
        PRODUCE_FAILURES.labels(self._source).inc()

    def _count(self) -> None:
        delivered = self.delivered
        if delivered > self._counted:
            PRODUCED.labels(self._source).inc(delivered - self._counted)
            self._counted = delivered

    def _count_partitions(self) -> int:
        try:
            topics = self._producer.list_topics(timeout=self._timeout_seconds).topics
        except KafkaException as error:
            self._raise(f"it does not answer ({error.args[0].name()})", error)
        if self._topic not in topics:
            self._raise(f"it has no topic {self._topic}")
        return len(topics[self._topic].partitions)

    def _raise(self, problem: str, cause: BaseException | None = None) -> Never:
        what = f"Kafka at {self._settings.kafka_bootstrap} does not accept activity: {problem}."
        hint = "Check that the broker runs (`ebb up` starts one) and that EBB_KAFKA_BOOTSTRAP names it."
        raise UnavailableError(what, hint) from cause

"""Reads topics from Kafka in a thread of its own: all partitions, no consumer group, no commits.

Every replica of the API reads everything for itself, so replicas share nothing and none can take another's share.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ebb.errors import UnavailableError
from ebb.kafka.admin import create_topics
from ebb.kafka.config import client_config
from ebb.log import get_logger
from ebb.settings import PlaceSettings

BATCH = 2_000
"""Records handed on at once: large enough to be cheap, small enough to leave the interpreter to others."""
_log = get_logger(__name__)

Handler = Callable[[Sequence[Message], bool], None]
"""Takes records of one topic in offset order, and whether they were written after the reader began."""


@dataclass(frozen=True)
class Source:
    """A topic to read: who takes its records, and how many of the newest per partition to begin with."""

    handler: Handler
    newest: int | None = None
    """None reads from the beginning."""


class TopicReader:
    """Feeds the records of some topics to their handlers, and knows when it has caught up.

    `caught_up` means that every record which stood on the topics when the reader began has been handled; it never
    turns back. After a lost connection it goes on where it was.
    """

    def __init__(self, settings: PlaceSettings, sources: Mapping[str, Source]) -> None:
        self._settings = settings
        self._sources = dict(sources)
        self._next: dict[tuple[str, int], int] = {}
        self._goal: dict[tuple[str, int], int] = {}
        self._open: set[tuple[str, int]] = set()
        self._stopping = threading.Event()
        self._caught_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="topic-reader", daemon=True)
        self.trouble: str | None = "It has not begun to read."
        """Why it does not read at present; None if it does."""

    @property
    def caught_up(self) -> bool:
        """Whether everything that was on the topics at the start has been handled."""
        return self._caught_up.is_set()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def behind(self) -> int:
        """Records of the start that are still to be handled."""
        return sum(max(0, self._goal[where] - self._next[where]) for where in list(self._open))

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading and wait for the thread, at most 5 s."""
        self._stopping.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                create_topics(self._settings)
                self._read()
            except (KafkaException, UnavailableError) as error:
                self.trouble = str(error)
                _log.warning("reading_interrupted", error=str(error), again_in_seconds=1)
                self._stopping.wait(1)

    def _read(self) -> None:
        consumer = Consumer(
            client_config(
                self._settings,
                group_id=self._settings.group("api"),
                enable_auto_commit=False,
                enable_auto_offset_store=False,
                enable_partition_eof=True,
                auto_offset_reset="earliest",
                fetch_wait_max_ms=50,
                queued_max_messages_kbytes=65_536,
                allow_auto_create_topics=False,
            )
        )
        try:
            self._assign(consumer)
            while not self._stopping.is_set():
                first = consumer.poll(0.2)
                if first is not None:
                    self._handle([first, *consumer.consume(BATCH, 0)])
                self.trouble = None
        finally:
            consumer.close()

    def _assign(self, consumer: Consumer) -> None:
        known = consumer.list_topics(timeout=10).topics
        assignment = []
        for topic, source in self._sources.items():
            for partition in sorted(known[topic].partitions):
                where = (topic, partition)
                if where not in self._next:
                    low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
                    self._next[where] = low if source.newest is None else max(low, high - source.newest)
                    self._goal[where] = high
                    if self._next[where] < high:
                        self._open.add(where)
                assignment.append(TopicPartition(topic, partition, self._next[where]))
        consumer.assign(assignment)
        self._settle()

    def _handle(self, messages: Sequence[Message]) -> None:
        groups: dict[tuple[str, bool], list[Message]] = {}
        for message in messages:
            error = message.error()
            where = (str(message.topic()), int(message.partition() or 0))
            if error is None:
                offset = int(message.offset() or 0)
                self._next[where] = offset + 1
                groups.setdefault((where[0], offset >= self._goal[where]), []).append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                # The last offsets may hold nothing that is delivered (compacted away, transaction markers).
                self._next[where] = max(self._next[where], int(message.offset() or 0))
            elif error.fatal() or error.code() in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}:
                raise KafkaException(error)
            else:
                _log.warning("reading_hindered", error=str(error))
        for (topic, fresh), records in sorted(groups.items(), key=lambda group: group[0][1]):
            self._sources[topic].handler(records, fresh)
        self._settle()

    def _settle(self) -> None:
        self._open = {where for where in self._open if self._next[where] < self._goal[where]}
        if not self._open and not self._caught_up.is_set():
            self._caught_up.set()
            _log.info("caught_up", records=sum(self._goal.values()))

"""Reads topics into the views: all partitions, no consumer group, no commits.

Every replica of the API reads everything for itself, so replicas share nothing and none can take another's share.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, Message, TopicPartition

from ebb.kafka.follower import TopicFollower
from ebb.log import get_logger
from ebb.metrics import RECORDS_REFUSED
from ebb.settings import PlaceSettings

BATCH = 2_000
"""Records handed on at once: large enough to be cheap, small enough to leave the interpreter to other threads."""
_log = get_logger(__name__)

Handler = Callable[[Sequence[Message], bool], None]
"""Handles records of one topic in offset order; the flag: whether they were written after the reader began."""


@dataclass(frozen=True)
class Source:
    """A topic to read: the handler of its records, and how many of the newest per partition to begin with."""

    handler: Handler
    newest: int | None = None
    """None reads from the beginning."""


class TopicReader:
    """Feeds the records of some topics to their handlers, and knows when it has caught up.

    `caught_up` means that every record which was on the topics when the reader began has been handled; it never
    turns false again. After a lost connection it resumes from the first record that was not handled.
    """

    def __init__(self, settings: PlaceSettings, sources: Mapping[str, Source]) -> None:
        self._sources = dict(sources)
        self._prefix = settings.topics.prefix
        self._next: dict[tuple[str, int], int] = {}
        self._goal: dict[tuple[str, int], int] = {}
        self._open: set[tuple[str, int]] = set()
        self._caught_up = threading.Event()
        self._follower = TopicFollower(
            settings,
            "topic-reader",
            self._handle,
            begin=self._assign,
            at_end=self._at_end,
            batch=BATCH,
            idle_seconds=0.2,
            group=settings.group("api"),
            enable_auto_offset_store=False,
            auto_offset_reset="earliest",
            fetch_wait_max_ms=50,
            queued_max_messages_kbytes=65_536,
        )

    @property
    def caught_up(self) -> bool:
        """Whether everything that was on the topics at the start has been handled."""
        return self._caught_up.is_set()

    @property
    def failure(self) -> str | None:
        """In what way the thread has failed for good, None if it works."""
        return self._follower.failure

    @property
    def trouble(self) -> str | None:
        """Why it does not read at present; None if it does."""
        return self._follower.trouble

    @property
    def behind(self) -> int:
        """Records of the start that are still to be handled."""
        return sum(max(0, self._goal[where] - self._next[where]) for where in list(self._open))

    def start(self) -> None:
        """Begin to read."""
        self._follower.start()

    def stop(self) -> None:
        """Stop reading and wait for the thread, at most 5 s."""
        self._follower.stop()

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
        self._check_caught_up()

    def _handle(self, records: Sequence[Message]) -> None:
        groups: dict[tuple[str, bool], list[Message]] = {}
        for record in records:
            topic, partition, offset = _position(record)
            groups.setdefault((topic, offset >= self._goal[topic, partition]), []).append(record)
        for (topic, fresh), members in sorted(groups.items(), key=lambda group: group[0][1]):
            self._hand_over(topic, members, fresh=fresh)
            for record in members:
                _, partition, offset = _position(record)
                self._next[topic, partition] = offset + 1
        if records:
            self._check_caught_up()

    def _hand_over(self, topic: str, records: list[Message], *, fresh: bool) -> None:
        """Give records to the handler of their topic; one that it cannot bear is passed over, and the others are not.

        Were it tried again, no replica would be ready for as long as the topic keeps that record.
        """
        handler = self._sources[topic].handler
        try:
            handler(records, fresh)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a record, the others count
            if len(records) == 1:
                _, partition, offset = _position(records[0])
                RECORDS_REFUSED.labels(topic.removeprefix(self._prefix)).inc()
                _log.error("record passed over", topic=topic, partition=partition, offset=offset, exc_info=error)
                return
            # To apply a record again changes nothing.
            for record in records:
                self._hand_over(topic, [record], fresh=fresh)

    def _at_end(self, topic: str, partition: int, offset: int) -> None:
        # The last offsets may hold nothing that is delivered (compacted away, transaction markers).
        self._next[topic, partition] = max(self._next[topic, partition], offset)
        self._check_caught_up()

    def _check_caught_up(self) -> None:
        self._open = {where for where in self._open if self._next[where] < self._goal[where]}
        if not self._open and not self._caught_up.is_set():
            self._caught_up.set()
            _log.info("caught up", records=sum(self._goal.values()))


def _position(record: Message) -> tuple[str, int, int]:
    return str(record.topic()), int(record.partition() or 0), int(record.offset() or 0)

"""Waiting until a replayed log has gone all the way: processed, learned, scored, stored."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

from ebb.contracts.examples import Close, decode
from ebb.errors import CorruptError, UnavailableError
from ebb.settings import Settings

LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 180.0
"""Without any progress for so long, something is stuck; the longest honest pause is one checkpoint."""


@dataclass(frozen=True)
class ReplayProgress:
    """How far the parts are."""

    events_left: int
    """Records of the activity topic that the worker has not made durable."""
    blocks_left: int
    """Blocks that the learner has not made durable."""
    closed: int
    """Boundary (day number) that every partition has closed; 0 for none."""


class ProgressPoller:
    """Looks at the groups and topics of a namespace without taking part in them."""

    def __init__(self, space: Settings) -> None:
        self._space = space
        self._worker = self._reader(space.group("worker"))
        self._learner = self._reader(space.group("learner"))

    def close(self) -> None:
        """Let go of the broker."""
        self._worker.close()
        self._learner.close()

    def look(self) -> ReplayProgress:
        """Return how far the parts are now.

        Raises
        ------
        UnavailableError
            If Kafka does not answer.
        """
        topics = self._space.topics
        try:
            return ReplayProgress(
                events_left=self._left(self._worker, topics.activity),
                blocks_left=self._left(self._learner, topics.examples),
                closed=min(self._last_closed(partition) for partition in range(self._space.partitions)),
            )
        except KafkaException as error:
            what = f"Kafka at {self._space.kafka_bootstrap} does not answer: {error.args[0]}."
            raise UnavailableError(what, "See its log.") from error

    def _reader(self, group: str) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._space.kafka_bootstrap,
                "group.id": group,
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,
                "log_level": 0,
            }
        )

    def _left(self, consumer: Consumer, topic: str) -> int:
        places = [TopicPartition(topic, number) for number in range(self._space.partitions)]
        left = 0
        for place in consumer.committed(places, timeout=15):
            low, high = consumer.get_watermark_offsets(place, timeout=15)
            left += high - max(place.offset, low)
        return left

    def _last_closed(self, partition: int) -> int:
        """Return the boundary of the closing that ends a partition of the examples; 0 if something else ends it."""
        place = TopicPartition(self._space.topics.examples, partition)
        low, high = self._learner.get_watermark_offsets(place, timeout=15)
        if high == low:
            return 0
        place.offset = high - 1
        self._learner.assign([place])
        try:
            message = self._learner.poll(5)
            body = None if message is None or message.error() is not None else message.value()
            block = None if body is None else decode(body)
        except CorruptError:
            return 0
        finally:
            self._learner.unassign()
        return block.boundary if isinstance(block, Close) else 0


def wait(
    space: Settings,
    boundary: int,
    *,
    poll: Callable[[], None],
    stopping: Callable[[], bool],
    scored: Callable[[], bool],
    tell: Callable[[ReplayProgress], None],
) -> bool:
    """Wait until everything up to a boundary is processed, learned and stored, and every customer is scored.

    Parameters
    ----------
    boundary
        Day number of the last boundary of the log.
    poll
        Called at every look, to keep the parts running.
    scored
        Whether ClickHouse holds what is expected; asked once the rest is done.
    tell
        Told how far it is.

    Returns
    -------
    bool
        False if stopped before.

    Raises
    ------
    UnavailableError
        If nothing moves for `PATIENCE_SECONDS`.
    """
    watcher = ProgressPoller(space)
    moved, before = time.monotonic(), None
    try:
        while not stopping():
            poll()
            try:
                now = watcher.look()
            except UnavailableError:
                # A broker that is short of breath comes back; one that does not counts as standing still.
                if time.monotonic() - moved > PATIENCE_SECONDS:
                    raise
                time.sleep(LOOK_SECONDS)
                continue
            tell(now)
            if (now.events_left, now.blocks_left) == (0, 0) and now.closed >= boundary and scored():
                return True
            if now != before:
                moved, before = time.monotonic(), now
            elif time.monotonic() - moved > PATIENCE_SECONDS:
                what = (
                    f"The replay stands still: {now.events_left} events and {now.blocks_left} blocks of examples are "
                    f"not processed, for {PATIENCE_SECONDS:.0f} s."
                )
                raise UnavailableError(what, f"See the logs of the parts in {space.home / 'logs'}.")
            time.sleep(LOOK_SECONDS)
        return False
    finally:
        watcher.close()

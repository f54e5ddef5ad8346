"""Progress of a replay: waits until its log is processed, learned, scored and stored."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

from ebb.contracts.examples import Close, decode
from ebb.errors import CorruptError, UnavailableError
from ebb.settings import Settings

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 180.0
"""Seconds without progress after which the replay fails; the longest normal pause is one checkpoint."""


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
    """Reader of the offsets of a namespace's groups and topics, without joining the groups."""

    def __init__(self, space: Settings) -> None:
        self._space = space
        self._worker = self._reader(space.group("worker"))
        self._learner = self._reader(space.group("learner"))

    def close(self) -> None:
        """Close the connections to the broker."""
        self._worker.close()
        self._learner.close()

    def poll(self) -> ReplayProgress:
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
        partitions = [TopicPartition(topic, number) for number in range(self._space.partitions)]
        left = 0
        for committed in consumer.committed(partitions, timeout=15):
            low, high = consumer.get_watermark_offsets(committed, timeout=15)
            left += high - max(committed.offset, low)
        return left

    def _last_closed(self, partition: int) -> int:
        """Return the boundary of the `Close` at the end of an examples partition; 0 if its last block is another."""
        last = TopicPartition(self._space.topics.examples, partition)
        low, high = self._learner.get_watermark_offsets(last, timeout=15)
        if high == low:
            return 0
        last.offset = high - 1
        self._learner.assign([last])
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
    report: Callable[[ReplayProgress], None],
) -> bool:
    """Wait until everything up to a boundary is processed, learned and stored, and every customer is scored.

    Parameters
    ----------
    boundary
        Day number of the last boundary of the log.
    poll
        Called at every poll, to keep the parts running.
    scored
        Returns whether ClickHouse holds what is expected; called once the rest is done.
    report
        Called with the progress at every poll.

    Returns
    -------
    bool
        False if stopped before that.

    Raises
    ------
    UnavailableError
        If there is no progress for `PATIENCE_SECONDS`.
    """
    poller = ProgressPoller(space)
    progressed, before = time.monotonic(), None
    try:
        while not stopping():
            poll()
            try:
                now = poller.poll()
            except UnavailableError:
                # An overloaded broker recovers; one that does not counts as no progress.
                if time.monotonic() - progressed > PATIENCE_SECONDS:
                    raise
                time.sleep(POLL_SECONDS)
                continue
            report(now)
            if (now.events_left, now.blocks_left) == (0, 0) and now.closed >= boundary and scored():
                return True
            if now != before:
                progressed, before = time.monotonic(), now
            elif time.monotonic() - progressed > PATIENCE_SECONDS:
                what = (
                    f"The replay has made no progress for {PATIENCE_SECONDS:.0f} s: {now.events_left} events and "
                    f"{now.blocks_left} blocks of examples are not processed."
                )
                raise UnavailableError(what, f"See the logs of the parts in {space.home / 'logs'}.")
            time.sleep(POLL_SECONDS)
        return False
    finally:
        poller.close()

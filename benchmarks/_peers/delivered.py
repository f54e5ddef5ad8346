"""Results topic of a peer: created for its run, read when it is done.

The broker sets the timestamp of each record (`LogAppendTime`), so the last result of every framework is timed by the
same clock.
"""

from collections.abc import Iterable
from types import TracebackType

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks._peers.definition import Result
from benchmarks._peers.judge import Described
from ebb.errors import EbbError

BROKER_SECONDS = 30.0
QUIET_SECONDS = 2.0
"""Time without a new result, after all records were processed, from which no more are expected."""
AT_ONCE = 10_000
_result = msgspec.json.Decoder(Result).decode


class Delivered:
    """A results topic, created for one run and deleted after it.

    Parameters
    ----------
    bootstrap
        The broker.
    topic
        Name of the topic, which does not exist yet.
    """

    def __init__(self, bootstrap: str, topic: str, *, partitions: int) -> None:
        self._topic = topic
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": topic,
                "enable.auto.commit": False,
                "fetch.max.bytes": 16 * 1024 * 1024,
            }
        )
        self._partitions = range(partitions)

    def __enter__(self) -> "Delivered":
        """Create the topic."""
        config = {"message.timestamp.type": "LogAppendTime"}
        new = NewTopic(self._topic, num_partitions=len(self._partitions), replication_factor=1, config=config)
        self._admin.create_topics([new])[self._topic].result(BROKER_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete the topic."""
        self._consumer.close()
        self._admin.delete_topics([self._topic])[self._topic].result(BROKER_SECONDS)

    def ends(self) -> list[int]:
        """Return the offset after the last record of each partition."""
        return ends(self._consumer, self._topic, self._partitions)

    def read(self) -> tuple[dict[str, Described], int, float]:
        """Read all records.

        Returns
        -------
        dict
            The last result of each customer.
        int
            How many records there are.
        float
            When the broker had the last one, Unix seconds.

        Raises
        ------
        EbbError
            If they cannot be read.
        """
        ends = self.ends()
        left = sum(ends)
        self._consumer.assign([TopicPartition(self._topic, partition, 0) for partition in self._partitions])
        latest: dict[bytes, bytes] = {}
        last_at = 0
        while left > 0:
            messages = self._consumer.consume(min(left, AT_ONCE), BROKER_SECONDS)
            if not messages:
                what = f"{left} of {sum(ends)} results could not be read from {self._topic}."
                raise EbbError(what, "Read the broker's log; a benchmark on a machine this busy is meaningless.")
            for message in messages:
                latest[_key(message)] = message.value() or b""
                last_at = max(last_at, message.timestamp()[1])
            left -= len(messages)
        results = (_result(body) for body in latest.values())
        return {result.customer_id: (result.features, result.score) for result in results}, sum(ends), last_at / 1000


def ends(consumer: Consumer, topic: str, partitions: Iterable[int]) -> list[int]:
    """Return the offset after the last record of each partition of a topic."""
    return [
        consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=BROKER_SECONDS)[1]
        for partition in partitions
    ]


def _key(message: Message) -> bytes:
    """Return a message's key; raise its error, if any."""
    error = message.error()
    if error is not None:
        raise KafkaException(error)
    return message.key() or b""

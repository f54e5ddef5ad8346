"""The batching transport on a real broker: batches, acks as ranges, restarts and rebalances."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from faust.types import TP, EventT

from ebb.kafka.config import client_config
from ebb.kafka.faust_app import make_app
from ebb.kafka.producer import Publisher
from ebb.settings import Settings
from stream_processors.ingest.records import Records, unpack
from stream_processors.ingest.transport import BatchingConsumer, RawSchema, Transport


def records_of(event: EventT[Any]) -> Records:
    """Unpack the fetched batch that arrived as one message."""
    poll: Any = event.message.value
    return unpack(poll.batches)


class Reader:
    """A small app over the activity topic that stores what it receives and acks on request."""

    def __init__(self, settings: Settings, positions: dict[int, int]) -> None:
        self.events: list[EventT[Any]] = []
        self.began: list[set[int]] = []
        self.app = make_app(settings, "worker", broker_session_timeout=30.0, broker_heartbeat_interval=1.0)

        async def begin(assigned: set[TP]) -> dict[TP, int]:
            self.began.append({tp.partition for tp in assigned})
            return {tp: positions[tp.partition] for tp in assigned if tp.partition in positions}

        topic = settings.topics.activity
        self.app.transport = Transport(self.app.conf.broker_consumer, self.app, begin=begin, batched=frozenset({topic}))

        @self.app.agent(self.app.topic(topic, schema=RawSchema()))
        async def read(stream: Any) -> None:
            async for event in stream.noack().events():
                self.events.append(event)

    def offsets(self, partition: int) -> list[int]:
        """Offsets delivered, of one partition, in order of arrival."""
        polls = [records_of(event) for event in self.events if event.message.partition == partition]
        return [offset for records in polls for offset in records.offsets.tolist()]

    def assigned(self) -> set[int]:
        return {tp.partition for tp in self.app.consumer.assignment()}


@contextlib.asynccontextmanager
async def reading(settings: Settings, positions: dict[int, int] | None = None) -> AsyncIterator[Reader]:
    reader = Reader(settings, positions or {})
    await reader.app.start()
    try:
        yield reader
    finally:
        await reader.app.stop()


async def wait_until(met: Callable[[], bool], seconds: float = 90.0) -> None:
    async with asyncio.timeout(seconds):
        while not met():
            await asyncio.sleep(0.05)


def send(settings: Settings, count: int, partition: int = 0) -> None:
    publisher = Publisher(settings)
    for number in range(count):
        publisher.send(settings.topics.activity, key=b"k", value=b"%d" % number, partition=partition)
    publisher.flush()


def committed(settings: Settings, partition: int = 0) -> int:
    consumer = Consumer(client_config(settings, group_id=settings.group("worker")))
    try:
        (partition_offset,) = consumer.committed([TopicPartition(settings.topics.activity, partition)], timeout=30)
    finally:
        consumer.close()
    offset: int = partition_offset.offset
    return offset


pytestmark = [
    # aiokafka leaves its sockets to the collector when a thread's loop ends before they are closed.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


async def test_a_fetched_batch_is_one_message_with_every_record_in_order(space: Settings) -> None:
    send(space, 5_000)
    async with reading(space) as reader:
        await wait_until(lambda: len(reader.offsets(0)) == 5_000)
        assert reader.offsets(0) == list(range(5_000))
        assert len(reader.events) < 50, "records must arrive in batches, not one by one"
        for event in reader.events:
            assert event.message.offset == records_of(event)[-1].offset


async def test_a_fetched_batch_has_no_more_records_than_the_settings_allow_wherever_batches_end(
    space: Settings,
) -> None:
    send(space, 100)  # one producer's batch, or two
    async with reading(space.model_copy(update={"poll_records": 7})) as reader:
        await wait_until(lambda: len(reader.offsets(0)) == 100)
        send(space, 10)
        await wait_until(lambda: len(reader.offsets(0)) == 110)
    assert reader.offsets(0) == list(range(110))
    assert max(len(records_of(event)) for event in reader.events) == 7


async def test_a_reader_begins_within_a_producers_batch(space: Settings) -> None:
    send(space, 100)
    async with reading(space.model_copy(update={"poll_records": 7}), {0: 41}) as reader:
        await wait_until(lambda: len(reader.offsets(0)) == 59)
    assert reader.offsets(0) == list(range(41, 100))


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_batches_are_unpacked_however_their_producer_compressed_them(space: Settings, codec: str) -> None:
    producer = Producer(client_config(space, compression_type=codec))
    for number in range(300):
        producer.produce(space.topics.activity, key=b"k", value=b"%d" % number, partition=0, headers=[("n", b"v")])
    producer.flush()
    async with reading(space) as reader:
        await wait_until(lambda: len(reader.offsets(0)) == 300)
        records = [record for event in reader.events for record in records_of(event)]
    assert [record[2:] for record in records] == [(b"k", b"%d" % number, (("n", b"v"),)) for number in range(300)]


async def test_gaps_that_transactions_leave_are_no_lost_records(space: Settings) -> None:
    producer = Producer(client_config(space, transactional_id="gaps"))
    producer.init_transactions()
    for is_good in (True, False, True, True, False):
        producer.begin_transaction()
        for number in range(3):
            producer.produce(space.topics.activity, key=b"k", value=b"%d" % number, partition=0)
        producer.flush()
        # Either way a record of the broker's own is left.
        (producer.commit_transaction if is_good else producer.abort_transaction)()
    async with reading(space) as reader:
        tp, consumer = TP(space.topics.activity, 0), cast(BatchingConsumer, reader.app.consumer)
        await wait_until(lambda: len(reader.offsets(0)) == 9)
        assert reader.offsets(0) == [0, 1, 2, 8, 9, 10, 12, 13, 14], "what was aborted was never sent"
        await wait_until(lambda: consumer.lag(tp, 14) == 0)
        assert (consumer.lag(tp, 10) or 0) > 0
        for event in reader.events:
            event.ack()
        await wait_until(lambda: committed(space) == 20)  # past the marks and what was aborted

        # What a transaction that is not ended has sent cannot be read: it is no lag, and holds nothing else back.
        producer.begin_transaction()
        producer.produce(space.topics.activity, key=b"k", value=b"open", partition=0)
        producer.flush()
        await asyncio.to_thread(send, space, 5, 1)
        await wait_until(lambda: len(reader.offsets(1)) == 5)
        assert consumer.lag(tp, 14) == 0
        assert len(reader.offsets(0)) == 9
        producer.commit_transaction()
        await wait_until(lambda: len(reader.offsets(0)) == 10)


async def test_acks_commit_the_longest_run_from_the_oldest_batch_and_no_further(space: Settings) -> None:
    async with reading(space) as reader:
        await wait_until(lambda: bool(reader.assigned()))
        for polls in range(1, 4):
            await asyncio.to_thread(send, space, 10)
            await wait_until(lambda polls=polls: len(reader.offsets(0)) == 10 * polls)  # type: ignore[misc]
        first, *rest = reader.events
        for event in rest:
            event.ack()
        await asyncio.sleep(1.5)
        assert await asyncio.to_thread(committed, space) < 0, "an unacknowledged batch holds back all after it"
        first.ack()
        await wait_until(lambda: committed(space) == 30)


async def test_a_paused_partition_delivers_nothing_and_resumes_where_it_was(space: Settings) -> None:
    paused = TP(space.topics.activity, 0)
    send(space, 100)
    async with reading(space.model_copy(update={"poll_records": 7})) as reader:
        await wait_until(lambda: len(reader.offsets(0)) == 100)
        reader.app.consumer.pause_partitions({paused})
        for _ in range(3):
            # Records of the other partition were fetched after those sent to this one.
            before = len(reader.offsets(1))
            await asyncio.to_thread(send, space, 50)
            await asyncio.to_thread(send, space, 1, 1)
            await wait_until(lambda before=before: len(reader.offsets(1)) > before)  # type: ignore[misc]
        assert len(reader.offsets(0)) == 100
        reader.app.consumer.resume_partitions({paused})
        await wait_until(lambda: len(reader.offsets(0)) == 250)
    assert reader.offsets(0) == list(range(250))


async def test_a_reader_begins_where_its_checkpoint_ends_whatever_the_group_committed(space: Settings) -> None:
    send(space, 100)
    async with reading(space) as reader:
        await wait_until(lambda: len(reader.offsets(0)) == 100)
        for event in reader.events:
            event.ack()
        await wait_until(lambda: committed(space) == 100)
    async with reading(space, {0: 40}) as again:
        await wait_until(lambda: len(again.offsets(0)) == 60)
        assert again.offsets(0) == list(range(40, 100))


async def test_unacknowledged_records_are_delivered_again(space: Settings) -> None:
    send(space, 50)
    async with reading(space) as reader:
        await wait_until(lambda: len(reader.offsets(0)) == 50)
    async with reading(space) as again:
        await wait_until(lambda: len(again.offsets(0)) == 50)


async def test_a_second_reader_is_assigned_half_until_it_leaves(space: Settings) -> None:
    async with reading(space) as one:
        await wait_until(lambda: len(one.assigned()) == space.partitions)
        async with reading(space) as two:
            await wait_until(lambda: len(one.assigned()) == len(two.assigned()) == space.partitions // 2)
            assert not one.assigned() & two.assigned()
            for partition in range(space.partitions):
                await asyncio.to_thread(send, space, 20, partition)
            await wait_until(
                lambda: all(
                    len(one.offsets(number)) + len(two.offsets(number)) >= 20 for number in range(space.partitions)
                )
            )
            for number in two.assigned():
                assert two.offsets(number) == list(range(20))
        await wait_until(lambda: len(one.assigned()) == space.partitions)


async def test_a_commit_does_not_include_a_batch_on_its_way_from_the_consumers_thread(
    space: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ack would be at or below what is committed and count for nothing: nothing after it would be committed."""
    tp = TP(space.topics.activity, 0)
    async with reading(space) as reader:
        await wait_until(lambda: 0 in reader.assigned())
        consumer = cast(BatchingConsumer, reader.app.consumer)
        getmany, delivering = consumer._getmany, asyncio.Event()
        delivering.set()

        async def held_up(**options: Any) -> Any:
            records = await getmany(**options)
            if records:
                await delivering.wait()
            return records

        monkeypatch.setattr(consumer, "_getmany", held_up)
        await asyncio.to_thread(send, space, 5)
        await wait_until(lambda: len(reader.offsets(0)) == 5)
        delivering.clear()
        await asyncio.to_thread(send, space, 5)
        await wait_until(lambda: int(consumer._state(tp).position) == 10)
        for event in reader.events:
            event.ack()
        await consumer.commit({tp})
        assert await asyncio.to_thread(committed, space) == 5
        delivering.set()
        for end in (10, 15):
            await wait_until(lambda end=end: len(reader.offsets(0)) == end)  # type: ignore[misc]
            for event in reader.events:
                event.ack()
            await consumer.commit({tp})
            assert await asyncio.to_thread(committed, space) == end
            await asyncio.to_thread(send, space, 5)

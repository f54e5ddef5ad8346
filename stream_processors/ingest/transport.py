"""Faust's aiokafka transport, delivering each fetched batch of a partition as one message with all its records.

Stock Faust spends far more on a message (object, event, queue, tasks, ack) than Ebb spends on an event; one message
per fetched batch keeps all that Faust is good for and pays that price once for thousands of records.

The contract, for topics named in `Transport.batched`; every other topic behaves as in stock Faust:

- A message's `value` is a `FetchedBatch`: records of one partition, in offset order, in their producers' batches as the
  broker sent them. Its `offset` is the last record's. An object for each record would cost more than all else about
  reading it.
- Acks are per message and committed as ranges: the offset committed is one past the last record of the longest run of
  acked messages from the oldest one delivered. A message that was not acked holds back all after it.
- A gap between offsets (compaction, aborted transactions) is no lost message and needs no bookkeeping.
- After a seek, or when a partition is revoked, messages delivered before no longer count: acking them commits nothing,
  and their records are delivered again from the new position.
"""

import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.protocol.fetch import FetchRequest
from faust import Schema
from faust.types import TP, ConsumerMessage

from ebb.kafka.faust_transport import Begin, CheckpointConsumer, CheckpointThread, CheckpointTransport
from stream_processors.ingest.record_batches import FetchedBatch, RecordBatch, raw_batches, upgraded


class RawSchema(Schema[Any, Any]):
    """Passes keys and values on untouched; the agent decodes."""

    def loads_key(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:  # noqa: ARG002
        """Return the key as it came."""
        return message.key

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:  # noqa: ARG002
        """Return the value as it came: the fetched batch of a batched topic."""
        return message.value


class BatchingThread(CheckpointThread):
    """Consumer thread that delivers the batches of batched topics as they were fetched."""

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        self._answers = _Answers(cast(Transport, self.transport).batched)
        client, send = consumer._client, consumer._client.send

        async def sent(node: Any, request: Any, **options: Any) -> Any:
            response = await send(node, request, **options)
            if isinstance(request, FetchRequest):
                self._answers.keep(response)
            return response

        client.send = sent
        return consumer

    async def _fetch_records(self, consumer: AIOKafkaConsumer, *args: Any, **kwargs: Any) -> Any:
        fetcher = consumer._fetcher
        if not isinstance(fetcher._records, _Fetched):
            fetcher._records = _Fetched(self._answers, fetcher._records)
        return await super()._fetch_records(consumer, *args, **kwargs)


class _Answers:
    """The broker's last answer for each partition; the fetcher requests no more of one before it has taken that."""

    def __init__(self, batched: frozenset[str]) -> None:
        self._batched = batched
        self._bytes: dict[tuple[str, int], bytes] = {}
        self.handed_over: dict[tuple[str, int], int] = {}
        """By partition, the offset behind the last batch that left the consumer's thread."""

    def keep(self, response: Any) -> None:
        for topic, partitions in response.topics:
            if topic in self._batched:
                self._bytes.update(((topic, partition), fetched) for partition, *_, fetched in partitions)

    def take(self, tp: Any) -> bytes | None:
        """Return the answer for a partition, None if its topic is not batched."""
        return self._bytes.pop((tp.topic, tp.partition), None)


class _Fetched(OrderedDict[Any, Any]):
    """Fetches not consumed yet, by partition."""

    def __init__(self, answers: _Answers, found: Mapping[Any, Any]) -> None:
        self._answers = answers
        super().__init__(found)

    def __setitem__(self, tp: Any, fetched: Any) -> None:
        # An error has no records.
        if getattr(fetched, "_partition_records", None) is not None and (raw := self._answers.take(tp)) is not None:
            fetched.getall = _InWhole(fetched, raw, self._answers.handed_over)
        super().__setitem__(tp, fetched)


class _InWhole:
    """Extracts the batches of one partition's fetch.

    aiokafka's own iterator decides which batches are visible (control batches, aborted transactions, checksums)
    and where the next fetch begins; to it, a batch is one record.
    """

    def __init__(self, fetched: Any, raw: bytes, handed_over: dict[tuple[str, int], int]) -> None:
        self._fetched = fetched
        self._handed_over = handed_over
        self._left: RecordBatch | None = None
        records = fetched._partition_records
        records._records = _Batches(records._records, raw)
        records._consumer_record = lambda _tp, batch: batch.since(records.next_fetch_offset)

    def __call__(self, max_records: int | None = None) -> list[RecordBatch]:
        """Return batches of at most so many records, none if the consumer has moved to another position."""
        fetched, records = self._fetched, self._fetched._partition_records
        if not fetched.check_assignment(fetched._topic_partition) or not fetched.has_more():
            return []
        room = sys.maxsize if max_records is None else max_records
        found: list[RecordBatch] = []
        ended = False
        while room and not ended:
            batch, self._left = self._left or next(records, None), None
            if batch is None:
                ended = True
                continue
            if len(batch) > room:
                batch, self._left = batch.cut(batch.first + room)
            records.next_fetch_offset = batch.end
            if len(batch):
                found.append(batch)
                room -= len(batch)
        if found:  # Noted before the position moves: who sees the position must see that it is a batch's.
            self._handed_over[fetched._topic_partition] = found[-1].end
        fetched._update_position()
        if ended:
            # A reference cycle would keep the fetched bytes until the garbage collector runs.
            del fetched.getall, records._consumer_record
            fetched._partition_records = None
        return found


class _Batches:
    """The batches of a fetch, each of which yields itself as its only record."""

    def __init__(self, records: Any, raw: bytes) -> None:
        self._records = records
        self._raw = raw_batches(raw)
        self.has_next = records.has_next

    def next_batch(self) -> "_Batch":
        return _Batch(self._records.next_batch(), next(self._raw))


class _Batch:
    """A producer's batch, and one record that stands for all of its records."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self._raw = raw
        self.offset = batch.next_offset - 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator["_Batch"]:
        return iter((self,))

    def since(self, offset: int) -> RecordBatch:
        return RecordBatch.of(upgraded(self._raw, self._batch), offset)


class BatchingConsumer(CheckpointConsumer):
    """Consumer that delivers one message per fetched batch of a partition for the batched topics."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._batched = cast(Transport, self.transport).batched
        self._delivered: defaultdict[TP, deque[int]] = defaultdict(deque)
        self._newest: dict[TP, int] = {}
        """Last record delivered of each partition."""

    def _new_consumer_thread(self) -> BatchingThread:
        return BatchingThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, list[Any]]:
        records = await super()._getmany(active_partitions, timeout)
        if not records:
            return records
        return {tp: [found] if tp.topic in self._batched else found for tp, found in records.items() if found}

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if tp.topic not in self._batched:
            return super()._to_message(tp, record)
        poll: Any = FetchedBatch(record, tp.partition)
        self._delivered[tp].append(poll.last_offset)
        self._newest[tp] = poll.last_offset
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            poll.last_offset,
            poll.produced_at / 1000.0,
            int(poll.batches[-1].head.is_appended),
            None,
            None,
            poll,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if tp.topic not in self._batched:
            await super()._add_gap(tp, offset_from, offset_to)

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic not in self._batched:
            offset: int | None = super()._new_offset(tp)
            return offset
        acked = self._acked_index[tp]
        delivered = self._delivered[tp]
        newest: int | None = None
        while delivered and delivered[0] in acked:
            newest = delivered.popleft()
        if newest is None:
            return None
        # Acks at or below the committed offset need not be kept.
        acked.difference_update([offset for offset in acked if offset <= newest])
        self._acked[tp][:] = sorted(acked)
        state = self._state(tp) if not delivered else None
        if state is None or not state.has_valid_position:
            return newest + 1
        position = int(state.position)
        # Between the last record delivered and the position are markers of transactions, or a batch on its way from the
        # consumer's thread. If that were committed, its ack would count for nothing, and nothing after it be committed.
        on_its_way = cast(BatchingThread, self._thread)._answers.handed_over.get(tp, 0) > newest + 1
        return newest + 1 if on_its_way else max(newest + 1, position)

    def lag(self, tp: TP, offset: int) -> int | None:
        """Return how many records that can be read lie behind an offset; None before the first fetch.

        What a transaction that is not ended holds back cannot be read; its markers, and what was aborted, never can.
        """
        state = self._state(tp)
        if state is None or state.lso is None or not state.has_valid_position:
            return None
        if state.position >= state.lso and offset >= self._newest.get(tp, -1):
            return 0
        return max(int(state.lso) - 1 - offset, 0)

    def _state(self, tp: TP) -> Any:
        """Return aiokafka's state of an assigned partition."""
        assignment = self._thread._ensure_consumer()._subscription.subscription.assignment
        return assignment.state_value(tp) if assignment is not None and tp in assignment.tps else None

    async def seek(self, partition: TP, offset: int) -> None:
        """Seek to an offset; messages delivered before no longer count."""
        self._forget([partition])
        await super().seek(partition, offset)

    async def perform_seek(self) -> None:
        """Seek every partition to its start; messages delivered before no longer count."""
        self._forget(list(self._delivered))
        await super().perform_seek()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Drop the bookkeeping of revoked partitions."""
        await super().on_partitions_revoked(revoked)
        self._forget(revoked)

    def _forget(self, partitions: Iterable[TP]) -> None:
        for tp in partitions:
            self._delivered.pop(tp, None)
            self._newest.pop(tp, None)


class Transport(CheckpointTransport):
    """Transport whose consumer batches some topics.

    Parameters
    ----------
    begin
        As for `CheckpointTransport`.
    batched
        Names of the topics to deliver in batches.
    """

    Consumer: ClassVar[type[CheckpointConsumer]] = BatchingConsumer

    def __init__(self, *args: Any, begin: Begin, batched: frozenset[str] = frozenset(), **kwargs: Any) -> None:
        super().__init__(*args, begin=begin, **kwargs)
        self.batched = batched

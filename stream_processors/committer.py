"""Make effects durable, in one order, and only then acknowledge the batches that they came from.

Rows in ClickHouse, records on Kafka, state on the state topic; then batches are acked and Faust commits their offsets.
What dies in between is done again, and each effect is idempotent.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
from faust.types import EventT

from clickhouse.store import Store
from ebb.kafka.fenced_writer import FencedError
from ebb.kafka.producer import Publisher
from ebb.log import get_logger
from ebb.metrics import CHECKPOINT_BYTES, CHECKPOINT_SECONDS
from stream_processors.checkpoint import PartitionCapture, write
from stream_processors.micro_batches import SHARE, MicroBatches
from stream_processors.partition import PartitionWorker
from stream_processors.sink import Backpressure

log = get_logger(__name__)

CAPTURE_BYTES = 64 * 1024 * 1024
"""Partitions are captured and written together until their copies hold so much: those of a million customers, all of
them changed by a day's end, would otherwise take as much memory as they do."""


class Committer:
    """Writes inserts and checkpoints of a worker's partitions.

    Parameters
    ----------
    partitions
        Assigned partitions by number; shared with the owner, who changes it.
    """

    def __init__(
        self,
        partitions: Mapping[int, PartitionWorker],
        *,
        store: Store,
        publisher: Publisher,
        backpressure: Backpressure,
        micro_batches: MicroBatches,
    ) -> None:
        self._partitions = partitions
        self._store = store
        self._publisher = publisher
        self._backpressure = backpressure
        self._micro_batches = micro_batches
        self._inserting = asyncio.Lock()
        self._saving = asyncio.Lock()
        self.pause_seconds = 0.0
        """How long to pause before the next checkpoint while events wait."""

    async def insert(self) -> None:
        """Insert the rows collected so far into ClickHouse."""
        async with self._inserting:
            build = self._backpressure.take()
            await asyncio.to_thread(self._insert_all, build)

    async def checkpoint(self) -> None:
        """Make everything done so far durable, and ack the batches that it includes."""
        async with self._saving:
            began = time.monotonic()
            waiting, saved = list(self._partitions.values()), False
            while waiting:
                saved |= await self._save_some(waiting)
            if saved:
                seconds = time.monotonic() - began
                CHECKPOINT_SECONDS.observe(seconds)
                self.pause_seconds = SHARE * seconds
        if not self._micro_batches.in_flight:
            # Release what Arrow pooled during a burst; it can exceed the customers' own memory.
            await asyncio.to_thread(pa.default_memory_pool().release_unused)

    def _insert_all(self, build: Callable[[], dict[str, pa.Table]]) -> None:
        for name, rows in build().items():
            self._store.insert(name, rows)

    async def _save_some(self, waiting: list[PartitionWorker]) -> bool:
        """Save some of the waiting partitions, removing them from the list, until `CAPTURE_BYTES` are reached.

        Returns
        -------
        bool
            Whether anything had changed in them.
        """
        captures: list[tuple[PartitionWorker, PartitionCapture, list[EventT[Any]]]] = []
        size = 0
        while waiting and size < CAPTURE_BYTES:
            partition = waiting.pop()
            for rows in partition.touched_ranges():
                await self._micro_batches.yield_to_backlog()
                partition.keep_features(rows)
            await self._micro_batches.yield_to_backlog()
            # What a checkpoint includes is not read again, so its scores must be published before.
            self._micro_batches.score([partition])
            if (capture := partition.capture()) is not None:
                captures.append((partition, capture, partition.unacked))
                partition.unacked = []
                size += sum(map(len, capture.pieces.values()))
        # Effects that followed a capture go along; to repeat them changes nothing.
        await self.insert()
        if not captures:
            return False
        await asyncio.to_thread(self._save, [(partition, capture) for partition, capture, _ in captures])
        for partition, _, events in captures:
            for event in events if not partition.revoked else ():
                event.ack()
        return True

    def _save(self, captures: list[tuple[PartitionWorker, PartitionCapture]]) -> None:
        for partition, _ in captures:
            if not partition.revoked:
                partition.report_erased()
        self._publisher.flush()
        for partition, capture in captures:
            if partition.revoked:
                continue
            try:
                CHECKPOINT_BYTES.inc(write(capture, partition.writer))
            except FencedError as error:
                # This process hung and the group reassigned the partition; the rebalance that says so is on its way.
                log.warning("checkpoint refused", partition=partition.partition, reason=error.what)
                partition.revoked = True

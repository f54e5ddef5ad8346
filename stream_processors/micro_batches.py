"""The worker's hot path: fetched batches are collected into a micro-batch, decoded, applied and scored.

Many small fetches, as they come while the backlog is short, cost about as much as one: those that wait are decoded in
one call and the customers whom they touched are scored in one call, over all partitions.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import faust
from faust.types import EventT

from ebb.metrics import BATCH_SECONDS, LATENCY_SECONDS
from ebb.settings import Settings
from stream_processors.batch import Batch
from stream_processors.ingest.decoder import FEW, Decoder
from stream_processors.ingest.record_batches import FetchedBatch
from stream_processors.ingest.transport import BatchingConsumer
from stream_processors.partition import PartitionWorker
from stream_processors.scoring.champions import ModelFollower
from stream_processors.scoring.publisher import ScorePublisher
from stream_processors.sink import Backpressure

FETCHED_AHEAD = 8
"""Fetched batches that wait to be decoded; no more are read meanwhile."""
DECODERS = 2
"""Micro-batches decoded at a time. It takes longest, and mostly without Python's lock."""
MICRO_BATCHES_AHEAD = 2
"""Micro-batches that wait, decoded or nearly so, while customers are scored."""
MICRO_BATCH_RECORDS = 20_000
"""Records from which on a micro-batch takes no further fetched batch."""
COLLECT_SECONDS = 0.002
"""How long a micro-batch of few records waits for other partitions', which one fetch brings one after another."""
SCORE_SECONDS = 1.0
"""While full micro-batches come one after another, customers are scored this often, or `SHARE` times as long after the
last time as that took, rather than after each: their scores would be late all the same, and then include all events."""
SCORE_ROWS = 50_000
"""When so many customers wait, they are scored in any case: in one go, in about a second."""
YIELD_SECONDS = 0.05
"""How long a slice of a sweep or of a checkpoint waits for the fetched batches under way."""
SHARE = 4
"""While events wait, checkpoints, sweeps and scores pause so many times as long as the last took: they take a fifth of
the time at most."""


@dataclass(frozen=True)
class PendingBatch:
    """A fetched batch of one partition on its way through the worker."""

    event: EventT[Any]
    fetched: FetchedBatch
    partition: PartitionWorker


@dataclass(frozen=True)
class MicroBatch:
    """Fetched batches that are decoded together, and whose customers are scored together."""

    pending: list[PendingBatch]
    batches: asyncio.Future[list[Batch]]


class MicroBatches:
    """Takes fetched batches from the agent and carries them through decoding, state and scores.

    Parameters
    ----------
    app
        Its consumer knows the high watermarks and the generation of the group.
    partitions
        Assigned partitions by number; shared with the owner, who changes it.
    models
        A paced replay's log says how new they must be.
    backpressure
        Updated after every micro-batch.
    """

    def __init__(
        self,
        settings: Settings,
        app: faust.App,
        partitions: Mapping[int, PartitionWorker],
        *,
        scores: ScorePublisher,
        models: ModelFollower,
        backpressure: Backpressure,
    ) -> None:
        self._app = app
        self._partitions = partitions
        self._scores = scores
        self._models = models
        self._paced = settings.paced
        self._backpressure = backpressure
        self._decoder = Decoder(settings)
        self._decoding = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")
        self._fetched: asyncio.Queue[PendingBatch] = asyncio.Queue(FETCHED_AHEAD)
        self._micro_batches: asyncio.Queue[MicroBatch] = asyncio.Queue(MICRO_BATCHES_AHEAD)
        self.in_flight = 0
        """Fetched batches accepted and not yet applied."""
        self.busy_at = 0.0
        """When the last micro-batch was applied, by the monotonic clock."""
        self._unscored: list[float] = []
        """Per batch whose customers are not scored yet: when its oldest record was produced, Unix seconds."""
        self._score_at = 0.0
        self._idle = asyncio.Event()
        self._idle.set()

    async def accept(self, event: EventT[Any]) -> None:
        """Queue a fetched batch; waits while too many are queued."""
        partition = self._partitions.get(event.message.tp.partition)
        if partition is None or self._is_stale(event):
            return  # read before a rebalance; it is delivered again to the owner
        self.in_flight += 1
        self._idle.clear()
        await self._fetched.put(PendingBatch(event, cast(FetchedBatch, event.message.value), partition))

    async def collect(self) -> None:
        """Start decoding the fetched batches that wait, as one micro-batch, while those before are applied."""
        pending = [await self._fetched.get()]
        if len(pending[0].fetched) < FEW:
            await asyncio.sleep(COLLECT_SECONDS)
        while not self._fetched.empty() and sum(len(one.fetched) for one in pending) < MICRO_BATCH_RECORDS:
            pending.append(self._fetched.get_nowait())
        fetched = [one.fetched for one in pending]
        batches = asyncio.get_running_loop().run_in_executor(self._decoding, self._decoder.decode_all, fetched)
        await self._micro_batches.put(MicroBatch(pending, batches))

    async def process(self) -> None:
        """Apply the next micro-batch, partition by partition, and score the customers whom it touched."""
        micro_batch = await self._micro_batches.get()
        batches = await micro_batch.batches
        if self._paced:
            await self._models.wait(max(batch.published for batch in batches))
        began = time.monotonic()
        for pending, batch in zip(micro_batch.pending, batches, strict=True):
            partition, tp = pending.partition, pending.event.message.tp
            if (
                self._partitions.get(tp.partition) is not partition
                or partition.revoked
                or self._is_stale(pending.event)
            ):
                continue
            partition.has_backlog = cast(BatchingConsumer, self._app.consumer).lag(tp, batch.last_offset) != 0
            partition.process(batch)
            # The event waits for its checkpoint; its records need not.
            pending.fetched.release()
            partition.unacked.append(pending.event)
            self._unscored.append(batch.waited_since)
        self.in_flight -= len(micro_batch.pending)
        more = self.in_flight and sum(map(len, batches)) >= MICRO_BATCH_RECORDS
        if not more or began >= self._score_at or self._waiting() > SCORE_ROWS:
            self._score_all()
        BATCH_SECONDS.observe(time.monotonic() - began)
        self._backpressure.update()
        self.busy_at = time.monotonic()
        if not self.in_flight:
            self._idle.set()
        await asyncio.sleep(0)

    def score(self, partitions: Iterable[PartitionWorker]) -> None:
        """Score the customers whom events have touched, and publish; in a paced replay a day's end does."""
        if self._paced:
            return
        requests = (one.touched_request() for one in partitions if not one.revoked)
        self._scores.publish((one for one in requests if len(one.rows)), cause="event")

    async def yield_to_backlog(self) -> None:
        """Let the fetched batches under way go first, for a while at most."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), YIELD_SECONDS)
        await asyncio.sleep(0)

    def close(self) -> None:
        """Stop decoding."""
        self._decoding.shutdown(wait=False, cancel_futures=True)

    def _waiting(self) -> int:
        """Return how many customers wait to be scored, at most."""
        return sum(one.waiting() for one in self._partitions.values())

    def _score_all(self) -> None:
        began = time.monotonic()
        self.score(self._partitions.values())
        ended = time.monotonic()
        self._score_at = ended + max(SCORE_SECONDS, SHARE * (ended - began))
        for waited_since in self._unscored:
            LATENCY_SECONDS.observe(max(time.time() - waited_since, 0))
        self._unscored = []

    def _is_stale(self, event: EventT[Any]) -> bool:
        """Whether the batch was fetched in an earlier generation of the group."""
        return bool(event.message.generation_id != self._app.consumer_generation_id)

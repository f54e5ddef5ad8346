"""The worker: a Faust app over the activity topic that keeps its partitions' state, scores and durability in step."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import faust
import pyarrow as pa
from faust.types import TP, EventT

from clickhouse.store import Store
from ebb.errors import CorruptError, SchemaMismatchError
from ebb.kafka.faust_app import guarded, make_app
from ebb.kafka.fenced_writer import FencedError
from ebb.kafka.producer import Publisher
from ebb.log import get_logger
from ebb.metrics import (
    BATCH_SECONDS,
    CHECKPOINT_BYTES,
    CHECKPOINT_SECONDS,
    LAG_EVENTS,
    LAG_SECONDS,
    LATENCY_SECONDS,
    SWEEP_SECONDS,
    forget_partition,
)
from ebb.settings import Settings
from stream_processors.batch import Batch
from stream_processors.checkpoint import PartitionCapture, write
from stream_processors.ingest.decoder import FEW, Decoder
from stream_processors.ingest.record_batches import FetchedBatch
from stream_processors.ingest.transport import RawSchema, Transport
from stream_processors.partition import PartitionWorker
from stream_processors.scoring.champions import ModelFollower
from stream_processors.scoring.publisher import Scoring
from stream_processors.sink import Sink

log = get_logger(__name__)

POLLS_AHEAD = 8
"""Polls that wait to be decoded; no more are read meanwhile."""
DECODERS = 2
"""Rounds decoded at a time. It is what takes longest, and mostly without Python's lock."""
ROUNDS_AHEAD = 2
"""Rounds that wait, decoded or nearly so, while customers are scored."""
MICRO_BATCH_RECORDS = 20_000
"""Records from which on a round takes no further poll."""
SCORE_SECONDS = 1.0
"""While full rounds come one after another, customers are scored this often, or `SHARE` times as long after the last
time as that took, rather than after each: who has acted would wait all the same, and is told what holds after all that
they did."""
SCORE_ROWS = 50_000
"""No longer do so many customers wait to be scored: it is done in one go, in about a second."""
GATHER_SECONDS = 0.002
"""How long a round of few records waits for the polls of other partitions, which one fetch brings one after another."""
YIELD_SECONDS = 0.05
"""How long a slice of a sweep or of a checkpoint stands back while polls are under way."""
SHARE = 4
"""While events wait, checkpoints, sweeps and scores rest so many times as long as the last took: a fifth of the time at
most is theirs."""
QUIET_SECONDS = 1.0
"""Without a poll for so long, they need not rest."""
LOOK_SECONDS = 0.1
CAPTURE_BYTES = 64 * 1024 * 1024
"""Partitions are captured and written together until their copies hold so much: those of a million customers, all of
them changed by a day's end, would otherwise take as much memory as they do."""
HANDOVER_SECONDS = 10.0
"""How long a rebalance waits for a last checkpoint; without it the next owner replays from the one before."""


@dataclass(frozen=True)
class PendingBatch:
    """One poll of one partition on its way through the worker."""

    event: EventT[Any]
    poll: FetchedBatch
    partition: PartitionWorker


@dataclass(frozen=True)
class MicroBatch:
    """Polls that are decoded together, and whose customers are scored together."""

    polls: list[PendingBatch]
    batches: asyncio.Future[list[Batch]]


class ActivityWorker:
    """All that one worker process does; `app` is the Faust app to run.

    An agent takes the polls. Those that are there are a round: it is decoded in a thread, each poll is applied by its
    `PartitionWorker`, and the customers touched are scored together, so that many small polls, as they come while
    little waits, cost about as much as one. Sweeps and checkpoints stand back for rounds. Rows go to ClickHouse
    whenever there are enough for an insert. A checkpoint makes everything done so far durable, in this order: rows in
    ClickHouse, records on Kafka, state on the state topic; then the polls are acked, and Faust commits.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.partitions: dict[int, PartitionWorker] = {}
        self._stopping = False
        self._store = Store(settings, stopping=lambda: self._stopping)
        # A round hands over all its records at once; they need not wait for more.
        self._publisher = Publisher(settings, linger_ms=1)
        self._sink = Sink()
        self._champions = ModelFollower(settings)
        self._scoring = Scoring(settings, publisher=self._publisher, sink=self._sink, champions=self._champions)
        self._decoder = Decoder(settings)
        self._polled: asyncio.Queue[PendingBatch] = asyncio.Queue(POLLS_AHEAD)
        self._rounds: asyncio.Queue[MicroBatch] = asyncio.Queue(ROUNDS_AHEAD)
        self._decoding = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")
        self._underway = 0
        self._unscored: list[float] = []
        """By poll whose customers are not scored yet: when its oldest record was produced, Unix seconds."""
        self._score_at = self._busy_at = 0.0
        self._idle = asyncio.Event()
        self._idle.set()
        self._inserting = asyncio.Lock()
        self._saving = asyncio.Lock()
        self._full = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._rest = 0.0
        self.app = make_app(settings, "worker")
        self.app.transport = Transport(
            self.app.conf.broker_consumer,
            self.app,
            begin=self._begin,
            batched=frozenset({settings.topics.activity}),
        )
        self._wire(self.app)

    def _wire(self, app: faust.App) -> None:
        activity = app.topic(self.settings.topics.activity, schema=RawSchema())

        @app.agent(activity)
        async def consume(stream: Any) -> None:
            async for event in stream.noack().events():
                await guarded(self.app, self._take(event))

        async def revoked(_app: Any, /, *args: Any, **_: Any) -> None:
            await guarded(self.app, self._revoke(args[0]))

        async def closing(_app: Any, /, *_args: Any, **_: Any) -> None:
            await self.close()

        # Signals hold their receivers weakly unless told otherwise.
        app.on_partitions_revoked.connect(revoked, weak=False)
        app.on_before_shutdown.connect(closing, weak=False)
        app.task(self._gathering)
        app.task(self._processing)
        app.task(self._inserts)
        app.task(self._checkpoints)
        app.task(self._sweeps)
        app.task(self._watching)

    async def _gathering(self) -> None:
        await self._every(self._room.wait, self._gather)

    async def _processing(self) -> None:
        await self._every(self._room.wait, self._process)

    async def _inserts(self) -> None:
        await self._every(self._full.wait, self._insert)

    async def _checkpoints(self) -> None:
        await self._every(lambda: self._pause(self.settings.checkpoint_seconds, self._rest), self._checkpoint)

    async def _sweeps(self) -> None:
        rest = 0.0
        while not self.app.should_stop:
            await self._pause(self.settings.sweep_seconds, rest)
            began = time.monotonic()
            await guarded(self.app, self._sweep())
            rest = SHARE * (time.monotonic() - began)

    async def _pause(self, least: float, most: float) -> None:
        """Let the least of these times (s) pass, and the rest of the most unless no poll comes for a while."""
        until = time.monotonic() + most
        await asyncio.sleep(least)
        while time.monotonic() < min(until, self._busy_at + QUIET_SECONDS):
            await asyncio.sleep(LOOK_SECONDS)

    async def _watching(self) -> None:
        await self._every(lambda: asyncio.sleep(1.0), self._watch)

    async def close(self) -> None:
        """Make what was done durable if that is quick, and let go of connections."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._checkpoint(), HANDOVER_SECONDS)
        self._stopping = True
        self._champions.stop()
        self._decoding.shutdown(wait=False, cancel_futures=True)

    async def _every(self, due: Callable[[], Awaitable[Any]], work: Callable[[], Awaitable[None]]) -> None:
        while not self.app.should_stop:
            await due()
            await guarded(self.app, work())

    async def _begin(self, assigned: set[TP]) -> dict[TP, int]:
        """Take over the partitions that are new to this worker; say where each is to be read on."""
        mine = sorted(tp for tp in assigned if tp.topic == self.settings.topics.activity)
        kept = await self.app.consumer.earliest_offsets(*mine) if mine else {}
        starts = {}
        for tp in mine:
            if tp.partition not in self.partitions:
                began = time.monotonic()
                worker = await asyncio.to_thread(self._take_over, tp.partition)
                self.partitions[tp.partition] = worker
                log.info(
                    "partition taken over",
                    partition=tp.partition,
                    customers=len(worker.engine.state),
                    offset=worker.engine.offset,
                    seconds=round(time.monotonic() - began, 2),
                )
            needed = self.partitions[tp.partition].engine.offset + 1
            starts[tp] = max(needed, kept[tp])
            if needed < kept[tp]:
                log.error("records expired before they were read", partition=tp.partition, first=needed, kept=kept[tp])
        return starts

    def _take_over(self, number: int) -> PartitionWorker:
        self._champions.start()

        def begin(*, anew: bool) -> PartitionWorker:
            return PartitionWorker(
                number,
                self.settings,
                publisher=self._publisher,
                sink=self._sink,
                champions=self._champions,
                anew=anew,
            )

        try:
            return begin(anew=False)
        except (SchemaMismatchError, CorruptError) as error:
            log.error("checkpoint cannot be used", partition=number, reason=error.what, hint=error.hint)
            return begin(anew=True)

    async def _revoke(self, revoked: set[TP]) -> None:
        numbers = [tp.partition for tp in revoked if tp.topic == self.settings.topics.activity]
        if not any(number in self.partitions for number in numbers):
            return
        try:
            await asyncio.wait_for(self._checkpoint(), HANDOVER_SECONDS)
            await asyncio.wait_for(self.app.consumer.commit(), HANDOVER_SECONDS)
        except TimeoutError:
            log.warning("no checkpoint before handing over", partitions=numbers)
        for number in numbers:
            if (worker := self.partitions.pop(number, None)) is not None:
                worker.released = True
                forget_partition(number)

    async def _take(self, event: EventT[Any]) -> None:
        """Put a poll among those to come."""
        partition = self.partitions.get(event.message.tp.partition)
        if partition is None or self._outdated(event):
            return  # read before a rebalance; it comes again where it is wanted
        self._underway += 1
        self._idle.clear()
        poll = cast(FetchedBatch, event.message.value)
        await self._polled.put(PendingBatch(event, poll, partition))

    async def _gather(self) -> None:
        """Have the polls that are there decoded, as a round, while those before are processed."""
        polls = [await self._polled.get()]
        if len(polls[0].poll) < FEW:
            await asyncio.sleep(GATHER_SECONDS)
        while not self._polled.empty() and sum(len(one.poll) for one in polls) < MICRO_BATCH_RECORDS:
            polls.append(self._polled.get_nowait())
        every = [one.poll for one in polls]
        batches = asyncio.get_running_loop().run_in_executor(self._decoding, self._decoder.decode_all, every)
        await self._rounds.put(MicroBatch(polls, batches))

    async def _process(self) -> None:
        polled = await self._rounds.get()
        batches = await polled.batches
        began = time.monotonic()
        for one, batch in zip(polled.polls, batches, strict=True):
            partition, tp = one.partition, one.event.message.tp
            if self.partitions.get(tp.partition) is not partition or partition.released or self._outdated(one.event):
                continue
            partition.behind = (self.app.consumer.highwater(tp) or 0) - 1 > batch.last_offset
            partition.process(batch)
            # The event waits for its checkpoint; its records need not.
            one.poll.forget()
            partition.unacked.append(one.event)
            self._unscored.append(batch.waited_since)
        self._underway -= len(polled.polls)
        more = self._underway and sum(map(len, batches)) >= MICRO_BATCH_RECORDS
        if not more or began >= self._score_at or self._waiting() > SCORE_ROWS:
            self._score_all()
        BATCH_SECONDS.observe(time.monotonic() - began)
        if self._sink.rows >= self.settings.sink_rows:
            self._full.set()
        if self._sink.rows >= 2 * self.settings.sink_rows:
            self._room.clear()
        self._busy_at = time.monotonic()
        if not self._underway:
            self._idle.set()
        await asyncio.sleep(0)

    def _waiting(self) -> int:
        """Return how many customers wait to be scored, at most."""
        return sum(worker.waiting() for worker in self.partitions.values())

    def _score_all(self) -> None:
        began = time.monotonic()
        self._score(self.partitions.values())
        ended = time.monotonic()
        self._score_at = ended + max(SCORE_SECONDS, SHARE * (ended - began))
        for waited_since in self._unscored:
            LATENCY_SECONDS.observe(max(time.time() - waited_since, 0))
        self._unscored = []

    def _score(self, workers: Iterable[PartitionWorker]) -> None:
        """Score the customers whom events have touched."""
        due = ((worker, worker.due()) for worker in workers if not worker.released)
        self._scoring.score((one for one in due if len(one[1])), cause="event")

    async def _stand_back(self) -> None:
        """Let the polls under way go first, for a while at most."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), YIELD_SECONDS)
        await asyncio.sleep(0)

    def _outdated(self, event: EventT[Any]) -> bool:
        return bool(event.message.generation_id != self.app.consumer_generation_id)

    async def _insert(self) -> None:
        """Put the rows gathered so far into ClickHouse."""
        async with self._inserting:
            self._full.clear()
            taken = self._sink.take()
            self._room.set()
            await asyncio.to_thread(self._insert_all, taken)

    def _insert_all(self, taken: Callable[[], dict[str, pa.Table]]) -> None:
        for name, rows in taken().items():
            self._store.insert(name, rows)

    async def _checkpoint(self) -> None:
        async with self._saving:
            began = time.monotonic()
            waiting, saved = list(self.partitions.values()), False
            while waiting:
                saved |= await self._save_some(waiting)
            if saved:
                seconds = time.monotonic() - began
                CHECKPOINT_SECONDS.observe(seconds)
                self._rest = SHARE * seconds
        if not self._underway:
            # What a burst took would otherwise be kept for the next one: more than the customers take.
            await asyncio.to_thread(pa.default_memory_pool().release_unused)

    async def _save_some(self, waiting: list[PartitionWorker]) -> bool:
        """Save some of the partitions that wait, and take them from the list, until `CAPTURE_BYTES` are reached.

        Returns
        -------
        bool
            Whether anything had changed in them.
        """
        taken: list[tuple[PartitionWorker, PartitionCapture, list[EventT[Any]]]] = []
        size = 0
        while waiting and size < CAPTURE_BYTES:
            worker = waiting.pop()
            for rows in worker.touched_ranges():
                await self._stand_back()
                worker.keep_features(rows)
            await self._stand_back()
            # What a checkpoint includes is not read again, so nobody would be told what followed from it.
            self._score([worker])
            if (capture := worker.capture()) is not None:
                taken.append((worker, capture, worker.unacked))
                worker.unacked = []
                size += sum(map(len, capture.pieces.values()))
        # What was done after a capture goes along; to have it twice changes nothing.
        await self._insert()
        if not taken:
            return False
        await asyncio.to_thread(self._save, [(worker, capture) for worker, capture, _ in taken])
        for worker, _, events in taken:
            for event in events if not worker.released else ():
                event.ack()
        return True

    def _save(self, captures: list[tuple[PartitionWorker, PartitionCapture]]) -> None:
        for worker, _ in captures:
            if not worker.released:
                worker.report_erased()
        self._publisher.flush()
        for worker, capture in captures:
            if worker.released:
                continue
            try:
                CHECKPOINT_BYTES.inc(write(capture, worker.writer))
            except FencedError as error:
                # We hung, and the group gave the partition away; the rebalance that tells us so is on its way.
                log.warning("checkpoint refused", partition=worker.partition, reason=error.what)
                worker.released = True

    async def _sweep(self) -> None:
        with SWEEP_SECONDS.time():
            for worker in list(self.partitions.values()):
                for rows in worker.sweep_ranges():
                    await self._room.wait()
                    await self._stand_back()
                    if not worker.released:
                        self._scoring.score([(worker, rows)], cause="sweep")
                worker.count_bands()

    async def _watch(self) -> None:
        """Publish lag, and move the time of partitions that stay idle."""
        topic = self.settings.topics.activity
        newest = max((w.engine.newest for w in self.partitions.values() if w.engine.newest is not None), default=None)
        for number, worker in self.partitions.items():
            lag = max((self.app.consumer.highwater(TP(topic, number)) or 0) - 1 - worker.engine.offset, 0)
            label = str(number)
            worker.behind = lag > 0
            LAG_EVENTS.labels(topic, label).set(lag)
            LAG_SECONDS.labels(topic, label).set(max(time.time() - worker.produced_at, 0) if lag else 0)
            if not lag:
                worker.tick(newest)

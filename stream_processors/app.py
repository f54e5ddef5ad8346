"""The worker: a Faust app over the activity topic that keeps its partitions' state, scores and durability in step."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import faust
from confluent_kafka import KafkaException
from faust.types import TP

from clickhouse.store import Store
from ebb.errors import CorruptError, SchemaMismatchError
from ebb.kafka.admin import end_offsets, topic_id
from ebb.kafka.faust_app import guarded, make_app
from ebb.kafka.producer import Publisher
from ebb.log import get_logger
from ebb.metrics import INTAKE_SILENT, LAG_EVENTS, LAG_SECONDS, SWEEP_SECONDS, TIME_HELD, forget_partition
from ebb.settings import Settings
from stream_processors.checkpoint import ActivityTopic
from stream_processors.committer import Committer
from stream_processors.ingest.transport import BatchingConsumer, RawSchema, Transport
from stream_processors.intake_clock import IntakeClock
from stream_processors.intake_tail import read_reached
from stream_processors.micro_batches import SHARE, MicroBatches
from stream_processors.partition import PartitionWorker
from stream_processors.scoring.champions import ModelFollower
from stream_processors.scoring.publisher import ScorePublisher
from stream_processors.sink import Backpressure, Sink

log = get_logger(__name__)

QUIET_SECONDS = 1.0
"""Without a fetched batch for so long, checkpoints and sweeps need not pause."""
RECHECK_SECONDS = 0.1
LOOK_SECONDS = 10.0
"""While this worker's partitions have no event, how often it looks whether others' have."""
HANDOVER_SECONDS = 10.0
"""How long a rebalance waits for a last checkpoint; without it the next owner replays from the one before."""


class ActivityWorker:
    """All that one worker process does; `app` is the Faust app to run.

    An agent takes the fetched batches; `MicroBatches` turns them into state, scores and alerts; `Committer` makes what
    was done durable and acks. On a rebalance, partitions that are assigned are restored from their checkpoints and
    those that are revoked are checkpointed and released.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.partitions: dict[int, PartitionWorker] = {}
        self.intake = IntakeClock(settings.clock.speed, settings.hold_after)
        self._restoring = asyncio.Lock()
        self._looked_at = 0.0
        self._held = False
        self._stopping = False
        # A micro-batch sends all its records at once; they need not wait for more.
        self._publisher = Publisher(settings, linger_ms=1)
        self._sink = Sink()
        self._models = ModelFollower(settings)
        self._scores = ScorePublisher(settings, publisher=self._publisher, sink=self._sink, models=self._models)
        self._backpressure = Backpressure(self._sink, settings.sink_rows)
        self.app = make_app(settings, "worker")
        self._micro_batches = MicroBatches(
            settings,
            self.app,
            self.partitions,
            scores=self._scores,
            models=self._models,
            backpressure=self._backpressure,
        )
        self._committer = Committer(
            self.partitions,
            store=Store(settings, stopping=lambda: self._stopping),
            publisher=self._publisher,
            backpressure=self._backpressure,
            micro_batches=self._micro_batches,
        )
        self.app.transport = Transport(
            self.app.conf.broker_consumer,
            self.app,
            begin=self._assign,
            batched=frozenset({settings.topics.activity}),
        )
        self.app.transport.at_once = settings.paced
        self._wire(self.app)

    def _wire(self, app: faust.App) -> None:
        activity = app.topic(self.settings.topics.activity, schema=RawSchema())

        @app.agent(activity)
        async def consume(stream: Any) -> None:
            async for event in stream.noack().events():
                await guarded(self.app, self._micro_batches.accept(event))

        async def revoked(_app: Any, /, *args: Any, **_: Any) -> None:
            await guarded(self.app, self._revoke(args[0]))

        async def closing(_app: Any, /, *_args: Any, **_: Any) -> None:
            await self.close()

        # Signals hold their receivers weakly by default.
        app.on_partitions_revoked.connect(revoked, weak=False)
        app.on_before_shutdown.connect(closing, weak=False)
        app.task(self._collecting)
        app.task(self._processing)
        app.task(self._inserts)
        app.task(self._checkpoints)
        if not self.settings.paced:
            app.task(self._sweeps)
        app.task(self._watching)

    def models_trouble(self) -> str | None:
        """Return how the thread that reads the models fails, None if it works; before it starts there is none."""
        return self._models.trouble

    async def _collecting(self) -> None:
        await self._every(self._backpressure.has_room.wait, self._micro_batches.collect)

    async def _processing(self) -> None:
        await self._every(self._backpressure.has_room.wait, self._micro_batches.process)

    async def _inserts(self) -> None:
        await self._every(self._backpressure.full.wait, self._committer.insert)

    async def _checkpoints(self) -> None:
        await self._every(
            lambda: self._pause(self.settings.checkpoint_seconds, self._committer.pause_seconds),
            self._committer.checkpoint,
        )

    async def _sweeps(self) -> None:
        pause = 0.0
        while not self.app.should_stop:
            await self._pause(self.settings.sweep_seconds, pause)
            began = time.monotonic()
            await guarded(self.app, self._sweep())
            pause = SHARE * (time.monotonic() - began)

    async def _watching(self) -> None:
        await self._every(lambda: asyncio.sleep(1.0), self._watch)

    async def _pause(self, least: float, most: float) -> None:
        """Wait for `least` seconds, and on up to `most` while fetched batches keep coming."""
        until = time.monotonic() + most
        await asyncio.sleep(least)
        while time.monotonic() < min(until, self._micro_batches.busy_at + QUIET_SECONDS):
            await asyncio.sleep(RECHECK_SECONDS)

    async def _every(self, due: Callable[[], Awaitable[Any]], work: Callable[[], Awaitable[None]]) -> None:
        while not self.app.should_stop:
            await due()
            await guarded(self.app, work())

    async def close(self) -> None:
        """Make what was done durable if that is quick, and close connections."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._committer.checkpoint(), HANDOVER_SECONDS)
        self._stopping = True
        self._models.stop()
        self._micro_batches.close()

    async def _assign(self, assigned: set[TP]) -> dict[TP, int]:
        """Restore newly assigned partitions from their checkpoints.

        Returns
        -------
        dict
            The offset from which to resume each partition of the activity topic.
        """
        own = sorted(tp for tp in assigned if tp.topic == self.settings.topics.activity)
        kept = await self.app.consumer.earliest_offsets(*own) if own else {}
        topic = await asyncio.to_thread(self._describe_topic, [tp.partition for tp in own]) if own else None
        starts = {}
        for tp in own:
            # Faust may ask again before it has the answer; restored twice, a partition would fence itself.
            async with self._restoring:
                await guarded(self.app, self._restore_once(tp, topic))
            if (partition := self.partitions.get(tp.partition)) is None:
                continue
            needed = partition.engine.offset + 1
            starts[tp] = max(needed, kept[tp])
            if needed < kept[tp]:
                log.error("records expired before they were read", partition=tp.partition, first=needed, kept=kept[tp])
        return starts

    async def _restore_once(self, tp: TP, topic: ActivityTopic | None) -> None:
        if tp.partition in self.partitions:
            return
        began = time.monotonic()
        partition = await asyncio.to_thread(self._restore, tp.partition, topic)
        if tp not in self.app.consumer.assignment():
            log.warning("partition revoked while it was restored", partition=tp.partition)
            return
        self.partitions[tp.partition] = partition
        log.info(
            "partition assigned",
            partition=tp.partition,
            customers=len(partition.engine.state),
            offset=partition.engine.offset,
            seconds=round(time.monotonic() - began, 2),
        )

    def _describe_topic(self, partitions: list[int]) -> ActivityTopic:
        name = self.settings.topics.activity
        return ActivityTopic(topic_id(self.settings, name), end_offsets(self.settings, name, partitions))

    def _restore(self, number: int, topic: ActivityTopic | None) -> PartitionWorker:
        self._models.start()

        def build(*, from_scratch: bool) -> PartitionWorker:
            return PartitionWorker(
                number,
                self.settings,
                publisher=self._publisher,
                sink=self._sink,
                models=self._models,
                scores=self._scores if self.settings.paced else None,
                intake=self.intake,
                topic=topic,
                from_scratch=from_scratch,
            )

        try:
            return build(from_scratch=False)
        except (SchemaMismatchError, CorruptError) as error:
            if not self.settings.begin_anew:
                raise
            log.warning("partition begins anew: its state cannot be used", partition=number, reason=error.what)
            return build(from_scratch=True)

    async def _revoke(self, revoked: set[TP]) -> None:
        """Checkpoint the partitions that a rebalance revokes, if that is quick, and release them."""
        numbers = [tp.partition for tp in revoked if tp.topic == self.settings.topics.activity]
        if not any(number in self.partitions for number in numbers):
            return
        try:
            await asyncio.wait_for(self._committer.checkpoint(), HANDOVER_SECONDS)
            await asyncio.wait_for(self.app.consumer.commit(), HANDOVER_SECONDS)
        except TimeoutError:
            log.warning("no checkpoint before the rebalance", partitions=numbers)
        for number in numbers:
            if (partition := self.partitions.pop(number, None)) is not None:
                partition.revoked = True
                forget_partition(number)

    async def _sweep(self) -> None:
        """Score all customers, so that silence shows."""
        with SWEEP_SECONDS.time():
            for partition in list(self.partitions.values()):
                for rows in partition.sweep_ranges():
                    await self._backpressure.has_room.wait()
                    await self._micro_batches.yield_to_backlog()
                    if not partition.revoked:
                        self._scores.publish([partition.request(rows)], cause="sweep")
                partition.count_bands()

    async def _watch(self) -> None:
        """Measure consumer lag, and send ticks to partitions that stay idle."""
        topic = self.settings.topics.activity
        await self._look_at_others()
        for number, partition in self.partitions.items():
            lag = cast(BatchingConsumer, self.app.consumer).lag(TP(topic, number), partition.engine.offset)
            partition.has_backlog = lag != 0
            if lag is None:
                continue  # not fetched yet
            label = str(number)
            LAG_EVENTS.labels(topic, label).set(lag)
            LAG_SECONDS.labels(topic, label).set(max(time.time() - partition.produced_at, 0) if lag else 0)
            if not lag:
                partition.tick()

    async def _look_at_others(self) -> None:
        """Take notice of the intake in other workers' partitions, if this worker's have had no event for long."""
        wall, hold_after = time.time(), self.settings.hold_after
        patient = self.intake.time is not None and (not hold_after or self.intake.silent_seconds(wall) < hold_after / 2)
        if not patient and wall - self._looked_at > LOOK_SECONDS and self.settings.idle_after_seconds:
            self._looked_at = wall
            try:
                tails = await asyncio.to_thread(read_reached, self.settings)
            except KafkaException as error:
                log.warning("intake cannot be read", reason=str(error))
                tails = []
            for reached in tails:
                self.intake.observe(reached.event_time, reached.appended, has_event=reached.has_event)
        held = self.intake.is_held(wall) and self.settings.idle_after_seconds > 0
        if held != self._held:
            message = "time is held: no event has come from anybody" if held else "events come again: time goes on"
            log.warning(message, silent_seconds=round(self.intake.silent_seconds(wall)))
        self._held = held
        TIME_HELD.set(held)
        INTAKE_SILENT.set(self.intake.silent_seconds(wall))

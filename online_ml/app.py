"""The learner as a Faust app over `ebb.examples`: one process, one writer of models."""

import asyncio
import contextlib
import fcntl
import itertools
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Awaitable
from typing import IO, Any

import faust
from faust.types import TP, EventT

from clickhouse.store import Store
from ebb.clock import DAY
from ebb.contracts.scores import utc
from ebb.kafka.faust_app import guarded, make_app
from ebb.kafka.faust_transport import CheckpointTransport
from ebb.kafka.fenced_writer import FencedError, FencedWriter
from ebb.log import get_logger
from ebb.metrics import CHECKPOINT_BYTES, CHECKPOINT_SECONDS, LAG_EVENTS, LEARNER_WAITING
from ebb.settings import Settings
from online_ml.session import LearnerSession

log = get_logger(__name__)

HELD_ROWS = 500_000
"""Outcome rows held in memory before they are made durable, whatever the time."""
LOOK_SECONDS = 0.2
"""Between two looks at the checkpoint that is due, the lag, and the partitions that lag behind."""
PATIENCE_SECONDS = 10.0
"""How long a partition may hold back the others before a warning."""
LEAVING = (
    "Learning has one writer. After a rolling update nothing is to be done; otherwise stop what started the other."
)
HANDOVER_SECONDS = 10.0
"""How long a checkpoint may take when partitions are revoked; past it the work since the last one is repeated."""


def _membership(settings: Settings) -> tuple[str, IO[bytes]]:
    """Return a name in the consumer group that no other live process of this home has, and the lock that keeps it.

    Under its name of before, a learner that was killed has its partitions again at once; under another it would wait
    until the group misses the old one. Two processes under one name would throw each other out of the group.
    """
    folder = settings.home / "faust" / settings.group("learner")
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        lock = (folder / f"member-{number}.lock").open("wb")
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return f"learner-{socket.gethostname()}-{number}", lock
        lock.close()
    raise AssertionError


class LearnerApp:
    """All that the learner process does; `app` is the Faust app to run.

    Parameters
    ----------
    settings
        Topics, database, partitions, seconds between checkpoints.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._stopping = False
        self._store = Store(settings, stopping=lambda: self._stopping)
        # Made once, before the group is joined: a learner that finds itself fenced leaves, or two would fence each
        # other for ever; and whoever was the learner finds it out at the rebalance that follows.
        self._writer = FencedWriter(settings, settings.topics.learner, 0)
        self._session: LearnerSession | None = None
        self._unacked: dict[int, deque[tuple[int, EventT[Any]]]] = {}
        self._busy = asyncio.Lock()
        self._left = False
        self._durable_at = 0.0
        self._last_boundary: int | None = None
        """Boundary last processed; no other has been since `_unchanged_since`."""
        self._unchanged_since = 0.0
        member, self._lock = _membership(settings)
        self.app = make_app(
            settings,
            "learner",
            broker_max_poll_records=64,
            consumer_group_instance_id=member,
            broker_session_timeout=10.0,
            broker_heartbeat_interval=2.0,
        )
        self._transport = CheckpointTransport(self.app.conf.broker_consumer, self.app, begin=self._begin)
        self._transport.at_once = settings.paced
        self.app.transport = self._transport
        self._wire(self.app)

    def _wire(self, app: faust.App) -> None:
        examples = app.topic(self.settings.topics.examples, key_serializer="raw", value_serializer="raw")

        @app.agent(examples)
        async def learn(stream: Any) -> None:
            async for event in stream.noack().events():
                await self._guarded(self._take(event))

        async def revoked(_app: Any, /, *_args: Any, **_: Any) -> None:
            await self._guarded(self._release())

        async def closing(_app: Any, /, *_args: Any, **_: Any) -> None:
            await self._close()

        # Signals hold their receivers weakly by default.
        app.on_partitions_revoked.connect(revoked, weak=False)
        app.on_before_shutdown.connect(closing, weak=False)
        app.task(self._maintain_forever)

    async def _release(self) -> None:
        """Release the partitions: checkpoint what was done if that is quick; otherwise it is done again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HANDOVER_SECONDS), self._busy:
                if self._session is not None and self._session.pending:
                    await self._make_durable(self._session)
        if self._session is not None:
            self._session.released = True
        self._session = None
        self._unacked.clear()
        self._transport.held_back = frozenset()

    async def _begin(self, assigned: set[TP]) -> dict[TP, int]:
        """Restore the newest checkpoint; return the offsets from which to resume."""
        mine = {tp for tp in assigned if tp.topic == self.settings.topics.examples}
        if len(mine) < self.settings.partitions:
            log.error(
                "the learner does not have all partitions and learns nothing until it does",
                has=sorted(tp.partition for tp in mine),
                of=self.settings.partitions,
                hint="Another learner runs in this namespace; one of the two leaves within seconds.",
            )
        async with self._busy:
            if self._session is None:
                try:
                    self._session = await asyncio.to_thread(
                        LearnerSession, self.settings, store=self._store, writer=self._writer
                    )
                except FencedError as error:
                    self._leave(error)
                    return {}
            return {tp: self._session.position(tp.partition) + 1 for tp in mine}

    async def _guarded(self, work: Awaitable[None]) -> None:
        """Await work of the app; if another learner has come, leave, and if it fails otherwise, crash the app."""

        async def until_fenced() -> None:
            try:
                await work
            except FencedError as error:
                self._leave(error)

        await guarded(self.app, until_fenced())

    def _leave(self, error: FencedError) -> None:
        """Stop the process: learning has one writer, and it is the learner that started last."""
        self._session = None
        self._unacked.clear()
        if not self._left:
            self._left = True
            log.error("another learner has started; this one leaves", reason=error.what, hint=LEAVING)
            os.kill(os.getpid(), signal.SIGTERM)

    async def _take(self, event: EventT[Any]) -> None:
        async with self._busy:
            session, tp, offset = self._session, event.message.tp, event.message.offset
            if session is None or event.message.generation_id != self.app.consumer_generation_id:
                return  # read before a rebalance; it comes again
            if offset <= session.durable.get(tp.partition, -1):
                event.ack()
                return
            if offset <= session.position(tp.partition):
                return
            body: bytes | None = event.value
            # An ack needs the event, not its megabyte of value.
            event.value = event.message.value = None
            self._unacked.setdefault(tp.partition, deque()).append((offset, event))
            if not session.take(tp.partition, offset, body):
                return
            while await asyncio.to_thread(session.advance) is not None:
                if session.effects.rows >= HELD_ROWS or self._due():
                    await self._make_durable(session)
            self._hold_back(session)

    def _hold_back(self, session: LearnerSession) -> None:
        """Stop reading partitions that are too far ahead of the others; read on those that no longer are."""
        ahead = session.learner.progress.too_far_ahead(self.settings.waiting_rows)
        self._transport.held_back = frozenset(TP(self.settings.topics.examples, partition) for partition in ahead)

    def _due(self) -> bool:
        return time.monotonic() - self._durable_at >= self.settings.checkpoint_seconds

    async def _make_durable(self, session: LearnerSession) -> None:
        with CHECKPOINT_SECONDS.time():
            CHECKPOINT_BYTES.inc(await asyncio.to_thread(session.make_durable))
        self._durable_at = time.monotonic()
        for partition, events in self._unacked.items():
            until = session.durable.get(partition, -1)
            while events and events[0][0] <= until:
                events.popleft()[1].ack()

    async def _maintain_forever(self) -> None:
        while not self.app.should_stop:
            await asyncio.sleep(LOOK_SECONDS)
            await self._guarded(self._maintain())

    async def _maintain(self) -> None:
        async with self._busy:
            session = self._session
            if session is None:
                return
            if session.pending and self._due():
                await self._make_durable(session)
            LEARNER_WAITING.set(session.learner.progress.rows_waiting)
            topic = self.settings.topics.examples
            for tp in self.app.consumer.assignment():
                if tp.topic == topic:
                    lag = (self.app.consumer.highwater(tp) or 0) - 1 - session.position(tp.partition)
                    LAG_EVENTS.labels(topic, str(tp.partition)).set(max(lag, 0))
            self._warn_of_lagging_partitions(session)

    def _warn_of_lagging_partitions(self, session: LearnerSession) -> None:
        waiting = session.learner.progress.waiting_for()
        now = time.monotonic()
        if not waiting or session.learner.boundary != self._last_boundary:
            self._last_boundary, self._unchanged_since = session.learner.boundary, now
            return
        if now - self._unchanged_since < PATIENCE_SECONDS:
            return
        self._unchanged_since = now
        closed = session.learner.progress.closed
        log.warning(
            "learning waits for partitions that lag behind the others",
            partitions={p: utc(closed[p] * DAY).date().isoformat() if p in closed else None for p in waiting[:8]},
        )

    async def _close(self) -> None:
        """Make what was done durable if that is quick."""
        await self._guarded(self._release())
        self._stopping = True

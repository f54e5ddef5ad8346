"""The parts that the routes work with: one object per application."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial, wraps
from typing import Annotated, Any, ParamSpec, TypeVar, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from clickhouse.store import Store
from ebb.clock import Clock
from ebb.contracts.scores import utc
from ebb.kafka.acknowledged_producer import AcknowledgedProducer
from ebb.kafka.retention import TopicRetentions
from ebb.settings import Settings
from serving.background.erasure_worker import ErasureWorker
from serving.background.handling_archiver import HandlingArchiver
from serving.background.pipeline_monitor import PipelineMonitor
from serving.background.webhook_dispatcher import WebhookDispatchers
from serving.cached_queries import CachedQueries
from serving.collector.judge import Collector
from serving.feed import Feed
from serving.http.auth import Authenticator
from serving.http.waiting import WaitingRoom
from serving.streaming.hub import Hub


@dataclass(frozen=True)
class Context:
    """The parts of one API process."""

    settings: Settings
    clock: Clock
    authenticator: Authenticator
    hub: Hub
    feed: Feed
    pipeline_monitor: PipelineMonitor
    queries: CachedQueries
    collector: Collector
    producer: AcknowledgedProducer
    erasure_worker: ErasureWorker
    retentions: TopicRetentions
    webhook_dispatchers: WebhookDispatchers
    handling_archiver: HandlingArchiver
    waiting_bodies: WaitingRoom = field(default_factory=lambda: WaitingRoom(128, 32))
    """Bodies on their way from callers who show the key in them."""
    waiting_streams: WaitingRoom = field(default_factory=lambda: WaitingRoom(1_000, 250))
    """WebSockets that have not shown a key yet."""

    @classmethod
    def of(cls, settings: Settings) -> "Context":
        """Build the parts; nothing runs yet."""
        hub = Hub(settings.stream_clients)
        feed = Feed(settings, hub)
        clock = settings.clock

        def complete() -> bool:
            return feed.reader.caught_up

        return cls(
            settings=settings,
            clock=clock,
            authenticator=Authenticator(settings, feed.api_keys, complete=complete),
            hub=hub,
            feed=feed,
            pipeline_monitor=PipelineMonitor(settings),
            queries=CachedQueries(
                lambda: Store(settings, seconds=settings.history_seconds), seconds=settings.history_seconds
            ),
            collector=Collector(settings, clock),
            producer=AcknowledgedProducer(settings),
            erasure_worker=ErasureWorker(settings, feed.erasures, feed.alert_handling, complete),
            retentions=TopicRetentions(settings),
            webhook_dispatchers=WebhookDispatchers(settings, feed.erasures.is_erased, complete),
            handling_archiver=HandlingArchiver(settings, feed.erasures.is_erased, complete),
        )

    def failure(self) -> str | None:
        """Return which thread has died or hangs for good, None if all work."""
        failures = {
            "the reader of the topics": self.feed.reader.failure,
            "the pipeline monitor": self.pipeline_monitor.failure,
            "the thread of delivery reports": self.producer.failure,
            "the erasure worker": self.erasure_worker.failure,
            "the archiver": self.handling_archiver.failure,
            "the thread of webhooks": self.webhook_dispatchers.failure,
        }
        return next((f"{name} {why}" for name, why in failures.items() if why is not None), None)

    def start(self) -> None:
        """Start the threads; the running event loop fans out."""
        self.feed.start(asyncio.get_running_loop())
        self.pipeline_monitor.start()
        self.producer.start()
        self.erasure_worker.start()
        self.webhook_dispatchers.start()
        self.handling_archiver.start()

    async def stop(self) -> None:
        """Stop the threads."""
        self.hub.draining = True
        self.hub.closing.set()
        # Side by side: each may have to wait for a broker that does not answer.
        stops = (
            self.feed.stop,
            self.pipeline_monitor.stop,
            self.queries.close,
            self.producer.stop,
            self.erasure_worker.stop,
            self.webhook_dispatchers.stop,
            self.handling_archiver.stop,
        )
        await asyncio.gather(*(asyncio.to_thread(stop) for stop in stops))

    def event_time(self) -> datetime:
        """Return the current event time."""
        return utc(self.clock.now())


# Async though it awaits nothing: FastAPI runs a sync dependency in a thread, which costs more than a whole look-up.
async def _context(connection: HTTPConnection) -> Context:
    context: Context = connection.app.state.context
    return context


ContextDep = Annotated[Context, Depends(_context)]
P = ParamSpec("P")
T = TypeVar("T")


def asks_clickhouse(route: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Run a route that asks ClickHouse in the threads kept for that, not in those of all routes.

    The route has a parameter `context: ContextDep`.
    """

    @wraps(route)
    async def in_thread(*args: P.args, **kwargs: P.kwargs) -> T:
        context = cast(Context, kwargs["context"])
        return await context.queries.run(partial(route, *args, **kwargs))

    return in_thread

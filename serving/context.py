"""The parts that the routes work with: one object per application."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

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
            queries=CachedQueries(lambda: Store(settings)),
            collector=Collector(settings, clock),
            producer=AcknowledgedProducer(settings),
            erasure_worker=ErasureWorker(settings, feed.erasures, feed.alert_handling, complete),
            retentions=TopicRetentions(settings),
            webhook_dispatchers=WebhookDispatchers(settings, feed.erasures.is_erased, complete),
            handling_archiver=HandlingArchiver(settings, feed.erasures.is_erased, complete),
        )

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

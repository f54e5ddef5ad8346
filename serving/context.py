"""What the routes work with: one object per application."""

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
    door: Authenticator
    hub: Hub
    feed: Feed
    watch: PipelineMonitor
    analytics: CachedQueries
    collector: Collector
    delivery: AcknowledgedProducer
    eraser: ErasureWorker
    couriers: WebhookDispatchers
    archive: HandlingArchiver

    @classmethod
    def of(cls, settings: Settings) -> "Context":
        """Build the parts; nothing runs yet."""
        hub = Hub(settings.stream_clients)
        feed = Feed(settings, hub)
        clock = settings.clock
        return cls(
            settings=settings,
            clock=clock,
            door=Authenticator(settings, feed.ring, complete=lambda: feed.reader.caught_up),
            hub=hub,
            feed=feed,
            watch=PipelineMonitor(settings),
            analytics=CachedQueries(lambda: Store(settings)),
            collector=Collector(settings, clock),
            delivery=AcknowledgedProducer(settings),
            eraser=ErasureWorker(settings, feed.ledger, feed.desk),
            couriers=WebhookDispatchers(settings, feed.ledger.is_erased),
            archive=HandlingArchiver(settings, feed.ledger.is_erased),
        )

    def start(self) -> None:
        """Start the threads; the running event loop fans out."""
        self.feed.start(asyncio.get_running_loop())
        self.watch.start()
        self.delivery.start()
        self.eraser.start()
        self.couriers.start()
        self.archive.start()

    async def stop(self) -> None:
        """Stop the threads."""
        self.hub.draining = True
        self.hub.closing.set()
        # Side by side: each may have to wait for a broker that does not answer.
        stops = (
            self.feed.stop,
            self.watch.stop,
            self.analytics.close,
            self.delivery.stop,
            self.eraser.stop,
            self.couriers.stop,
            self.archive.stop,
        )
        await asyncio.gather(*(asyncio.to_thread(stop) for stop in stops))

    def event_time(self) -> datetime:
        """Return the present event time."""
        return utc(self.clock.now())


# Not that it waits: whatever is not async is run in a thread, and that costs more than the rest of a look-up.
async def _context(connection: HTTPConnection) -> Context:
    context: Context = connection.app.state.context
    return context


ContextDep = Annotated[Context, Depends(_context)]

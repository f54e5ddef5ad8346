"""Faust's aiokafka transport, changed to resume from checkpoints and so that an idle topic does not stall a busy one.

A part whose state lives in checkpoints must read on from what its checkpoint includes. The group's committed offsets
trail behind that and show others how far the part is; the part itself never relies on them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, cast

from aiokafka import AIOKafkaConsumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

FETCH_WAIT_MS = 20
"""How long the broker may hold a fetch. Faust's 1,500 lets one idle topic stall the busy ones (docs/adr/0003)."""
FETCH_MIN_BYTES = 256 * 1024
"""Bytes that the broker gathers before it answers a fetch, unless the wait is over. If each fetch were
answered at the first byte, a few hundred records a second would keep broker and consumer busy with requests."""
FETCH_BYTES = 4 * 1024 * 1024
"""Most bytes a fetch takes from one partition: some 20,000 events, one good batch."""

Begin = Callable[[set[TP]], Awaitable[Mapping[TP, int]]]


class CheckpointThread(driver.AIOKafkaConsumerThread):
    """The consumer's thread, with Ebb's fetch settings."""

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # The driver fixes these; aiokafka reads them when it creates its fetcher, at start.
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        consumer._fetch_min_bytes = 1 if cast(CheckpointTransport, transport).at_once else FETCH_MIN_BYTES
        consumer._max_partition_fetch_bytes = FETCH_BYTES
        # A producer may send in transactions; what it aborts was never sent.
        consumer._isolation_level = "read_committed"
        return consumer

    async def _fetch_records(
        self, consumer: AIOKafkaConsumer, active_partitions: set[TP], *args: Any, **options: Any
    ) -> Any:
        """Take what was fetched, but nothing of the partitions held back.

        Faust's own `pause_partitions` drops the records on their way to the stream, and reads on behind them.
        """
        held = cast(CheckpointTransport, self.transport).held_back
        if held and active_partitions <= held:
            await asyncio.sleep(FETCH_WAIT_MS / 1000)
            return {}
        # Otherwise the set itself: Faust changes it while the fetch waits.
        wanted = active_partitions - held if held else active_partitions
        return await super()._fetch_records(consumer, wanted, *args, **options)


class CheckpointConsumer(driver.Consumer):
    """Consumer that starts each partition at the offset that the transport's `begin` returns."""

    def _new_consumer_thread(self) -> CheckpointThread:
        return CheckpointThread(self, loop=self.loop, beacon=self.beacon)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek every assigned partition to the end of its checkpoint; called before any of them is read."""
        offsets: dict[TP, int] = dict(await super().seek_to_committed())
        for tp, start in (await cast(CheckpointTransport, self.transport).begin(self.assignment())).items():
            await self._seek(tp, start)
            offsets[tp] = start
        return offsets


class CheckpointTransport(driver.Transport):
    """aiokafka transport that starts at given offsets.

    Parameters
    ----------
    begin
        Awaited with the partitions assigned, before any of them is read and again whenever Faust goes back to what is
        committed; returns the offsets from which to resume.
    """

    Consumer: ClassVar[type[driver.Consumer]] = CheckpointConsumer

    def __init__(self, *args: Any, begin: Begin, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.begin = begin
        self.at_once = False
        """Whether the broker answers at the first record. To be set before the start; for a log that waits for it."""
        self.held_back: frozenset[TP] = frozenset()
        """Partitions of which no more is taken at present; what was taken already still reaches the stream."""

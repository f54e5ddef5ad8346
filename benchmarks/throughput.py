"""Events per second of whole workers, beside only consuming and decoding the same topic.

A whole worker: validate, drop duplicates, update state, compute features, score, publish, insert events and features
into ClickHouse, checkpoint. Bare: one process, aiokafka and confluent-kafka each, `orjson.loads` of every record,
nothing kept; the faster of the two is the ceiling. All run against one broker on this machine, one after another, so
compare the ratios and not the figures of two machines.

Where one worker, with the broker and the engine, uses all cores, a second can add nothing. So both are measured again
with each worker limited to a share of one core, where the machine no longer limits two of them.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as ConfluentPartition

from benchmarks._figures import process_of, processed
from benchmarks._load import offer, random_events
from benchmarks._share import can_limit, limited
from clickhouse.migrations import migrate
from ebb.kafka.admin import create_topics
from ebb.kafka.config import client_config
from ebb.settings import Settings
from ebb_cli.local import parts
from ebb_cli.local.supervisor import Supervisor
from ebb_cli.local.system import services
from producers.activity_producer import ActivityProducer

EVENTS = int(os.environ.get("BENCH_EVENTS", "4500000"))
"""Some ten seconds of work: in the first ones the broker's JVM is busy compiling, and a second worker joins."""
LESS = EVENTS // 3
"""Events read without a worker, and by workers limited to a share of a core."""
SHARE = 0.3
"""Share of a core of each limited worker."""
CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "20000"))
SPAN_SECONDS = 3 * 86_400
"""Event time that the events cover: two or three day boundaries are crossed in every partition."""
POLL_SECONDS = 0.1
"""Between two requests for the metrics, each of which takes a worker some milliseconds."""


def main() -> None:
    """Measure and print."""
    begin = time.time() - SPAN_SECONDS
    events = random_events(EVENTS, customers=CUSTOMERS, seed=1, begin=begin, span_seconds=SPAN_SECONDS)
    with tempfile.TemporaryDirectory() as home, services(Settings(home=Path(home))) as base:
        single = _filled(base, "single", events)
        ceilings = {"aiokafka": asyncio.run(_aiokafka(single)), "confluent-kafka": _confluent(single)}
        one = _through(single, EVENTS, workers=1)
        two = _through(_filled(base, "double", events), EVENTS, workers=2)
        shared = _shared(base, events[:LESS]) if can_limit() else None
    ceiling = max(ceilings.values())
    for name, rate in ceilings.items():
        print(f"bare {name} + orjson     {rate:>10,.0f} events/s")
    print(f"one worker, everything    {one:>10,.0f} events/s   {one / ceiling:.3f} of the ceiling")
    print(f"two workers, everything   {two:>10,.0f} events/s   {two / one:.2f} x one worker")
    if shared is None:
        print(
            "This user may not limit processes to a share of a core, so the comparison of limited workers is left out."
        )
    else:
        alone, together = shared
        print(f"one worker, {SHARE} of a core  {alone:>10,.0f} events/s")
        print(f"two workers, {SHARE} each      {together:>10,.0f} events/s   {together / alone:.2f} x one such worker")
    figures = {
        "events_per_s": round(one),
        "ceiling_per_s": round(ceiling),
        "ceiling_ratio": round(one / ceiling, 4),
        "two_worker_ratio": round(two / one, 3),
        "two_held_workers_ratio": None if shared is None else round(shared[1] / shared[0], 3),
    }
    print(json.dumps(figures))


def _shared(base: Settings, events: list[tuple[str, bytes]]) -> tuple[float, float]:
    """Return events per second of one worker, and of two, each limited to a share of a core."""
    one, two = (
        _through(_filled(base, f"held_{workers}", events), len(events), workers=workers, share=SHARE)
        for workers in (1, 2)
    )
    return one, two


def _filled(base: Settings, namespace: str, events: list[tuple[str, bytes]]) -> Settings:
    settings = base.model_copy(update={"namespace": namespace, "idle_after_seconds": 0.0})
    create_topics(settings)
    migrate(settings)
    with ActivityProducer(settings, source="load", linger_ms=50) as producer:
        offer(producer, events)
    return settings


async def _aiokafka(settings: Settings) -> float:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    await consumer.start()
    partitions = [TopicPartition(settings.topics.activity, number) for number in range(settings.partitions)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    read, began = 0, time.perf_counter()
    while read < LESS:
        for records in (await consumer.getmany(timeout_ms=1_000, max_records=20_000)).values():
            for record in records:
                orjson.loads(record.value)
            read += len(records)
    seconds = time.perf_counter() - began
    await consumer.stop()
    return read / seconds


def _confluent(settings: Settings) -> float:
    consumer = Consumer(client_config(settings, group_id="bench", enable_auto_commit=False))
    consumer.assign([ConfluentPartition(settings.topics.activity, number, 0) for number in range(settings.partitions)])
    read, began = 0, time.perf_counter()
    while read < LESS:
        for message in consumer.consume(20_000, timeout=1.0):
            orjson.loads(message.value() or b"null")
            read += 1
    seconds = time.perf_counter() - began
    consumer.close()
    return read / seconds


def _through(settings: Settings, events: int, *, workers: int, share: float | None = None) -> float:
    """Start workers on a filled topic; return events per second from when all of them process some to the last."""
    running = [parts.worker(settings, number) for number in range(workers)]
    with Supervisor(running, logs=settings.home / "logs", report=print), _limited(running, share):
        first: tuple[float, float] | None = None
        while True:
            by_worker, now = list(map(processed, running)), time.perf_counter()
            done = sum(by_worker)
            if first is None and all(by_worker):
                first = (now, done)
            if done >= events:
                if first is None or first[1] > events / 2:
                    sys.exit(f"{events} events are too few: half were processed before all workers had begun.")
                return (done - first[1]) / (now - first[0])
            time.sleep(POLL_SECONDS)


def _limited(running: list[parts.ManagedProcess], share: float | None) -> AbstractContextManager[None]:
    return nullcontext() if share is None else limited([process_of(part).pid for part in running], share)


if __name__ == "__main__":
    main()

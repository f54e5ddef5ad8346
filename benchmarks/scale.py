"""Cost of customers for one worker: memory, sweeps, checkpoints, recovery and throughput, by their number.

Bytes a customer: the private memory (USS) of an idle worker with so many customers, minus that of a worker with the
same settings and no event, by customer. It includes columns grown by doubling, ids and their index, the duplicate
windows, the served scores, and what the allocator keeps of past polls, inserts and checkpoints. The slope between two
numbers of customers leaves out what does not grow with them.

Recovery: a new process reads all partitions of the state topic and restores them, until it could process the next
event; its memory is measured before and after, and a sweep without any waiting. The sweep of the JSON line is the live
worker's own metric (`ebb_sweep_seconds`).
"""

import gc
import json
import multiprocessing
import os
import tempfile
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from benchmarks._figures import metric, process_of, scrape
from benchmarks._load import offer, random_events
from clickhouse.migrations import migrate
from ebb.contracts.activity import encode_activity
from ebb.kafka.admin import create_topics
from ebb.kafka.producer import Publisher
from ebb.kafka.reader import read_to_end
from ebb.settings import Settings
from ebb_cli.local import parts
from ebb_cli.local.supervisor import Supervisor
from ebb_cli.local.system import ignore, services
from producers.activity_producer import ActivityProducer
from producers.simulator.population import CHANNELS, COUNTRIES
from stream_processors.intake_clock import IntakeClock
from stream_processors.partition import PartitionWorker
from stream_processors.scoring.champions import ModelFollower
from stream_processors.scoring.publisher import ScorePublisher
from stream_processors.sink import Sink

NUMBERS = tuple(int(number) for number in os.environ.get("BENCH_NUMBERS", "10000,100000,1000000").split(","))
EVENTS = int(os.environ.get("BENCH_EVENTS", "400000"))
"""Events after the first of every customer."""
SLICE = 100_000
"""Events held in memory before they are sent."""
SPAN_SECONDS = 2 * 86_400
QUIET_SECONDS = 8.0
"""Time without an event after which checkpoints and inserts are done."""
PATIENCE_SECONDS = 600.0


def main() -> None:
    """Measure and print."""
    names = ("bytes_per_customer", "sweep_s", "recovery_s", "checkpoint_mb", "events_per_s")
    figures: dict[str, dict[str, float]] = {name: {} for name in names}
    used: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as home, services(Settings(home=Path(home))) as base:
        empty = _empty(_space(base, "empty"))
        print(f"a worker without customers has {empty / 1e6:.1f} MB of its own")
        for number in NUMBERS:
            settings = _space(base, f"of{number}")
            _fill(settings, number)
            measured, used[number] = _live(settings, number)
            measured |= _restored(settings, number)
            measured["bytes_per_customer"] = round((used[number] - empty) / number, 1)
            for name in names:
                figures[name][str(number)] = measured[name]
            print(
                f"{number:>9,} customers: {measured['bytes_per_customer']:,.0f} bytes each, "
                f"sweep {measured['sweep_s']:.3f} s ({measured['sweep_alone_s']:.3f} s alone), "
                f"recovery {measured['recovery_s']:.2f} s, checkpoint "
                f"{measured['checkpoint_mb']:.1f} MB, {measured['events_per_s']:,.0f} events/s; restored alone "
                f"{measured['restored_bytes']:,.0f} bytes each",
                flush=True,
            )
    for few, many in pairwise(NUMBERS):
        each = (used[many] - used[few]) / (many - few)
        print(f"from {few:,} to {many:,} customers: {each:,.0f} bytes for each one more")
    print(json.dumps(figures))


def _space(base: Settings, namespace: str) -> Settings:
    settings = base.model_copy(update={"namespace": namespace})
    create_topics(settings)
    migrate(settings)
    return settings


def _fill(settings: Settings, number: int) -> None:
    """Send one event of every customer, then events of random customers."""
    begin, half = time.time() - SPAN_SECONDS, SPAN_SECONDS / 2
    with ActivityProducer(settings, source="load", linger_ms=50) as producer:
        for start in range(0, number, SLICE):
            stop = min(start + SLICE, number)
            offer(producer, [_first(n, begin + half * n / number) for n in range(start, stop)])
        for part in range(-(-EVENTS // SLICE)):
            count = min(SLICE, EVENTS - part * SLICE)
            step = half * SLICE / EVENTS
            at = begin + half + part * step
            offer(producer, random_events(count, customers=number, seed=part + 1, begin=at, span_seconds=step))


def _first(number: int, at: float) -> tuple[str, bytes]:
    customer_id = f"load-{number:07d}"
    properties: dict[str, object] = {
        "channel": CHANNELS[number % len(CHANNELS)],
        "country": COUNTRIES[number % len(COUNTRIES)],
        "product_id": f"p{number % 5_000}",
        "session_id": f"first-{number}",
    }
    body = encode_activity(f"first-{number}", customer_id, "view", datetime.fromtimestamp(at, UTC), properties)
    return customer_id, body


def _empty(settings: Settings) -> int:
    worker = parts.worker(settings)
    with Supervisor([worker], logs=settings.home / "logs", report=ignore):
        time.sleep(QUIET_SECONDS)
        return _own_memory(worker)


def _live(settings: Settings, number: int) -> tuple[dict[str, float], int]:
    """Run a worker on a filled topic; return its figures, and its memory once it is idle."""
    worker, events = parts.worker(settings), number + EVENTS
    with Supervisor([worker], logs=settings.home / "logs", report=ignore):
        first: tuple[float, float] | None = None
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (done := _done(text := scrape(worker))) < events or first is None:
            if first is None and done > 0:
                first = (time.perf_counter(), done)
            _check_deadline(deadline, f"{events:,} events were processed ({done:,.0f} were)")
            time.sleep(0.05)
        rate = (done - first[1]) / max(time.perf_counter() - first[0], 1e-9)
        time.sleep(QUIET_SECONDS)
        # The present sweep may have begun under load, when sweeps yield to events.
        begun = metric(scrape(worker), "ebb_sweep_seconds_count")
        while metric(before := scrape(worker), "ebb_sweep_seconds_count") < begun + 1:
            _check_deadline(deadline, "a sweep ended")
            time.sleep(0.2)
        swept = metric(before, "ebb_sweep_seconds_count")
        while metric(text := scrape(worker), "ebb_sweep_seconds_count") < swept + 2:
            _check_deadline(deadline, "two sweeps ended")
            time.sleep(0.2)
        sweeps = metric(text, "ebb_sweep_seconds_count") - swept
        seconds = metric(text, "ebb_sweep_seconds_sum") - metric(before, "ebb_sweep_seconds_sum")
        kept = metric(text, "ebb_customers")
        if kept != number:
            message = f"the worker has {kept:,.0f} customers, but {number:,} were sent"
            raise SystemExit(message)
        return {"events_per_s": round(rate), "sweep_s": round(seconds / sweeps, 4)}, _own_memory(worker)


def _restored(settings: Settings, number: int) -> dict[str, float]:
    latest: dict[tuple[int, bytes], int] = {}
    for record in read_to_end(settings, settings.topics.state, range(settings.partitions)):
        key, body = record.key(), record.value()
        latest[int(record.partition() or 0), bytes(key or b"")] = len(body or b"")
    context = multiprocessing.get_context("spawn")
    results: Any = context.SimpleQueue()
    process = context.Process(target=recover, args=(settings, number, results))
    process.start()
    process.join()
    if process.exitcode:
        message = f"the recovery of {number:,} customers ended with exit code {process.exitcode}; see above"
        raise SystemExit(message)
    figures: dict[str, float] = results.get()
    return {"checkpoint_mb": round(sum(latest.values()) / 1e6, 2)} | figures


def recover(settings: Settings, number: int, results: Any) -> None:
    """Restore all partitions in this process and sweep them; put the figures into `results`."""
    publisher, sink, models = Publisher(settings), Sink(), ModelFollower(settings)
    intake = IntakeClock(settings.clock.speed, settings.hold_after)
    gc.collect()
    before = psutil.Process().memory_full_info().uss
    began = time.perf_counter()
    workers = [
        PartitionWorker(partition, settings, publisher=publisher, sink=sink, models=models, intake=intake)
        for partition in range(settings.partitions)
    ]
    recovery = time.perf_counter() - began
    gc.collect()
    after = psutil.Process().memory_full_info().uss
    kept = sum(len(worker.engine.state) for worker in workers)
    if kept != number:
        message = f"{kept:,} customers were restored, but {number:,} were sent"
        raise SystemExit(message)
    for worker in workers:
        worker.has_backlog = False
    scores = ScorePublisher(settings, publisher=publisher, sink=sink, models=models)
    sweeps = []
    for _ in range(2):  # the first publishes what changed since the live worker's last
        began = time.perf_counter()
        for worker in workers:
            for rows in worker.sweep_ranges():
                scores.publish([worker.request(rows)], cause="sweep")
            worker.count_bands()
        sweeps.append(time.perf_counter() - began)
        sink.take()
    publisher.flush()
    results.put(
        {
            "recovery_s": round(recovery, 3),
            "sweep_alone_s": round(sweeps[-1], 4),
            "restored_bytes": round((after - before) / number, 1),
        }
    )


def _done(text: str) -> float:
    return sum(metric(text, "ebb_events_total", result=result) for result in ("accepted", "late"))


def _own_memory(worker: parts.ManagedProcess) -> int:
    """Return the private memory of a worker's process, bytes."""
    return int(process_of(worker).memory_full_info().uss)


def _check_deadline(deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        message = f"waited {PATIENCE_SECONDS:.0f} s in vain until {what}"
        raise SystemExit(message)


if __name__ == "__main__":
    main()

"""Events per second of Ebb's worker beside the same features and score in Faust, Quix Streams, Bytewax and Pathway.

`benchmarks._peers` describes what is computed and what Ebb does besides; `docs/benchmarks.md` the method and results.
All read the same log on the same broker, one after another, one process each, each framework in a virtual environment
of its own under `build/peers`. The clock runs from the end of the warm-up, without the start, until the broker has the
last result. The slower ones get a shorter log with the same beginning and end. Before a ratio counts, the judge
compares every customer's delivered features and score. If a framework cannot be installed, that is printed and its
ratio is null.
"""

import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks._load import offer
from benchmarks._peers import environments, judge, ours, running
from benchmarks._peers.log import CUSTOMERS, HISTORY_RECORDS, Log, Source
from benchmarks._peers.meter import Task
from clickhouse.migrations import migrate
from ebb.errors import EbbError, SetupError
from ebb.kafka.admin import create_topics
from ebb.settings import Settings
from ebb_cli.local.system import services
from producers.activity_producer import ActivityProducer

EVENTS = int(os.environ.get("BENCH_EVENTS", "2400000"))
"""Records of the longest log, on which Ebb is timed."""
PARTS = {"faust": 12, "quix": 4, "bytewax": 1, "pathway": 1}
"""Divisor of that log's length for each, so that each runs for some 10 to 20 s."""
LEAST = 2 * (CUSTOMERS + HISTORY_RECORDS)
"""Records of the shortest log: its beginning and end, and as many between them."""
SELECTED = os.environ.get("BENCH_PEERS", ",".join(PARTS)).split(",")
ENVIRONMENTS = Path("build/peers")


@dataclass(frozen=True)
class Topic:
    """A filled topic and the expected results."""

    settings: Settings
    log: Log
    expected: dict[str, dict[str, float]]


def main() -> None:
    """Measure and print."""
    if unknown := sorted(set(SELECTED) - PARTS.keys()):
        sys.exit(f"BENCH_PEERS names {', '.join(unknown)}; there are {', '.join(PARTS)}.")
    least = max(PARTS[peer] for peer in SELECTED) * LEAST
    if least > EVENTS:
        sys.exit(f"BENCH_EVENTS is {EVENTS}; the shortest log takes {least}.")
    pythons = {peer: python for peer in SELECTED if (python := _python(peer)) is not None}
    end = time.time() // 3600 * 3600 - 1800  # never at midnight, where a day's features would be ambiguous
    print(f"Generating a log of {EVENTS:,} records …", flush=True)
    with tempfile.TemporaryDirectory() as home, services(Settings(home=Path(home))) as base:
        source = Source(EVENTS, seed=1, end=end)
        topics = {part: _filled(base, part, source) for part in sorted({1, *(PARTS[peer] for peer in pythons)})}
        ebb = {part: _ours(topic, end) for part, topic in topics.items()}[1].events_per_s
        ratios = {peer: _ratio(ebb, peer, python, topics[PARTS[peer]]) for peer, python in pythons.items()}
    print(json.dumps({f"ratio_{peer}": ratios.get(peer) for peer in PARTS}))


def _python(peer: str) -> Path | None:
    try:
        return environments.python_of(peer, ENVIRONMENTS.absolute())
    except SetupError as error:
        print(f"{error} Its ratio is left out.")
        return None


def _filled(base: Settings, part: int, source: Source) -> Topic:
    settings = base.model_copy(update={"namespace": f"peers_{part}", "idle_after_seconds": 0.0})
    log = source.log(EVENTS // part)
    create_topics(settings)
    migrate(settings)
    with ActivityProducer(settings, source="load", linger_ms=50) as producer:
        offer(producer, log.records)
    return Topic(settings, log, judge.expected(log.records))


def _ours(topic: Topic, end: float) -> ours.OurRun:
    records = len(topic.log.records)
    run = ours.run(topic.settings, records=records, warm_up=topic.log.warm_up, customers=len(topic.expected), end=end)
    _require_equal("ebb", judge.differences(run.results, topic.expected, single=True))
    _print_run("ebb", topic, run)
    return run


def _ratio(ebb: float, peer: str, python: Path, topic: Topic) -> float | None:
    """Run a peer; return the events per second of Ebb divided by its."""
    task = Task(
        name=peer,
        bootstrap=topic.settings.kafka_bootstrap,
        topic=topic.settings.topics.activity,
        partitions=topic.settings.partitions,
        records=len(topic.log.records),
        warm_up=topic.log.warm_up,
        results="",
        folder="",
    )
    try:
        run = running.run(peer, python, task)
    except EbbError as error:
        print(f"{error} Its ratio is left out.", flush=True)
        return None
    _require_equal(peer, judge.differences(run.results, topic.expected))
    ratio = ebb / run.events_per_s
    _print_run(peer, topic, run, f", {run.delivered:,} results delivered; ebb is {ratio:.1f} x")
    return round(ratio, 2)


def _require_equal(name: str, differences: list[str]) -> None:
    """Exit if there are differences: a ratio between different results means nothing."""
    if differences:
        print(f"{name} differs from the judge in {len(differences)} numbers: {' '.join(differences[:5])}")
        sys.exit(1)


def _print_run(name: str, topic: Topic, run: running.Run | ours.OurRun, more: str = "") -> None:
    print(
        f"{name:8} {run.events_per_s:>10,.0f} events/s   {len(topic.log.records):>9,} records in {run.seconds:>5.1f} s,"
        f" {run.cpu_seconds:>5.1f} s of CPU; {len(run.results):,} customers as the judge has them{more}",
        flush=True,
    )


if __name__ == "__main__":
    main()

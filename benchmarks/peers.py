"""Events per second of Ebb's worker beside the same features and score in Faust, Quix Streams, Bytewax and Pathway.

What is computed, and what Ebb does besides, is told in `benchmarks._peers`; method and reading in `docs/benchmarks.md`.
All read the same log on the same broker, one after another, one process each, each framework in an environment of its
own under `build/peers`. The clock runs from the end of the warm-up to the last record, start-up left out. The slower
ones get a shorter log with the same beginning and end. Before a ratio counts, the judge compares every customer's
features and score. A framework that cannot be installed is told of, and its ratio is null.
"""

import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks._peers import environments, judge, ours, running
from benchmarks._peers.log import Log, Source
from benchmarks._peers.meter import Task
from clickhouse.migrations import migrate
from ebb.errors import EbbError, SetupError
from ebb.runtime.services import services
from ebb.settings import Settings
from ebb.topics import create_topics
from producers.load import offer
from producers.producing import ActivityProducer

EVENTS = int(os.environ.get("BENCH_EVENTS", "1200000"))
"""Records of the longest log, which Ebb is timed on."""
PARTS = {"faust": 12, "quix": 4, "bytewax": 1, "pathway": 1}
"""What part of that log each gets, so that each runs for some 10 to 20 s."""
WANTED = os.environ.get("BENCH_PEERS", ",".join(PARTS)).split(",")
ENVIRONMENTS = Path("build/peers")


@dataclass(frozen=True)
class Topic:
    """A filled topic and the truth about it."""

    settings: Settings
    log: Log
    truth: dict[str, dict[str, float]]


def main() -> None:
    """Measure and print."""
    pythons = {peer: python for peer in WANTED if (python := _python(peer)) is not None}
    end = time.time() // 3600 * 3600 - 1800  # never a midnight, where a day's features would have two moments
    source = Source(EVENTS, seed=1, end=end)
    with tempfile.TemporaryDirectory() as home, services(Settings(home=Path(home))) as base:
        topics = {part: _filled(base, part, source) for part in sorted({1, *(PARTS[peer] for peer in pythons)})}
        ebb = {part: _ours(topic, end) for part, topic in topics.items()}
        runs = {peer: _peer(peer, python, topics[PARTS[peer]]) for peer, python in pythons.items()}
    whole = ebb[1]
    _line("ebb", EVENTS, whole, "")
    for peer, run in runs.items():
        ratio = f"   ebb is {whole.events_per_s / run.events_per_s:.1f} x" if run else ""
        if run:
            _line(peer, EVENTS // PARTS[peer], run, ratio)
    ratios = {f"ratio_{peer}": None for peer in PARTS} | {
        f"ratio_{peer}": round(whole.events_per_s / run.events_per_s, 2) for peer, run in runs.items() if run
    }
    print(json.dumps(ratios))


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
    run = ours.run(topic.settings, records=records, warm_up=topic.log.warm_up, customers=len(topic.truth), end=end)
    _accept("ebb", judge.differences_of_ours(run.results, topic.truth))
    return run


def _peer(peer: str, python: Path, topic: Topic) -> running.Run | None:
    task = Task(
        name=peer,
        bootstrap=topic.settings.kafka_bootstrap,
        topic=topic.settings.topics.activity,
        partitions=topic.settings.partitions,
        records=len(topic.log.records),
        warm_up=topic.log.warm_up,
        folder="",
    )
    try:
        run = running.run(peer, python, task)
    except EbbError as error:
        print(f"{error} Its ratio is left out.")
        return None
    _accept(peer, judge.differences(run.results, topic.truth))
    return run


def _accept(name: str, differences: list[str]) -> None:
    """A ratio between different results says nothing."""
    if differences:
        print(f"{name} differs in {len(differences)} numbers: {' '.join(differences[:5])}")
        sys.exit(1)
    print(f"{name}: all features and scores are equal to the judge's.", flush=True)


def _line(name: str, records: int, run: running.Run | ours.OurRun, more: str) -> None:
    print(
        f"{name:8} {run.events_per_s:>10,.0f} events/s   {records:>9,} records   {run.seconds:>5.1f} s"
        f"   {run.cpu_seconds:>5.1f} s of CPU{more}"
    )


if __name__ == "__main__":
    main()

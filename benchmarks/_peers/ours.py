"""Ebb on the same topic: its real worker process, with all features enabled."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import psutil
from confluent_kafka import Consumer

from benchmarks._figures import processed
from benchmarks._peers.definition import FEATURES
from benchmarks._peers.delivered import QUIET_SECONDS, ends
from benchmarks._peers.judge import Described
from benchmarks._peers.running import cpu_seconds
from clickhouse.client import connect
from ebb.errors import EbbError
from ebb.kafka.config import client_config
from ebb.settings import Settings
from ebb_cli.local import parts
from ebb_cli.local.supervisor import Supervisor
from ebb_cli.local.system import ignore
from online_ml.scoring.cold_start import cold_start

POLL_SECONDS = 0.1
"""Between two requests for the metrics, each of which takes a worker some milliseconds."""
DURABLE_SECONDS = 120.0
"""Limit for the last features to reach ClickHouse; not part of any figure."""


@dataclass(frozen=True)
class OurRun:
    """Figures and results of a run of Ebb."""

    events_per_s: float
    seconds: float
    cpu_seconds: float
    results: dict[str, Described]
    """Features from ClickHouse, and the score that Ebb's own scorer computes from them."""


def run(settings: Settings, *, records: int, warm_up: int, customers: int, end: float) -> OurRun:
    """Start a worker on a filled topic, measure it as the peers measure themselves, read its features, stop it.

    Parameters
    ----------
    end
        Unix time of the topic's last events, the time of the features.

    Raises
    ------
    EbbError
        If the features do not arrive in ClickHouse.
    """
    part = parts.worker(settings)
    with Supervisor([part], logs=settings.home / "logs", report=ignore):
        process = _process(part)
        began: tuple[float, float, float] | None = None
        while True:
            done, wall, cpu = processed(part), time.perf_counter(), cpu_seconds(process)
            if began is None and done >= warm_up:
                began = (done, wall, cpu)
            if began is not None and done >= records:
                break
            time.sleep(POLL_SECONDS)
        wall, cpu = _last_score(settings, process, wall, cpu)
        seconds = wall - began[1]
        results = _features(settings, customers=customers, end=end)
    return OurRun((done - began[0]) / seconds, seconds, cpu - began[2], results)


def _last_score(settings: Settings, process: psutil.Process, wall: float, cpu: float) -> tuple[float, float]:
    """Return when the broker had the last score, and the worker's CPU seconds then; at least the given ones."""
    topic = settings.topics.scores
    consumer = Consumer(client_config(settings, group_id="bench-scores"))
    try:
        latest = ends(consumer, topic, range(settings.partitions))
        changed_at = time.perf_counter()
        while time.perf_counter() < changed_at + QUIET_SECONDS:
            time.sleep(POLL_SECONDS)
            if (now := ends(consumer, topic, range(settings.partitions))) != latest:
                latest, wall, cpu = now, time.perf_counter(), cpu_seconds(process)
                changed_at = wall
        return wall, cpu
    finally:
        consumer.close()


def _process(part: parts.ManagedProcess) -> psutil.Process:
    command = list(part.command)
    return next(child for child in psutil.Process().children(recursive=True) if child.cmdline() == command)


def _features(settings: Settings, *, customers: int, end: float) -> dict[str, Described]:
    names = ", ".join(FEATURES)
    query = f"SELECT customer_id, {names} FROM features FINAL WHERE as_of = fromUnixTimestamp64Milli({{end:Int64}})"  # noqa: S608
    client = connect(settings)
    try:
        deadline = time.monotonic() + DURABLE_SECONDS
        while time.monotonic() < deadline:
            rows = client.query(query, parameters={"end": int(end * 1000)}).result_rows
            if len(rows) >= customers:
                return scored(settings, {row[0]: row[1:] for row in rows})
            time.sleep(0.5)
    finally:
        client.close()
    what = f"ClickHouse holds the features of {len(rows)} customers at the log's end, not of {customers}."
    raise EbbError(what, "Read the worker's log; a benchmark on a machine this busy is meaningless.")


def scored(settings: Settings, features: Mapping[str, Sequence[float]]) -> dict[str, Described]:
    """Add to features, in the order of the catalogue, Ebb's score before a label has matured.

    A worker publishes that score when it has changed by `EBB_PUBLISH_CHANGE`, so the one on its topic may differ by as
    much.
    """
    matrix = np.array(list(features.values()), np.float32)
    scores = cold_start("churn", settings).predict(matrix).tolist()
    return {customer: (vector, score) for (customer, vector), score in zip(features.items(), scores, strict=True)}

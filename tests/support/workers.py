"""How far workers are, by their metrics and by what they have saved."""

import re
from typing import Any

import httpx

from ebb.settings import Settings
from ebb_cli.local import parts
from stream_processors.checkpoint import restore
from tests.support.flow import wait_for


def hurried(space: Settings, **more: Any) -> Settings:
    """Return a namespace whose time is moved by its records alone, with short intervals, horizons and sessions."""
    quick = {
        "idle_after_seconds": 0.0,
        "checkpoint_seconds": 0.2,
        "horizon_days": 3,
        "purchase_horizon_days": 2,
        "session_seconds": 6.0,  # the shortest: after each kill the group waits for as long
    }
    return space.model_copy(update=quick | more)


def metric(worker: parts.ManagedProcess, sample: str) -> float:
    """Return the value of a sample, written as the worker shows it; 0 while it does not."""
    text = httpx.get(parts.metrics_url(worker), trust_env=False, timeout=30).text
    found = re.search(rf"^{re.escape(sample)} (\S+)", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def accepted(worker: parts.ManagedProcess) -> int:
    """Return how many events a worker has processed since it started."""
    return int(metric(worker, 'ebb_events_total{result="accepted"}'))


def working(*workers: parts.ManagedProcess) -> None:
    """Wait until each worker has processed an event since it started: ready, it may have no partition yet."""
    for worker in workers:
        wait_for(f"events processed by {worker.name}", lambda worker=worker: accepted(worker) > 0)  # type: ignore[misc]


def saved(settings: Settings) -> int:
    """Return how many records the checkpoints of all partitions include."""
    return sum(restore(settings, number)[0].offset + 1 for number in range(settings.partitions))

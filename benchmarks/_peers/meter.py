"""A peer's task, and its report of when the clock started and that all is processed. Standard library alone."""

import gc
import json
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

GARBAGE = (200_000, 50, 50)
"""Thresholds of the garbage collector's three generations."""


@dataclass(frozen=True)
class Task:
    """Task of a peer, passed in the environment variable `BENCH_TASK`."""

    name: str
    """Consumer group or application name; unique to a run."""
    bootstrap: str
    topic: str
    results: str
    """Topic of the results, keyed by customer; it exists, with as many partitions as the other."""
    partitions: int
    records: int
    """Records on the topic; the peer reports when it has processed them all."""
    warm_up: int
    """Records after which the clock starts."""
    folder: str
    """Empty folder for the peer's state and, at the end, `measured.json`."""

    @classmethod
    def read(cls) -> "Task":
        """Return the task of this process, and make garbage collections rare.

        State is hundreds of thousands of long-lived objects: with Python's default thresholds, traversing them halved
        Bytewax's throughput.
        """
        gc.set_threshold(*GARBAGE)
        return cls(**json.loads(os.environ["BENCH_TASK"]))


class Meter:
    """Records when the warm-up ended, and writes `measured.json` when the last record is processed.

    The clock stops when the broker has the last result; results still on their way do not count as done.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._began: dict[str, float] = {}
        self.processed = 0

    def add(self, records: int) -> None:
        """Count records as processed: their results, if any, were passed to the framework."""
        self.processed += records
        if not self._began:
            if self.processed >= self._task.warm_up:
                self._began = {"processed": self.processed, "at": time.time(), "cpu_seconds": cpu_seconds()}
        elif self.processed >= self._task.records:
            folder = Path(self._task.folder)
            whole = folder / "measured.part"
            whole.write_text(json.dumps(self._began))
            whole.rename(folder / "measured.json")


def cpu_seconds() -> float:
    """Return the CPU seconds of all threads of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime

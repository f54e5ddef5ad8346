"""How a peer is told what to do, and tells when its clock began and that all is done. Standard library alone."""

import gc
import json
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

GARBAGE = (200_000, 50, 50)
"""Objects made before a collection, and collections of one generation before one of the next."""


@dataclass(frozen=True)
class Task:
    """What a peer is to do, as it stands in the environment variable `BENCH_TASK`."""

    name: str
    """Consumer group, or whatever the framework calls itself; of one run alone."""
    bootstrap: str
    topic: str
    results: str
    """Topic to which every description goes, keyed by customer; it exists, with as many partitions as the other."""
    partitions: int
    records: int
    """Records on the topic; the peer says so when it has processed them all."""
    warm_up: int
    """Records after which the clock starts."""
    folder: str
    """Empty folder of the peer's own: state, and `measured.json` at the end."""

    @classmethod
    def read(cls) -> "Task":
        """Read the task that this process was started for, and let it collect garbage seldom.

        State is hundreds of thousands of objects that live on: going through them as often as Python does by itself
        halved Bytewax's throughput.
        """
        gc.set_threshold(*GARBAGE)
        return cls(**json.loads(os.environ["BENCH_TASK"]))


class Meter:
    """Notes when the warm-up has ended, and says so when the last record is processed.

    The clock is stopped by the broker, when it has the last result: what is on its way to it is not yet done.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._began: dict[str, float] = {}
        self.processed = 0

    def add(self, records: int) -> None:
        """Count records as processed: the framework has their results, or there are none."""
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
    """Return the processor time of all threads of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime

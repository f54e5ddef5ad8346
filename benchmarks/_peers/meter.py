"""How a peer is told what to do, keeps time, and hands over its results. Standard library alone."""

import gc
import json
import os
import resource
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GARBAGE = (200_000, 50, 50)
"""Objects made before a collection, and collections of one generation before one of the next."""


@dataclass(frozen=True)
class Task:
    """What a peer is to do, as it stands in the environment variable `BENCH_TASK`."""

    name: str
    """Consumer group, or whatever the framework calls itself; of one run alone."""
    bootstrap: str
    topic: str
    partitions: int
    records: int
    """Records on the topic; the peer hands over its results when it has processed them all."""
    warm_up: int
    """Records after which the clock starts."""
    folder: str
    """Empty folder of the peer's own: state, and `results.jsonl` and `measured.json` at the end."""

    @classmethod
    def read(cls) -> "Task":
        """Read the task that this process was started for, and let it collect garbage seldom.

        State is hundreds of thousands of objects that live on: going through them as often as Python does by itself
        halved Bytewax's throughput.
        """
        gc.set_threshold(*GARBAGE)
        return cls(**json.loads(os.environ["BENCH_TASK"]))


class Meter:
    """Keeps time from the end of the warm-up to the last record."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._began: tuple[int, float, float] | None = None
        self.measured: dict[str, float] = {}
        self.processed = 0
        self.done = False
        """Whether the last record was processed just now: time to hand over."""

    def add(self, records: int) -> None:
        """Count records as processed: their results stand."""
        self.processed += records
        self.done = False
        if self._began is None:
            if self.processed >= self._task.warm_up:
                self._began = (self.processed, time.perf_counter(), cpu_seconds())
        elif self.processed >= self._task.records and not self.measured:
            self.done = True
            counted, wall, cpu = self._began
            seconds = time.perf_counter() - wall
            self.measured = {
                "events_per_s": (self.processed - counted) / seconds,
                "seconds": seconds,
                "cpu_seconds": cpu_seconds() - cpu,
            }

    def hand_over(self, results: Iterable[tuple[str, list[Any], float]]) -> None:
        """Write the last result of each customer: id, features, score.

        The measurements are written last: they are the sign that all is there.
        """
        folder = Path(self._task.folder)
        with (folder / "results.jsonl").open("w") as file:
            for customer_id, features, score in results:
                file.write(json.dumps([customer_id, features, score]) + "\n")
        whole = folder / "measured.part"
        whole.write_text(json.dumps(self.measured))
        whole.rename(folder / "measured.json")


def cpu_seconds() -> float:
    """Return the processor time of all threads of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime

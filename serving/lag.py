"""Consumer lag in events and seconds, from offsets alone."""

from collections import deque
from dataclasses import dataclass

KEPT_SECONDS = 900.0
"""How far back samples are held; a lag that is older is told as at least this."""


@dataclass(frozen=True)
class PartitionLag:
    """How far the workers are behind in one partition.

    The workers commit after a checkpoint, so a worker that keeps up still shows the records of one interval.
    """

    partition: int
    end: int
    committed: int
    """Offset up to which effects are durable; the beginning of the partition if nothing was committed."""
    events: int
    seconds: float
    """Age of the oldest record not yet committed, to within the sampling interval."""


class LagMeter:
    """Derives lag in seconds from samples of end offsets: a record is as old as the first sample that held it."""

    def __init__(self) -> None:
        self._ends: dict[int, deque[tuple[float, int]]] = {}
        self._commits: dict[int, deque[tuple[float, int]]] = {}

    def observe(self, now: float, partition: int, end: int, committed: int) -> PartitionLag:
        """Take a sample and return the lag.

        Parameters
        ----------
        now
            Monotonic seconds.
        end
            Offset that the next record will get.
        committed
            Offset that the group has committed.
        """
        ends = self._ends.setdefault(partition, deque())
        commits = self._commits.setdefault(partition, deque())
        ends.append((now, end))
        commits.append((now, committed))
        for samples in (ends, commits):
            while samples[0][0] < now - KEPT_SECONDS:
                samples.popleft()
        events = max(0, end - committed)
        seconds = 0.0
        if events:
            first = next((when for when, offset in ends if offset > committed), now)
            seconds = now - first
        return PartitionLag(partition, end, committed, events, seconds)

    def produced_per_second(self, window: float = 10.0) -> float:
        """Return events written to the topic per second over the last samples."""
        return sum(_rate(samples, window) for samples in self._ends.values())

    def processed_per_second(self, window: float = 10.0) -> float:
        """Return events committed by the workers per second over the last samples."""
        return sum(_rate(samples, window) for samples in self._commits.values())


def _rate(samples: deque[tuple[float, int]], window: float) -> float:
    last_at, last = samples[-1]
    recent = [sample for sample in samples if sample[0] >= last_at - window]
    first_at, first = recent[0]
    return max(0.0, (last - first) / (last_at - first_at)) if last_at > first_at else 0.0

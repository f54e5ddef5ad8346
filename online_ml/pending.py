"""Predictions that wait for their label: made once at the snapshot, kept until its longest horizon has passed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ebb.blocks import Snapshot
from ebb.models import Target


@dataclass(frozen=True, eq=False)
class Pending:
    """One snapshot chunk with what every candidate said of it. Never changed once made."""

    snapshot: Snapshot
    logits: dict[Target, npt.NDArray[np.float32]]
    """By target, shape (candidates, rows): uncalibrated."""
    probabilities: dict[Target, npt.NDArray[np.float32]]
    """By target, shape (candidates + 1, rows): calibrated; the last row is what the worker's champion said."""

    @property
    def key(self) -> tuple[int, int, int]:
        """Boundary, partition and chunk."""
        return self.snapshot.boundary, self.snapshot.partition, self.snapshot.chunk


class PendingStore:
    """All snapshot chunks that still have a label to come."""

    def __init__(self) -> None:
        self._chunks: dict[tuple[int, int, int], Pending] = {}

    def add(self, chunk: Pending) -> None:
        """Keep a chunk."""
        self._chunks[chunk.key] = chunk

    def of(self, boundary: int, partition: int) -> list[Pending]:
        """Return the chunks of a partition's snapshot in the order of its rows."""
        return [self._chunks[key] for key in sorted(self._chunks) if key[:2] == (boundary, partition)]

    def drop_until(self, boundary: int) -> None:
        """Let go of snapshots taken at or before a boundary."""
        for key in [key for key in self._chunks if key[0] <= boundary]:
            del self._chunks[key]

    def rows_after(self, boundary: int) -> int:
        """Return how many rows belong to snapshots taken after a boundary."""
        return sum(len(chunk.snapshot.customer_ids) for key, chunk in self._chunks.items() if key[0] > boundary)

    def __iter__(self) -> Iterator[Pending]:
        return iter(self._chunks[key] for key in sorted(self._chunks))

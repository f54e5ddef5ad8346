"""Predictions that wait for their labels: made once at the snapshot, kept until all have come."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ebb.contracts.examples import Snapshot, Withdraw
from ebb.contracts.models import TARGETS, Target


@dataclass(frozen=True, eq=False)
class Pending:
    """One snapshot chunk with every candidate's predictions. Immutable."""

    snapshot: Snapshot
    logits: dict[Target, npt.NDArray[np.float32]]
    """By target, shape (candidates, rows): uncalibrated."""
    probabilities: dict[Target, npt.NDArray[np.float32]]
    """By target, shape (candidates + 1, rows): calibrated; the last row is the worker's champion."""
    withdrawn: int = 0
    """How often rows of it were withdrawn: a chunk with fewer rows known is another one."""

    @property
    def key(self) -> tuple[int, int, int]:
        """Boundary, partition and chunk."""
        return self.snapshot.boundary, self.snapshot.partition, self.snapshot.chunk


class PendingStore:
    """All snapshot chunks that still have a label to come."""

    def __init__(self) -> None:
        self._chunks: dict[tuple[int, int, int], Pending] = {}
        self.labelled: dict[tuple[Target, int], int] = {}
        """By target and partition, the newest snapshot whose labels have come; they come in order."""

    def add(self, chunk: Pending) -> None:
        """Keep a chunk."""
        self._chunks[chunk.key] = chunk

    def of(self, boundary: int, partition: int) -> list[Pending]:
        """Return the chunks of a partition's snapshot in the order of its rows."""
        return [self._chunks[key] for key in sorted(self._chunks) if key[:2] == (boundary, partition)]

    def withdraw(self, block: Withdraw) -> int:
        """Drop ids and features of some rows; return how many rows that were.

        The rows stay, nameless and empty, so that the others keep their places; their labels come as `WITHDRAWN`.
        """
        found = 0
        for boundary in np.unique(block.snapshots).tolist():
            left = block.places[block.snapshots == boundary]
            for chunk in self.of(boundary, block.partition):
                rows = len(chunk.snapshot.customer_ids)
                here, left = left[left < rows], left[left >= rows] - rows
                if len(here):
                    self.add(_without(chunk, here.tolist()))
                    found += len(here)
        return found

    def label(self, target: Target, partition: int, boundary: int) -> None:
        """Note that the labels of a partition's snapshot have come."""
        self.labelled[target, partition] = max(boundary, self._newest(target, partition))

    def drop(self, until: int) -> None:
        """Drop snapshots that have all their labels, and those taken at or before a boundary, which get none."""
        for key in list(self._chunks):
            if key[0] <= max(until, min(self._newest(target, key[1]) for target in TARGETS)):
                del self._chunks[key]

    def rows_waiting(self, target: Target) -> int:
        """Return how many rows have no label of a target yet."""
        return sum(
            len(chunk.snapshot.customer_ids)
            for (boundary, partition, _), chunk in self._chunks.items()
            if boundary > self._newest(target, partition)
        )

    def _newest(self, target: Target, partition: int) -> int:
        return self.labelled.get((target, partition), -1)

    def __iter__(self) -> Iterator[Pending]:
        return iter(self._chunks[key] for key in sorted(self._chunks))


def _without(chunk: Pending, rows: list[int]) -> Pending:
    """Return a chunk of which some rows hold nothing."""
    snapshot = chunk.snapshot
    gone = np.zeros(len(snapshot.customer_ids), np.bool_)
    gone[rows] = True

    def blank(array: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
        cleared = array.copy()
        cleared[(slice(None),) * axis + (rows,)] = 0
        return cleared

    def without(texts: pa.StringArray, filler: str | None) -> pa.StringArray:
        return pc.if_else(pa.array(gone), pa.scalar(filler, pa.utf8()), texts)

    cleared = replace(
        snapshot,
        customer_ids=without(snapshot.customer_ids, ""),
        countries=without(snapshot.countries, None),
        channels=without(snapshot.channels, None),
        features=blank(snapshot.features, 0),
        served_churn=blank(snapshot.served_churn, 0),
        served_purchase=blank(snapshot.served_purchase, 0),
        arms={target: without(arms, "") for target, arms in snapshot.arms.items()},
    )
    logits = {target: blank(array, 1) for target, array in chunk.logits.items()}
    probabilities = {target: blank(array, 1) for target, array in chunk.probabilities.items()}
    return Pending(cleared, logits, probabilities, chunk.withdrawn + 1)

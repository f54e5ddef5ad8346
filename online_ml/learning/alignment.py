"""Align partitions: a boundary is learned when every partition has closed it.

What is learned must not depend on which partition's blocks happen to arrive first. So blocks are held until
all partitions have closed their boundary, then returned by boundary and partition. Sources of time send ticks to every
partition, so that a partition without customers closes its boundaries too.
"""

from dataclasses import dataclass, field

from ebb.contracts.examples import Block, Close, Labels, Snapshot, Withdraw

AHEAD = 2
"""Boundaries that a partition may always be ahead of the others."""


@dataclass
class BoundaryBlocks:
    """What one partition wrote for one boundary."""

    partition: int
    boundary: int
    labels: dict[tuple[str, int], Labels] = field(default_factory=dict)
    """By target and boundary of the snapshot."""
    snapshots: dict[int, Snapshot] = field(default_factory=dict)
    """By chunk."""
    withdrawn: dict[str, Withdraw] = field(default_factory=dict)
    """By erasure."""
    close: Close | None = None
    offset: int = -1
    """Offset of the closing."""

    @property
    def complete(self) -> bool:
        """True if all the blocks that the closing counts are there."""
        close = self.close
        return close is not None and (close.chunks, close.labels) == (len(self.snapshots), len(self.labels))


class BoundaryAligner:
    """Blocks that wait for the other partitions, and how far each partition is.

    Parameters
    ----------
    partitions
        Partitions that must close a boundary before it is learned.
    """

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.closed: dict[int, int] = {}
        """By partition, the last boundary that it closed."""
        self.taken: dict[int, int] = {}
        """By partition, the last boundary that `take` returned."""
        self.offsets: dict[int, int] = {}
        """By partition, the offset up to which (itself included) `take` has returned everything."""
        self.duplicates = 0
        self.rows_waiting = 0
        """Rows of snapshots and labels that are held for boundaries not taken yet."""
        self._waiting: dict[int, dict[int, BoundaryBlocks]] = {number: {} for number in range(partitions)}

    def add(self, block: Block, offset: int) -> bool:
        """Take in a block; return False if it is a duplicate (its boundary is closed, or it is there already)."""
        number = block.partition
        if block.boundary <= self.closed.get(number, -1) or offset <= self.offsets.get(number, -1):
            self.duplicates += 1
            return False
        waiting = self._waiting.setdefault(number, {})
        bundle = waiting.setdefault(block.boundary, BoundaryBlocks(number, block.boundary))
        match block:
            case Snapshot():
                # A worker that crashed midway writes the boundary again; what it wrote first is what was served.
                fresh = block.chunk not in bundle.snapshots
                bundle.snapshots.setdefault(block.chunk, block)
                self.rows_waiting += len(block.customer_ids) if fresh else 0
            case Labels():
                key = (block.target, block.snapshot_boundary)
                fresh = key not in bundle.labels
                bundle.labels.setdefault(key, block)
                self.rows_waiting += len(block.labels) if fresh else 0
            case Withdraw():
                fresh = block.erasure_id not in bundle.withdrawn
                bundle.withdrawn.setdefault(block.erasure_id, block)
            case Close():
                bundle.close, bundle.offset = block, offset
                self.closed[number] = block.boundary
                fresh = True
        self.duplicates += not fresh
        return fresh

    def next_complete(self) -> int | None:
        """Return the earliest boundary with blocks that all partitions have closed, or None."""
        if len(self.closed) < self.partitions:
            return None
        until = min(self.closed[number] for number in range(self.partitions))
        due = [day for bundles in self._waiting.values() for day in bundles if day <= until]
        return min(due) if due else None

    def take(self, boundary: int) -> list[BoundaryBlocks]:
        """Return what was written for a boundary, by partition, and release it."""
        bundles = []
        for number in sorted(self._waiting):
            bundle = self._waiting[number].pop(boundary, None)
            if bundle is not None:
                bundles.append(bundle)
                self.rows_waiting -= sum(len(one.customer_ids) for one in bundle.snapshots.values())
                self.rows_waiting -= sum(len(one.labels) for one in bundle.labels.values())
                self.taken[number] = boundary
                self.offsets[number] = max(self.offsets.get(number, -1), bundle.offset)
        return bundles

    def too_far_ahead(self, limit: int) -> set[int]:
        """Return the partitions that are not to be read further at present.

        Those that have closed `AHEAD` boundaries or more beyond what could be taken, while more than `limit` rows wait.
        The slowest partition is never among them: what it closes can be taken.
        """
        if self.rows_waiting <= limit:
            return set()
        closed = {number: sum(one.close is not None for one in own.values()) for number, own in self._waiting.items()}
        return {number for number, boundaries in closed.items() if boundaries >= AHEAD}

    def waiting_for(self) -> list[int]:
        """Return the partitions that hold back blocks of others, those furthest behind first."""
        ahead = [day for bundles in self._waiting.values() for day, bundle in bundles.items() if bundle.close]
        if not ahead:
            return []
        behind = [number for number in range(self.partitions) if self.closed.get(number, -1) < min(ahead)]
        return sorted(behind, key=lambda number: (self.closed.get(number, -1), number))

"""A bounded memory of event ids, so that an event sent twice counts once."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stream_processors.native.compile import native
from stream_processors.native.secret import home_slots
from stream_processors.types import Flags, Hashes, Int32Array, Int64Array

STEP = 32_768
"""Events admitted between two checks of whether the slots are full."""
LEAST_SLOTS = 1_024
FULLEST, FULLNESS = 0.7, 0.5
"""Share of used slots above which they are rebuilt, and at most after that."""


class DuplicateWindow:
    """Remembers the hashes of the last `size` accepted events of a partition that came within the last `days`.

    Each event remembered has a number, counted from 0, and is stored at index number % size of `ring`, which is
    what checkpoints keep. A hash is looked up by open addressing, from a slot that a secret decides (`home_slots`):
    `_slots` hold index + 1, or 0; an index that another event has overwritten since is skipped.

    Parameters
    ----------
    size
        Events remembered; 0 remembers none, and nothing is a duplicate.
    days
        Days of event time after whose end an event is forgotten.
    """

    def __init__(self, size: int, days: int) -> None:
        self.size = size
        self.days = days
        self.ring: Hashes = np.zeros(size, np.uint64)
        self.seen = 0
        """Events remembered so far; the next goes to index `seen % size`."""
        self.begun: list[tuple[int, int]] = []
        """The days that count, as (day, events remembered before its first record), in order."""
        self._slots: Int32Array = np.zeros(LEAST_SLOTS, np.int32)
        self._used = 0
        """Slots that are not 0, at most."""

    def restore(self, ring: Hashes, seen: int, begun: list[tuple[int, int]]) -> None:
        """Load a checkpointed window; one of another size keeps the newest events that fit."""
        kept = min(seen, len(ring), self.size)
        numbers = np.arange(seen - kept, seen)
        if kept:
            self.ring[numbers % self.size] = ring[numbers % len(ring)]
        self.seen = seen
        self.begun = begun
        self._make_slots(kept, kept)

    def admit(self, hashes: Hashes, days: Int64Array) -> Flags:
        """Return which events are new, and remember those.

        Parameters
        ----------
        hashes
            Shape (n,), in offset order; a hash that comes twice in one call is new once.
        days
            Shape (n,), never falling: the newest day of event time when each event came.

        Returns
        -------
        array of bool, shape (n,)
        """
        fresh = np.ones(len(hashes), np.bool_)
        if not self.size or not len(hashes):
            return fresh
        cuts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(hashes)]
        for start, stop in pairwise(cuts):
            self._begin(int(days[start]))
            for first in range(start, stop, STEP):
                part = slice(first, min(first + STEP, stop))
                self._admit(hashes[part], fresh[part])
        return fresh

    def _begin(self, day: int) -> None:
        if self.begun and day <= self.begun[-1][0]:
            return
        self.begun.append((day, self.seen))
        # The day before all that count marks where they begin.
        while len(self.begun) > 1 and self.begun[1][0] <= day - self.days:
            del self.begun[0]

    def _oldest(self) -> int:
        """Return the number of the oldest event that the days still cover."""
        day, _ = self.begun[-1]
        return next((seen for begun, seen in self.begun if begun >= day - self.days), 0)

    def _admit(self, hashes: Hashes, fresh: Flags) -> None:
        if self._used + len(hashes) > FULLEST * len(self._slots):
            kept = min(self.seen, self.size)
            self._make_slots(kept, kept + len(hashes))
        before, homes = self.seen, home_slots(hashes, len(self._slots))
        self.seen = _admit(
            *(np.ascontiguousarray(hashes), homes, len(hashes), self._oldest(), before),
            *(self.ring, self.size, self._slots, len(self._slots), fresh.view(np.uint8)),
        )
        self._used += self.seen - before

    def _make_slots(self, kept: int, wanted: int) -> None:
        """Rebuild the slots for the newest events, with capacity for `wanted` in all."""
        count = max(LEAST_SLOTS, 1 << int(wanted / FULLNESS).bit_length())
        self._slots = np.zeros(count, np.int32)
        self._used = kept
        homes = home_slots(self.ring[: self.seen], count)
        _fill(self.seen - kept, self.seen, self.ring, self.size, homes, self._slots, count)


@native(np.uint64, np.int32, None, None, None, np.uint64, None, np.int32, None, np.uint8)
def _admit(  # noqa: PLR0917 - machine code is called by position
    hashes: Hashes,
    homes: Int32Array,
    count: int,
    oldest: int,
    seen: int,
    ring: Hashes,
    size: int,
    slots: Int32Array,
    slot_count: int,
    fresh: npt.NDArray[np.uint8],
) -> int:
    for number in range(count):
        value = hashes[number]
        slot = np.int64(homes[number])
        known = False
        while slots[slot] != 0 and not known:
            place = slots[slot] - 1
            newest = seen - 1 - (seen - 1 - place) % size  # of the numbers that were stored at that index
            known = ring[place] == value and newest >= oldest
            slot = (slot + 1) & (slot_count - 1)
        fresh[number] = not known
        if not known:
            place = seen % size
            ring[place] = value
            slots[slot] = place + 1
            seen += 1
    return seen


@native(None, None, np.uint64, None, np.int32, np.int32, None)
def _fill(  # noqa: PLR0917 - as above
    first: int, stop: int, ring: Hashes, size: int, homes: Int32Array, slots: Int32Array, slot_count: int
) -> int:
    for number in range(first, stop):
        place = number % size
        slot = np.int64(homes[place])
        # The newest of equal hashes is enough. A window that has grown holds many: zeros that no event has overwritten.
        while slots[slot] != 0 and ring[slots[slot] - 1] != ring[place]:
            slot = (slot + 1) & (slot_count - 1)
        slots[slot] = place + 1
    return stop

"""A bounded memory of event ids, so that an event sent twice counts once."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Run = tuple[Hashes, npt.NDArray[np.int64]]
"""Hashes, ascending, and the number of each."""
SMALL = 256
"""Up to so many events at once are looked up one by one."""
RECENT = 8_192
"""Hashes looked up in a dictionary before they become a run."""
RUNS = 6
"""Runs before they are made one: looking in each costs less than making one of them every time."""


class DuplicateWindow:
    """Remembers the hashes of the last `size` accepted events of a partition that came within the last `days`.

    Each event remembered has a number, counted from 0. What was remembered is found in three places: `ring`, by number,
    which is what checkpoints keep; the newest in a dictionary; the others in a few runs sorted by hash. The latter two
    may hold what is forgotten already: an event counts as known by its number, so the answer does not depend on when
    they were last tidied.

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
        """Events remembered ever; the next goes to place `seen % size`."""
        self.begun: list[tuple[int, int]] = []
        """The days that count, as (day, events remembered before its first record), in order."""
        self._recent: dict[int, int] = {}
        self._runs: list[Run] = []

    def restore(self, ring: Hashes, seen: int, begun: list[tuple[int, int]]) -> None:
        """Take over a checkpointed window; one of another size keeps the newest events that fit."""
        kept = min(seen, len(ring), self.size)
        numbers = np.arange(seen - kept, seen)
        if kept:
            hashes = ring[numbers % len(ring)]
            self.ring[numbers % self.size] = hashes
            self._sort_in(*_sorted(hashes, numbers))
        self.seen = seen
        self.begun = begun

    def admit(self, hashes: Hashes, days: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Say which events are new, and remember those.

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
            # Within a step no longer than the window, an event's first coming is remembered until its second.
            for first in range(start, stop, self.size):
                part = slice(first, min(first + self.size, stop))
                fresh[part] = self._admit(hashes[part])
        return fresh

    def _begin(self, day: int) -> None:
        if self.begun and day <= self.begun[-1][0]:
            return
        self.begun.append((day, self.seen))
        # The day before all that count says where they begin.
        while len(self.begun) > 1 and self.begun[1][0] <= day - self.days:
            del self.begun[0]

    def _oldest(self) -> int:
        """Number of the oldest event that the days still cover."""
        day, _ = self.begun[-1]
        return next((seen for begun, seen in self.begun if begun >= day - self.days), 0)

    def _admit(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        oldest = self._oldest()
        if len(hashes) > SMALL:
            unique, first = _firsts(hashes)
            numbers = self._numbers_of(unique)
            surely_known = numbers >= max(oldest, self.seen + len(unique) - self.size)
            surely_new = numbers < max(oldest, self.seen - self.size)
            if (surely_known | surely_new).all():
                fresh = np.zeros(len(hashes), np.bool_)
                new, came = unique[surely_new], first[surely_new]
                fresh[came] = True
                numbered = self.seen + (np.cumsum(fresh) - 1)[came]
                self.ring[numbered % self.size] = new
                self.seen += len(new)
                self._sort_in(new, numbered)
                return fresh
        return self._one_by_one(hashes, oldest)

    def _numbers_of(self, unique: Hashes) -> npt.NDArray[np.int64]:
        """Return the number of each hash, -1 where there is none; `unique` must be ascending."""
        numbers = np.full(len(unique), -1, np.int64)
        for hashes, numbered in self._runs:
            places = np.minimum(np.searchsorted(hashes, unique), len(hashes) - 1)
            found = hashes[places] == unique
            numbers[found] = numbered[places[found]]
        if self._recent:
            recent = self._recent
            newer = np.fromiter((recent.get(value, -1) for value in unique.tolist()), np.int64, len(unique))
            np.maximum(numbers, newer, out=numbers)
        return numbers

    def _one_by_one(self, hashes: Hashes, oldest: int) -> npt.NDArray[np.bool_]:
        unique = np.unique(hashes)
        numbers = dict(zip(unique.tolist(), self._numbers_of(unique).tolist(), strict=True))
        fresh = np.ones(len(hashes), np.bool_)
        for place, value in enumerate(hashes.tolist()):
            if numbers[value] >= max(oldest, self.seen - self.size):
                fresh[place] = False
                continue
            numbers[value] = self._recent[value] = self.seen
            self.ring[self.seen % self.size] = value
            self.seen += 1
        if len(self._recent) > RECENT:
            self._sort_in(np.empty(0, np.uint64), np.empty(0, np.int64))
        return fresh

    def _sort_in(self, hashes: Hashes, numbers: npt.NDArray[np.int64]) -> None:
        """Make a run of the recent hashes and of these, which are newer and ascend; of too many runs make one."""
        if self._recent:
            recent = np.fromiter(self._recent.keys(), np.uint64, len(self._recent))
            recent_numbers = np.fromiter(self._recent.values(), np.int64, len(self._recent))
            self._recent = {}
            hashes, numbers = _sorted(np.concatenate([recent, hashes]), np.concatenate([recent_numbers, numbers]))
        if len(hashes):
            self._runs.append((hashes, numbers))
        if len(self._runs) > RUNS:
            together, numbered = (np.concatenate(parts) for parts in zip(*self._runs, strict=True))
            kept = numbered >= self.seen - self.size
            self._runs = [_sorted(together[kept], numbered[kept])]


def _firsts(hashes: Hashes) -> tuple[Hashes, npt.NDArray[np.intp]]:
    """Return the distinct hashes, ascending, and where each comes first; as `np.unique` does, in half its time."""
    order = np.argsort(hashes)
    ordered = hashes[order]
    begins = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    if begins.all():
        return ordered, order
    starts = np.flatnonzero(begins)
    return ordered[starts], np.minimum.reduceat(order, starts)


def _sorted(hashes: Hashes, numbers: npt.NDArray[np.int64]) -> Run:
    """Sort by hash, keeping the newest number of each; those of one hash must rise."""
    order = np.argsort(hashes, kind="stable")
    hashes, numbers = hashes[order], numbers[order]
    last = np.append(hashes[1:] != hashes[:-1], np.ones(min(len(hashes), 1), np.bool_))
    return hashes[last], numbers[last]

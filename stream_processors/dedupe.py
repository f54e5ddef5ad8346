"""A bounded memory of event ids, so that an event sent twice counts once."""

import numpy as np
import numpy.typing as npt


class DuplicateWindow:
    """Remembers the hashes of the last `size` accepted events of a partition, in order.

    Parameters
    ----------
    size
        Events remembered; 0 remembers none, and nothing is a duplicate.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.ring = np.zeros(size, np.uint64)
        self.seen = 0
        """Events remembered ever; the next goes to place `seen % size`."""
        self._hashes: set[int] = set()

    def restore(self, ring: npt.NDArray[np.uint64], seen: int) -> None:
        """Take over a checkpointed window; one of another size keeps the newest events that fit."""
        order = (np.arange(min(seen, len(ring))) + (seen if seen > len(ring) else 0)) % max(len(ring), 1)
        newest = ring[order][-self.size :] if self.size else ring[:0]
        self.ring[: len(newest)] = newest
        if len(ring) == self.size:
            self.ring[:] = ring
            self.seen = seen
        else:
            self.seen = len(newest)
        self._hashes = set(newest.tolist())

    def admit(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Say which events are new, and remember those.

        Parameters
        ----------
        hashes
            Shape (n,), in offset order; a hash that comes twice in one call is new once.

        Returns
        -------
        array of bool, shape (n,)
        """
        fresh = np.ones(len(hashes), np.bool_)
        if not self.size:
            return fresh
        known, ring, size = self._hashes, self.ring, self.size
        for position, value in enumerate(hashes.tolist()):
            if value in known:
                fresh[position] = False
                continue
            place = self.seen % size
            if self.seen >= size:
                known.discard(int(ring[place]))
            ring[place] = value
            known.add(value)
            self.seen += 1
        return fresh

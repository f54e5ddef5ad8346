"""Ids made to collide, as whoever may send events can make them, and the chains that they build in a hash table."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_processors.native.hashing import hash_texts

CANDIDATES = 500_000
"""Ids hashed at once."""


def colliding_ids(count: int, bits: int) -> list[str]:
    """Return ids whose public hashes agree in so many of their lowest bits; it takes 2^bits candidates each."""
    found: list[str] = []
    first = 0
    while len(found) < count:
        texts = pa.array(np.arange(first, first + CANDIDATES)).cast(pa.utf8())
        low = hash_texts(texts) & np.uint64((1 << bits) - 1)
        found += texts.filter(pa.array(low == 0)).to_pylist()
        first += CANDIDATES
    return found[:count]


def longest_chain(slots: npt.NDArray[Any]) -> int:
    """Return the most used slots in a row: no look-up by linear probing takes more steps."""
    edges = np.flatnonzero(np.concatenate([slots, slots, [0]]) == 0)
    return int(np.diff(edges, prepend=-1).max()) - 1

"""The partition that Kafka's own clients choose for a key, by Austin Appleby's Murmur2 with their seed."""

import numpy as np

from stream_processors.native.compile import native
from stream_processors.types import ByteArray, Int64Array

_SEED, _FACTOR, _MASK = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF
_POSITIVE = 0x7FFFFFFF


def partitions_of(text: ByteArray, begins: Int64Array, sizes: Int64Array, partitions: int) -> Int64Array:
    """Return the partition of each key, -1 where there is none.

    Parameters
    ----------
    text
        Holds the keys.
    begins, sizes
        Where each begins and its bytes, below 0 where there is none; shape (n,).
    partitions
        Number of partitions of the topic.
    """
    found = np.full(len(begins), -1, np.int64)
    _partition(text, np.ascontiguousarray(begins), np.ascontiguousarray(sizes), len(begins), partitions, found)
    return found


@native(np.uint8, np.int64, np.int64, None, None, np.int64)
def _partition(  # noqa: PLR0917 - machine code is called by position
    text: ByteArray, begins: Int64Array, sizes: Int64Array, count: int, partitions: int, found: Int64Array
) -> int:
    for number in range(count):
        size = sizes[number]
        if size < 0:
            continue
        at = begins[number]
        mixed = _SEED ^ size
        for _ in range(size // 4):
            word = text[at] | text[at + 1] << 8 | text[at + 2] << 16 | np.int64(text[at + 3]) << 24
            word = word * _FACTOR & _MASK
            word ^= word >> 24
            word = word * _FACTOR & _MASK
            mixed = (mixed * _FACTOR & _MASK) ^ word
            at += 4
        left = size % 4
        if left:
            for place in range(left):
                mixed ^= np.int64(text[at + place]) << 8 * place
            mixed = mixed * _FACTOR & _MASK
        mixed ^= mixed >> 13
        mixed = mixed * _FACTOR & _MASK
        mixed ^= mixed >> 15
        found[number] = (mixed & _POSITIVE) % partitions
    return count

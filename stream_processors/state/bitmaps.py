"""Bitmaps of days: a ring of one bit a day, `BITMAP_DAYS` long, two words a customer."""

import numpy as np
import numpy.typing as npt

from stream_processors.state.table import BITMAP_DAYS
from stream_processors.types import Flags


def bitmap_place(day: int) -> tuple[int, np.uint64]:
    """Return the word and the bit of a day in the bitmaps."""
    return (day % BITMAP_DAYS) // 64, np.uint64(1) << np.uint64(day % 64)


def bitmap_count(bitmap: npt.NDArray[np.uint64], first: int, last: int) -> npt.NDArray[np.uint8]:
    """Count the days set from `first` to `last` (day numbers, both included; none if `last` < `first`).

    Parameters
    ----------
    bitmap
        Shape (rows, `BITMAP_DAYS` / 64).
    """
    days = ((1 << max(last - first + 1, 0)) - 1) << (first % BITMAP_DAYS)
    days |= days >> BITMAP_DAYS  # the bitmap is a ring
    found = np.zeros(len(bitmap), np.uint8)
    for word in range(BITMAP_DAYS // 64):
        found += np.bitwise_count(bitmap[:, word] & np.uint64((days >> (64 * word)) & (2**64 - 1)))
    return found


def bitmap_flags(bitmap: npt.NDArray[np.uint64], newest: int) -> Flags:
    """Return the bits in order of days, shape (rows, `BITMAP_DAYS`): the last column is day `newest`."""
    bits = np.unpackbits(np.ascontiguousarray(bitmap).view(np.uint8), axis=1, bitorder="little")
    found: Flags = bits[:, np.arange(newest - BITMAP_DAYS + 1, newest + 1) % BITMAP_DAYS].astype(np.bool_)
    return found

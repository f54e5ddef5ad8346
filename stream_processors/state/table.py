"""The columns of one partition's customers: one numpy array each, one row per customer, grown by doubling."""

import math
import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ebb.clock import DAY
from ebb.contracts.features import HALF_LIVES, EventKind
from stream_processors.types import AnyArray, RowIndices

DAY_MS = DAY * 1000
RING_DAYS = 32
"""Days of exact counters: the longest window (30) and the two days that may be open."""
OPEN_DAYS = 2
"""Days that are not closed yet: the watermark's and, since lateness is at most a day, the next."""
LATE_DAYS = RING_DAYS - OPEN_DAYS
"""Days before the watermark's on which an event still counts: their counters are there, whatever day is open."""
BITMAP_DAYS = 128
"""Days of the activity bitmaps: the longest horizon or look-back (120) and the days still open, in whole words."""
COUNTED = (EventKind.OTHER, EventKind.SESSION, EventKind.VIEW, EventKind.CART, EventKind.PURCHASE, EventKind.SUPPORT)
"""Kinds with a counter per day. A cancellation is no activity: it has a bitmap and nothing else."""
COUNTER_OF_KIND: RowIndices = np.array([COUNTED.index(k) if k in COUNTED else 0 for k in EventKind], np.intp)
NEVER = np.iinfo(np.int64).min
"""Time (ms) of what has not happened yet."""
NO_DAY = np.iinfo(np.int32).min
SHARD_ROWS = 1_024
"""Rows checkpointed together: small enough that a few touched customers do not rewrite a partition."""

DECAY = np.array([0.5 ** (1 / days) for days in HALF_LIVES])
"""Share of each decayed rate that is left after a day."""

Columns = dict[str, AnyArray]


@dataclass(frozen=True)
class Column:
    """Shape and meaning of one column.

    A column with a `widest` type begins narrow and is widened as a whole, for its partition, by the first number that
    does not fit: a day's count is small for all but a few, and day counters are most of a customer's memory.
    """

    name: str
    dtype: type[np.generic]
    shape: tuple[int, ...] = ()
    fill: int | float = 0
    widest: type[np.generic] | None = None


STATE: tuple[Column, ...] = (
    # Exact, by day
    Column("counts", np.uint8, (len(COUNTED), RING_DAYS), widest=np.uint32),
    Column("spend", np.int32, (RING_DAYS,), widest=np.int64),
    Column("active_days", np.uint64, (BITMAP_DAYS // 64,)),
    Column("purchase_days", np.uint64, (BITMAP_DAYS // 64,)),
    Column("cancel_days", np.uint64, (BITMAP_DAYS // 64,)),
    Column("open_last", np.int64, (OPEN_DAYS,), NEVER),
    Column("open_last_purchase", np.int64, (OPEN_DAYS,), NEVER),
    Column("open_discounts", np.uint8, (OPEN_DAYS,), widest=np.uint32),
    Column("first_seen", np.int64, (), np.iinfo(np.int64).max),
    # As of the last closed day boundary
    Column("last_seen", np.int64, (), NEVER),
    Column("last_purchase", np.int64, (), NEVER),
    Column("first_active_day", np.int32, (), NO_DAY),
    Column("last_active_day", np.int32, (), NO_DAY),
    Column("forgotten_active_day", np.int32, (), NO_DAY),
    Column("active_days_total", np.uint32),
    Column("gap_squares", np.uint64),
    Column("events_total", np.uint32),
    Column("purchases_total", np.uint32),
    Column("discounts_total", np.uint32),
    Column("spend_total", np.int64),
    Column("events_decayed", np.float64, (len(HALF_LIVES),)),
    Column("active_decayed", np.float64, (len(HALF_LIVES),)),
    # Who they are
    Column("id_hash", np.uint64),
    Column("country", np.int32, (), -1),
    Column("channel", np.int32, (), -1),
)
"""Customer state: a function of the partition's records in offset order, and of nothing else."""

SERVED: tuple[Column, ...] = (
    Column("churn", np.float32, (), np.nan),
    Column("published", np.float32, (), np.nan),
    Column("trend", np.float32, (), np.nan),
    Column("band", np.int8, (), -1),
    Column("alerted_band", np.int8, (), -1),
    Column("alerted_at", np.int64, (), NEVER),
    Column("history", np.float32, (8,), np.nan),
)
"""What was last published about a customer: depends on models and sweeps, no part of the state's digest."""

WIDER = {np.dtype(a): np.dtype(b) for a, b in ((np.uint8, np.uint16), (np.uint16, np.uint32), (np.int32, np.int64))}
"""The next type for a column that may be widened."""


class Table:
    """Rows of named columns in arrays that double when they are full.

    Each array has memory of its own from the system, which does not back rows that are unused yet, and is
    returned whole when the array is replaced by a larger one.

    Parameters
    ----------
    columns
        The columns; each becomes an array of shape (capacity, *column.shape).
    """

    def __init__(self, columns: tuple[Column, ...], capacity: int = SHARD_ROWS) -> None:
        self.columns = columns
        self.rows = 0
        self._arrays: Columns = {
            column.name: allocate((capacity, *column.shape), np.dtype(column.dtype)) for column in columns
        }

    def __getitem__(self, name: str) -> AnyArray:
        """Return the live rows of a column, as a view; it is stale once rows are added or the column is widened."""
        return self._arrays[name][: self.rows]

    def grow(self, rows: int) -> None:
        """Extend to at least `rows` rows; new rows hold the fill values."""
        if rows <= self.rows:
            return
        for column in self.columns:
            array = self._arrays[column.name]
            if rows > len(array):
                larger = allocate((max(rows, 2 * len(array)), *column.shape), array.dtype)
                larger[: self.rows] = array[: self.rows]
                array = self._arrays[column.name] = larger
            array[self.rows : rows] = column.fill
        self.rows = rows

    def clear(self, row: int) -> None:
        """Reset a row to the fill values."""
        for column in self.columns:
            self._arrays[column.name][row] = column.fill

    def hold(self, name: str, low: int, high: int) -> None:
        """Widen a column until it holds numbers from `low` to `high`."""
        dtype = self._arrays[name].dtype
        while not np.iinfo(dtype).min <= low <= high <= np.iinfo(dtype).max:
            dtype = WIDER[dtype]
        self.widen(name, dtype)

    def widen(self, name: str, dtype: np.dtype[Any]) -> None:
        """Give a column a type that is at least as wide as `dtype`."""
        array = self._arrays[name]
        wider = np.promote_types(array.dtype, dtype)
        if wider != array.dtype:
            larger = allocate(array.shape, wider)
            larger[: self.rows] = array[: self.rows]
            self._arrays[name] = larger

    def take(self, rows: RowIndices, names: Iterable[str]) -> Columns:
        """Return copies of some rows, by column."""
        return {name: self[name][rows] for name in names}

    def slices(self, start: int, stop: int) -> Iterator[tuple[Column, AnyArray]]:
        """Yield each column with its rows from `start` to `stop`, as views."""
        for column in self.columns:
            yield column, self[column.name][start:stop]


def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> AnyArray:
    """Return zeros outside the process's heap, where a small object behind the array would keep it from being freed."""
    memory = mmap.mmap(-1, math.prod(shape) * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(memory, dtype).reshape(shape)

"""How many labels that were published are contradicted by events of days that had been closed."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stream_processors.state.bitmaps import bitmap_flags
from stream_processors.state.table import BITMAP_DAYS
from stream_processors.types import Flags, Int64Array, RowIndices


@dataclass(frozen=True)
class Late:
    """Events of closed days, in offset order, as columns of equal length."""

    rows: RowIndices
    days: Int64Array
    counts: Flags
    """Whether the label looks for such an event."""
    active: Flags
    """Whether it makes the customer active."""


@dataclass(frozen=True)
class Published:
    """Which labels of a target have been published."""

    horizon: int
    """Days after a snapshot that its label looks at."""
    lookback: int
    every: int
    """Snapshots are taken at boundaries that are multiples of it."""
    last: int
    """Boundary of the newest snapshot whose label is published."""
    opened: int
    """Newest day of the bitmaps."""


def count_contradicted(
    active_days: npt.NDArray[np.uint64], marked_days: npt.NDArray[np.uint64], late: Late, published: Published
) -> int:
    """Count the labels that said "nothing came", of customers who had been active in the look-back, and are wrong now.

    Which customers a snapshot held is not known any more: where it was a sample, or before the first one, too many are
    counted. An event takes effect before the next one is looked at, so cuts of the log change nothing.

    Parameters
    ----------
    active_days, marked_days
        Bitmaps of all customers, before the events: active days, and days with what the label looks for.
    """
    # Only the first event of a customer's day changes anything; with those of one customer apart, rounds are few.
    keys = np.stack([late.rows, late.days, late.counts, late.active])
    firsts = np.sort(np.unique(keys, axis=1, return_index=True)[1])
    customers, places = np.unique(late.rows[firsts], return_inverse=True)
    active = bitmap_flags(active_days[customers], published.opened)
    marked = bitmap_flags(marked_days[customers], published.opened)
    rounds = _rank(places)
    oldest = published.opened - BITMAP_DAYS + 1
    found = 0
    for number in range(int(rounds.max(initial=-1)) + 1):
        chosen = rounds == number
        at, days, counts = places[chosen], late.days[firsts[chosen]], late.counts[firsts[chosen]]
        found += _contradicted(active[at[counts]], marked[at[counts]], days[counts], published)
        moved = late.active[firsts[chosen]]
        active[at[moved], days[moved] - oldest] = True
        marked[at[counts], days[counts] - oldest] = True
    return found


def _rank(places: RowIndices) -> RowIndices:
    """Return how many equal ones come before each."""
    order = np.argsort(places, kind="stable")
    sorted_places = places[order]
    starts = np.flatnonzero(np.r_[True, sorted_places[1:] != sorted_places[:-1]])
    counts = np.diff(np.r_[starts, len(places)])
    found = np.empty(len(places), np.intp)
    found[order] = np.arange(len(places)) - np.repeat(starts, counts)
    return found


def _contradicted(active: Flags, marked: Flags, days: Int64Array, published: Published) -> int:
    """Count the labels that one event each of some customers contradicts."""
    rows = np.arange(len(days))
    active_before, marked_before = (
        np.cumsum(np.pad(flags, ((0, 0), (1, 0))), axis=1, dtype=np.int16) for flags in (active, marked)
    )
    oldest = published.opened - BITMAP_DAYS + 1
    found = 0
    for back in range(published.horizon):
        snapshots = days - back
        begin = np.maximum(snapshots - oldest, 0)
        earlier = np.maximum(begin - published.lookback, 0)
        end = np.minimum(begin + published.horizon, BITMAP_DAYS)
        known = active_before[rows, begin] > active_before[rows, earlier]
        empty = marked_before[rows, end] == marked_before[rows, begin]
        found += int((known & empty & (snapshots <= published.last) & (snapshots % published.every == 0)).sum())
    return found

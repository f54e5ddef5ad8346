"""Events of days that are closed: each counts on its own day, in the aggregates that hold that day.

The day's counters and bitmaps are counted as ever; `LATE_DAYS` of them are still there. What was published before the
event came, a snapshot or a label, stays as it was; all that follows is as if the event had come in time, but for the
last bits of the decayed rates, whose terms are added in another order.
"""

import numpy as np

from ebb.contracts.features import EventKind
from stream_processors.state.bitmaps import bitmap_flags, bitmap_place
from stream_processors.state.table import BITMAP_DAYS, DAY_MS, DECAY, NO_DAY, RING_DAYS, Table
from stream_processors.state.touch import Touch
from stream_processors.types import RowIndices

_LEFT = np.cumprod(np.vstack([np.ones(len(DECAY)), np.tile(DECAY, (RING_DAYS, 1))]), axis=0)
"""Share of each decayed rate that is left after so many boundaries; shape (boundaries, half-lives)."""


def fold_late(table: Table, late: Touch, *, closed: int, opened: int) -> None:
    """Add events of closed days to the aggregates. Called before the days' bits are set, which it looks at.

    Whatever depends on the order of additions is added in the order of the events, so that the result does not depend
    on how batches cut the log.

    Parameters
    ----------
    table
        The customers.
    late
        The events, in offset order; their days are before `closed` and at most `LATE_DAYS` behind the watermark's.
    closed
        Boundary last closed.
    opened
        Newest day in use.
    """
    rows, times = late.rows, late.times
    days = times // DAY_MS
    bought = late.kinds == EventKind.PURCHASE
    for name, which in (
        ("events_total", rows),
        ("purchases_total", rows[bought]),
        ("discounts_total", rows[late.discounted & bought]),
    ):
        np.add.at(table[name], which, np.uint32(1))
    np.add.at(table["spend_total"], rows[bought], late.amounts[bought])
    np.maximum.at(table["last_seen"], rows, times)
    np.maximum.at(table["last_purchase"], rows[bought], times[bought])
    np.add.at(table["events_decayed"], rows, _LEFT[closed - days])
    for place in _insert_days(table, rows, days, closed=closed, opened=opened).tolist():
        table["active_decayed"][rows[place]] += _LEFT[closed - days[place]]


def _insert_days(table: Table, rows: RowIndices, days: RowIndices, *, closed: int, opened: int) -> RowIndices:
    """Make days active that were not: the first and last of a customer, their number, the squares of the gaps.

    Returns
    -------
    array of int
        Places of the events that made a day active, ascending.
    """
    firsts: list[RowIndices] = []
    for day in np.unique(days).tolist():
        places = np.flatnonzero(days == day)
        customers, first = np.unique(rows[places], return_index=True)
        word, bit = bitmap_place(day)
        new = (table["active_days"][customers, word] & bit) == 0
        customers = customers[new]
        firsts.append(places[first[new]])
        if not len(customers):
            continue
        before, after = _neighbours(table, customers, day, closed=closed, opened=opened)
        gaps = _squares(before, day) + _squares(day, after) - _squares(before, after)
        table["gap_squares"][customers] = (table["gap_squares"][customers].astype(np.int64) + gaps).astype(np.uint64)
        table["active_days_total"][customers] += np.uint32(1)
        earliest = table["first_active_day"][customers]
        table["first_active_day"][customers] = np.where(earliest == NO_DAY, day, np.minimum(earliest, day))
        table["last_active_day"][customers] = np.maximum(table["last_active_day"][customers], day)
        table["active_days"][customers, word] |= bit
    return np.sort(np.concatenate(firsts))


def _neighbours(
    table: Table, customers: RowIndices, day: int, *, closed: int, opened: int
) -> tuple[RowIndices, RowIndices]:
    """Return the last active day before `day` and the first after it that is closed; `NO_DAY` where there is none."""
    active = bitmap_flags(table["active_days"][customers], opened)
    oldest = opened - BITMAP_DAYS + 1
    earlier, later = active[:, : day - oldest], active[:, day - oldest + 1 : closed - oldest]
    before = np.where(
        earlier.any(axis=1), day - 1 - earlier[:, ::-1].argmax(axis=1), table["forgotten_active_day"][customers]
    )
    if not later.shape[1]:
        return before, np.full(len(customers), NO_DAY, np.intp)
    return before, np.where(later.any(axis=1), day + 1 + later.argmax(axis=1), NO_DAY)


def _squares(first: RowIndices | int, second: RowIndices | int) -> RowIndices:
    """Return the squares of the days between, 0 where either is `NO_DAY`."""
    a, b = np.asarray(first, np.int64), np.asarray(second, np.int64)
    found: RowIndices = np.where((a == NO_DAY) | (b == NO_DAY), 0, (b - a) ** 2)
    return found

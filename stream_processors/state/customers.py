"""Customer state of one partition: events in, exact day counters, bitmaps and closed aggregates out.

A day is *closed* when the watermark has passed its end, and *open* before. Counters and bitmaps are exact per day;
closing a day folds it into the aggregates, and an event that comes later is added to both (`late.py`). So every number
depends on the set of events of each day, never on the order before the day is closed nor on how fetches cut the stream.
"""

import hashlib

import numpy as np
import pyarrow as pa

from ebb.contracts.features import EventKind
from stream_processors.native.hashing import hash_texts
from stream_processors.state.bitmaps import bitmap_place
from stream_processors.state.customer_ids import Ids
from stream_processors.state.late import fold_late
from stream_processors.state.table import (
    BITMAP_DAYS,
    COUNTED,
    COUNTER_OF_KIND,
    DAY_MS,
    DECAY,
    NEVER,
    NO_DAY,
    OPEN_DAYS,
    RING_DAYS,
    STATE,
    Columns,
    Table,
)
from stream_processors.state.touch import Touch
from stream_processors.types import Int32Array, Int64Array, RowIndices

UNSEEN = np.iinfo(np.int64).max
"""`first_seen` of an erased customer's row."""
PURCHASED = COUNTED.index(EventKind.PURCHASE)


class CustomerState:
    """Columns of a partition's customers, their ids, and the days that are open.

    Attributes
    ----------
    closed
        Day number of the last boundary closed: every day before it is folded. None before the first event.
    opened
        Newest day whose counters are in use.
    """

    def __init__(self) -> None:
        self.table = Table(STATE)
        self.ids = Ids(self.table)
        self.countries = Names()
        self.channels = Names()
        self.closed: int | None = None
        self.opened = 0

    def __len__(self) -> int:
        return self.table.rows

    def rows_of(self, customer_ids: pa.StringArray) -> RowIndices:
        """Return the rows of customers, new ones, in the order given, for those never seen.

        Parameters
        ----------
        customer_ids
            Distinct.
        """
        hashes = hash_texts(customer_ids)
        rows = self.ids.find(customer_ids, hashes)
        if (new := rows < 0).any():
            first = len(self.ids)
            self.table.grow(first + int(new.sum()))
            self.table["id_hash"][first:] = hashes[new]
            self.ids.append(customer_ids.filter(pa.array(new)))
            rows[new] = np.arange(first, len(self.ids))
        return rows

    def restore(self, ids: list[str]) -> None:
        """Load the ids of the next saved rows, which the table holds; an empty id is an erased customer's."""
        self.ids.append(pa.array(ids, pa.utf8()))

    def erase(self, customer_id: str) -> int | None:
        """Clear a customer's row, which is never used again; return it, None if there is none."""
        row = self.ids.row(customer_id)
        if row is not None:
            self.ids.erase(row)
            self.table.clear(row)
        return row

    def live_rows(self, rows: RowIndices) -> RowIndices:
        """Leave out the rows of erased customers."""
        return rows[self.table["first_seen"][rows] != UNSEEN] if self.ids.erased_count else rows

    def start(self, day: int) -> None:
        """Begin with `day` as the oldest open day; called once, before the first event."""
        self.closed = day
        self.opened = day

    def open_until(self, day: int) -> None:
        """Open the days up to `day`, clearing the counters that they reuse."""
        if day <= self.opened:
            return
        for opening in range(max(self.opened + 1, day - BITMAP_DAYS + 1), day + 1):
            self.table["counts"][:, :, opening % RING_DAYS] = 0
            self.table["spend"][:, opening % RING_DAYS] = 0
            self.table["open_last"][:, opening % OPEN_DAYS] = NEVER
            self.table["open_last_purchase"][:, opening % OPEN_DAYS] = NEVER
            self.table["open_discounts"][:, opening % OPEN_DAYS] = 0
            word, bit = bitmap_place(opening)
            # The day whose bit it takes over: since days may have been skipped, the newest one of that place.
            former = opening - BITMAP_DAYS * -(-(opening - self.opened) // BITMAP_DAYS)
            was_active = (self.table["active_days"][:, word] & bit) != 0
            forgotten = self.table["forgotten_active_day"]
            np.maximum(forgotten, np.int32(former), out=forgotten, where=was_active)
            for name in ("active_days", "purchase_days", "cancel_days"):
                self.table[name][:, word] &= ~bit
        self.opened = day

    def apply(self, touch: Touch) -> None:
        """Count events; their rows exist, their days are open or at most `LATE_DAYS` behind the watermark's.

        A cancellation is no activity: who says that they leave must not seem to be back.
        """
        closed = self.closed
        if closed is None:
            message = "events are counted before the first day is opened"
            raise RuntimeError(message)
        np.minimum.at(self.table["first_seen"], touch.rows, touch.times)
        if (left := touch.kinds == EventKind.CANCEL).any():
            leaving, touch = touch.of(left), touch.of(~left)
            self._mark("cancel_days", leaving.rows, leaving.times // DAY_MS)
        rows, days = touch.rows, touch.times // DAY_MS
        bought = touch.kinds == EventKind.PURCHASE
        self._add("counts", (rows * len(COUNTED) + COUNTER_OF_KIND[touch.kinds]) * RING_DAYS + days % RING_DAYS)
        paid = bought & (touch.amounts != 0)
        self._add("spend", rows[paid] * RING_DAYS + days[paid] % RING_DAYS, touch.amounts[paid])
        if (late := days < closed).any():
            fold_late(self.table, touch.of(late), closed=closed, opened=self.opened)
            self._count_open(touch.of(~late))
        else:
            self._count_open(touch)
        self._mark("active_days", rows, days)
        self._mark("purchase_days", rows[bought], days[bought])

    def _mark(self, name: str, rows: RowIndices, days: Int64Array) -> None:
        """Set the bits of days in a bitmap."""
        if not len(days):
            return
        for day in range(int(days.min()), int(days.max()) + 1):
            if (today := days == day).any():
                word, bit = bitmap_place(day)
                self.table[name][rows[today], word] |= bit

    def _count_open(self, touch: Touch) -> None:
        """Count what closing a day folds; the days are open."""
        cells = touch.rows * OPEN_DAYS + touch.times // DAY_MS % OPEN_DAYS
        bought = touch.kinds == EventKind.PURCHASE
        self._add("open_discounts", cells[touch.discounted & bought])
        np.maximum.at(self.table["open_last"].reshape(-1), cells, touch.times)
        np.maximum.at(self.table["open_last_purchase"].reshape(-1), cells[bought], touch.times[bought])

    def _add(self, name: str, cells: RowIndices, amounts: Int64Array | None = None) -> None:
        """Add amounts (or one each) to cells of a column, numbered as if it had one dimension; repeats add up."""
        if len(cells) == 0:
            return
        if amounts is None:
            touched, sums = np.unique(cells, return_counts=True)
        else:
            touched, inverse = np.unique(cells, return_inverse=True)
            sums = np.zeros(len(touched), np.int64)
            np.add.at(sums, inverse, amounts)
        sums = sums + self.table[name].reshape(-1)[touched]
        self.table.hold(name, int(sums.min()), int(sums.max()))
        self.table[name].reshape(-1)[touched] = sums

    def close_day(self) -> int:
        """Fold the oldest open day into the aggregates and return the boundary that is now closed."""
        if self.closed is None:
            message = "a day is closed before the first event"
            raise RuntimeError(message)
        day = self.closed
        self.open_until(day)
        columns = {column.name: self.table[column.name] for column in STATE}
        fold_day(columns, day)
        columns["events_decayed"] *= DECAY
        columns["active_decayed"] *= DECAY
        self.closed = day + 1
        self.open_until(day + 1)
        return self.closed

    def skip_to(self, day: int) -> None:
        """Close many boundaries over days without events at once; all open days must be empty."""
        if self.closed is None:
            return
        power = DECAY ** (day - self.closed)
        self.table["events_decayed"][:] = self.table["events_decayed"] * power
        self.table["active_decayed"][:] = self.table["active_decayed"] * power
        self.closed = day
        self.open_until(day)

    def digest(self) -> str:
        """Return a hash of all that follows from the partition's events: equal states have equal digests."""
        found = hashlib.sha256(repr((self.closed, self.opened, list(self.ids))).encode())
        found.update(repr((self.countries.names, self.channels.names)).encode())
        for column in STATE:
            # As wide as can be: a column's present width depends on the past, not on the state.
            found.update(self.table[column.name].astype(column.widest or column.dtype).tobytes())
        return found.hexdigest()


MOST_NAMES = 1_000
"""Distinct values of a text attribute that a partition tells apart; a checkpoint holds them all."""
OTHER_NAME = "other"
"""What further values are called."""


class Names:
    """Codes for the few distinct values of a text attribute, in order of appearance; those beyond a limit share one."""

    def __init__(self, names: list[str] | None = None) -> None:
        self.names = names or []
        self._numbers = {name: number for number, name in enumerate(self.names)}

    def number(self, name: str) -> int:
        """Return the number of a name, a new one if it is new."""
        found = self._numbers.get(name)
        if found is None:
            if len(self.names) >= MOST_NAMES and name != OTHER_NAME:
                return self.number(OTHER_NAME)
            found = self._numbers[name] = len(self.names)
            self.names.append(name)
        return found

    def of(self, numbers: Int32Array) -> list[str | None]:
        """Return the names of numbers; None for -1."""
        names = [*self.names, None]  # which -1 finds
        return [names[number] for number in numbers.tolist()]


def fold_day(columns: Columns, day: int) -> None:
    """Add a day's counters to the aggregates, in place, without decaying the rates.

    Parameters
    ----------
    columns
        Columns of `STATE`, arrays of equal length; `counts` and the other day counters must hold `day`.
    day
        Day number; later than every day folded before.
    """
    counts = columns["counts"][:, :, day % RING_DAYS]
    events = counts.sum(axis=1, dtype=np.uint32)
    active = events > 0
    columns["events_total"] += events
    columns["purchases_total"] += counts[:, PURCHASED]
    columns["discounts_total"] += columns["open_discounts"][:, day % OPEN_DAYS]
    columns["spend_total"] += columns["spend"][:, day % RING_DAYS]
    last = columns["last_active_day"]
    again = active & (last != NO_DAY)
    gaps = np.where(again, day - last.astype(np.int64), 0)
    columns["gap_squares"] += (gaps * gaps).astype(np.uint64)
    first = columns["first_active_day"]
    first[active & (first == NO_DAY)] = day
    last[active] = day
    columns["active_days_total"] += active.astype(np.uint32)
    np.maximum(columns["last_seen"], columns["open_last"][:, day % OPEN_DAYS], out=columns["last_seen"])
    np.maximum(
        columns["last_purchase"], columns["open_last_purchase"][:, day % OPEN_DAYS], out=columns["last_purchase"]
    )
    columns["events_decayed"] += events[:, None]
    columns["active_decayed"] += active[:, None]

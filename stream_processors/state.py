"""Customer state of one partition: events in, exact day counters, bitmaps and closed aggregates kept.

A day is *open* while late events may still change it and *closed* when the watermark has passed its end. Counters and
bitmaps are exact per day; closing a day folds it into the aggregates. So every number depends on the set of events of
each day, never on the order within the allowed lateness nor on how polls cut the stream.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ebb.clock import DAY
from ebb.features import HALF_LIVES, Kind
from stream_processors.columns import (
    BITMAP_DAYS,
    COUNTERS,
    DISCOUNTED,
    NEVER,
    NO_DAY,
    OPEN_DAYS,
    RING_DAYS,
    STATE,
    Table,
)
from stream_processors.hashing import hash_ids

DAY_MS = DAY * 1000
DECAY = np.array([0.5 ** (1 / days) for days in HALF_LIVES])
"""What a day leaves of each decayed rate."""
COUNT_LIMIT = np.iinfo(np.uint16).max
"""A day's counter stops here; far beyond any person's activity."""

Rows = npt.NDArray[np.intp]
Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Touch:
    """Accepted events of one segment, no day boundary crossed among them, as columns of equal length."""

    rows: Rows
    times: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.int8]
    amounts: npt.NDArray[np.int64]
    discounted: npt.NDArray[np.bool_]


class CustomerState:
    """Columns of a partition's customers, their ids, and the days that are open.

    Attributes
    ----------
    closed
        Day number of the last boundary crossed: every day before it is folded. None before the first event.
    opened
        Newest day whose counters are in use.
    """

    def __init__(self) -> None:
        self.table = Table(STATE)
        self.ids: list[str] = []
        self.index: dict[str, int] = {}
        self.countries = Names()
        self.channels = Names()
        self.closed: int | None = None
        self.opened = 0

    def __len__(self) -> int:
        return self.table.rows

    def row(self, customer_id: str) -> int:
        """Return the row of a customer, a new one for a customer never seen."""
        row = self.index.get(customer_id)
        if row is None:
            row = self.index[customer_id] = len(self.ids)
            self.ids.append(customer_id)
        return row

    def grow(self) -> None:
        """Give columns to the customers that `row` has just numbered."""
        first = self.table.rows
        if first < len(self.ids):
            self.table.grow(len(self.ids))
            self.table["id_hash"][first:] = hash_ids(self.ids[first:])

    def start(self, day: int) -> None:
        """Begin with `day` as the oldest open day; called once, before the first event."""
        self.closed = day
        self.opened = day

    def open_until(self, day: int) -> None:
        """Bring days up to `day` into use, clearing the counters that they take over."""
        if day <= self.opened:
            return
        for opening in range(max(self.opened + 1, day - BITMAP_DAYS + 1), day + 1):
            self.table["counts"][:, opening % RING_DAYS] = 0
            self.table["spend"][:, opening % RING_DAYS] = 0
            self.table["open_last"][:, opening % OPEN_DAYS] = NEVER
            self.table["open_last_purchase"][:, opening % OPEN_DAYS] = NEVER
            word, bit = bitmap_place(opening)
            for name in ("active_days", "purchase_days", "cancel_days"):
                self.table[name][:, word] &= ~bit
        self.opened = day

    def apply(self, touch: Touch) -> None:
        """Count events; their days are open, their rows exist."""
        rows, times = touch.rows, touch.times
        days = times // DAY_MS
        slots = days % RING_DAYS
        kinds = touch.kinds.astype(np.intp)
        counts = self.table["counts"].reshape(-1)
        base = (rows * RING_DAYS + slots) * COUNTERS
        add_saturating(counts, base + kinds)
        bought = touch.kinds == Kind.PURCHASE
        reduced = touch.discounted & bought
        if reduced.any():
            add_saturating(counts, base[reduced] + DISCOUNTED)
        paid = bought & (touch.amounts != 0)
        if paid.any():
            np.add.at(self.table["spend"], (rows[paid], slots[paid]), touch.amounts[paid])
        np.maximum.at(self.table["open_last"], (rows, days % OPEN_DAYS), times)
        np.minimum.at(self.table["first_seen"], rows, times)
        words = (days % BITMAP_DAYS) // 64
        bits = np.uint64(1) << (days % 64).astype(np.uint64)
        np.bitwise_or.at(self.table["active_days"], (rows, words), bits)
        if bought.any():
            np.maximum.at(self.table["open_last_purchase"], (rows[bought], days[bought] % OPEN_DAYS), times[bought])
            np.bitwise_or.at(self.table["purchase_days"], (rows[bought], words[bought]), bits[bought])
        left = touch.kinds == Kind.CANCEL
        if left.any():
            np.bitwise_or.at(self.table["cancel_days"], (rows[left], words[left]), bits[left])

    def close_day(self) -> int:
        """Fold the oldest open day into the aggregates and return the boundary that is now crossed."""
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
        """Cross many boundaries over days without events at once; all open days must be empty."""
        if self.closed is None:
            return
        power = DECAY ** (day - self.closed)
        self.table["events_decayed"][:] = self.table["events_decayed"] * power
        self.table["active_decayed"][:] = self.table["active_decayed"] * power
        self.closed = day
        self.open_until(day)

    def digest(self) -> str:
        """Return a hash of all that follows from the partition's events: equal states have equal digests."""
        found = hashlib.sha256(repr((self.closed, self.opened, self.ids)).encode())
        found.update(repr((self.countries.names, self.channels.names)).encode())
        for column in STATE:
            found.update(np.ascontiguousarray(self.table[column.name]).tobytes())
        return found.hexdigest()


class Names:
    """Numbers for the few distinct values of a text attribute, in order of appearance."""

    def __init__(self, names: list[str] | None = None) -> None:
        self.names = names or []
        self._numbers = {name: number for number, name in enumerate(self.names)}

    def number(self, name: str) -> int:
        """Return the number of a name, a new one if it is new."""
        found = self._numbers.get(name)
        if found is None:
            found = self._numbers[name] = len(self.names)
            self.names.append(name)
        return found

    def name(self, number: int) -> str | None:
        """Return the name of a number; None for -1."""
        return self.names[number] if number >= 0 else None


def fold_day(columns: Columns, day: int) -> None:
    """Add a day's counters to the aggregates, in place, without decaying the rates.

    Parameters
    ----------
    columns
        Columns of `STATE`, arrays of equal length; `counts` and the other day counters must hold `day`.
    day
        Day number; later than every day folded before.
    """
    counts = columns["counts"][:, day % RING_DAYS]
    events = counts[:, :DISCOUNTED].sum(axis=1, dtype=np.int64)
    active = events > 0
    columns["events_total"] += events.astype(np.uint64)
    columns["purchases_total"] += counts[:, Kind.PURCHASE].astype(np.uint64)
    columns["discounts_total"] += counts[:, DISCOUNTED].astype(np.uint64)
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


def add_saturating(counts: npt.NDArray[np.uint16], places: npt.NDArray[np.intp]) -> None:
    """Add one to `counts` at each of `places` (repeats add up), stopping at `COUNT_LIMIT`."""
    if len(places) == 0:
        return
    if int(counts[places].max()) + len(places) <= COUNT_LIMIT:
        np.add.at(counts, places, np.uint16(1))
        return
    unique, times = np.unique(places, return_counts=True)
    counts[unique] = np.minimum(counts[unique].astype(np.int64) + times, COUNT_LIMIT)


def bitmap_place(day: int) -> tuple[int, np.uint64]:
    """Return the word and the bit of a day in the bitmaps."""
    return (day % BITMAP_DAYS) // 64, np.uint64(1) << np.uint64(day % 64)


def bitmap_count(bitmap: npt.NDArray[np.uint64], first: int, last: int) -> npt.NDArray[np.int64]:
    """Count the days set from `first` to `last` (day numbers, both included; none if `last` < `first`).

    Parameters
    ----------
    bitmap
        Shape (rows, `BITMAP_DAYS` / 64).
    """
    masks = np.zeros(bitmap.shape[1], np.uint64)
    for day in range(first, last + 1):
        word, bit = bitmap_place(day)
        masks[word] |= bit
    found: npt.NDArray[np.int64] = np.bitwise_count(bitmap & masks).sum(axis=1, dtype=np.int64)
    return found

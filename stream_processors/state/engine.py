"""One partition's stream engine: batches in offset order in; state, snapshots and labels out."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ebb.settings import Settings
from stream_processors.batch import TICK, Batch, ErasureRecord
from stream_processors.state.customers import CustomerState
from stream_processors.state.dedupe import DuplicateWindow
from stream_processors.state.labelling import BoundaryResult, Labeller
from stream_processors.state.table import DAY_MS, LATE_DAYS, SHARD_ROWS
from stream_processors.state.touch import Touch
from stream_processors.types import Flags, Int64Array, RowIndices

LONG_AGO = -(2**62)
"""Before any event time (ms), and far enough from the end of the integers to subtract from."""


@dataclass
class BatchEffects:
    """Effects of a batch."""

    touched: RowIndices
    """Rows of the customers whose state changed, ascending."""
    accepted: Flags
    """Per row of the batch: counted, or late (stored but not counted). False for duplicates and ticks."""
    late: Flags
    duplicates: int = 0
    delayed: int = 0
    """Events counted on a day that had been closed before they came."""
    contradicted: int = 0
    """Labels published before, that those events contradict."""
    boundaries: list[BoundaryResult] = field(default_factory=list)


@dataclass
class Erased:
    """What was erased of a customer."""

    row: int | None = None
    """None if the customer was not known."""
    snapshots: list[int] = field(default_factory=list)
    """Boundaries of the snapshots that wait for their labels and held the customer."""
    places: list[int] = field(default_factory=list)
    """Row of the customer in each."""


class Engine:
    """State of one partition and the offset that it includes.

    Parameters
    ----------
    partition
        Number of the partition of the activity topic.
    settings
        Lateness, window of duplicates, horizons.
    """

    def __init__(self, partition: int, settings: Settings) -> None:
        self.partition = partition
        self.state = CustomerState()
        self.window = DuplicateWindow(settings.dedupe_events, settings.dedupe_days)
        self.labeller = Labeller(partition, settings)
        self.offset = -1
        """Last offset whose effect the state includes."""
        self.newest: int | None = None
        """Greatest event time seen, ms; the watermark is the allowed lateness behind it."""
        self.moved_at = 0.0
        """When the broker received the records that last moved `newest`, Unix seconds; no part of the state."""
        self.event_at = 0.0
        """When it received the last event that was accepted."""
        self.dirty: set[int] = set()
        """Shards whose rows changed since the last checkpoint."""
        self.minor_units = settings.minor_units
        """Units in which the state counts money."""
        self._lateness = int(settings.allowed_lateness_seconds * 1000)

    @property
    def watermark(self) -> int | None:
        """Event time (ms) up to which the partition is complete; None before the first event."""
        return None if self.newest is None else self.newest - self._lateness

    def closes(self, newest: int) -> int:
        """Return the last day boundary that an event time of `newest` (ms) closes."""
        return (newest - self._lateness) // DAY_MS

    def process(self, batch: Batch) -> BatchEffects:
        """Apply a batch; records at or below `offset` are skipped, so that a redelivery changes nothing.

        The result is the same however the records are cut into batches.
        """
        before = self.newest
        effects = self._process(batch)
        if self.newest != before:
            self.moved_at = batch.produced_at
        if effects.accepted.any():
            self.event_at = batch.produced_at
        return effects

    def _process(self, batch: Batch) -> BatchEffects:
        known = int(np.searchsorted(batch.offsets, self.offset, side="right"))
        n = len(batch)
        accepted = np.zeros(n, np.bool_)
        late = np.zeros(n, np.bool_)
        effects = BatchEffects(np.empty(0, np.intp), accepted, late)
        self.offset = max(self.offset, batch.last_offset)
        if known == n:
            return effects
        times, ticks = batch.times[known:], batch.kinds[known:] == TICK
        fresh = np.ones(n - known, np.bool_)
        events = ~ticks
        fresh[events] = self.window.admit(batch.event_hashes[known:][events], self._days(times)[events])
        effects.duplicates = int((~fresh).sum())
        moving = np.where(fresh, times, LONG_AGO)
        newest = np.maximum.accumulate(moving)
        if self.newest is not None:
            newest = np.maximum(newest, self.newest)
        # By the watermark, not by the day that is open: that one depends on where a segment ends.
        behind = times // DAY_MS < (newest - self._lateness) // DAY_MS - LATE_DAYS
        late[known:] = fresh & events & behind
        accepted[known:] = fresh & events
        counted = fresh & events & ~behind
        rows, texts = self._rows(batch, known, counted)
        days_before = (self.state.closed, self.state.opened)
        for start, stop in self._segments(newest):
            effects.boundaries.extend(self._advance(int(newest[start]), int(newest[stop - 1])))
            chosen = np.flatnonzero(counted[start:stop]) + start
            if len(chosen):
                places = chosen + known
                kinds, amounts, discounted = batch.kinds[places], batch.amounts[places], batch.discounted[places]
                self._apply(Touch(rows[chosen], times[chosen], kinds, amounts, discounted), effects)
                for column, numbers in texts.items():
                    told = chosen[numbers[chosen] >= 0]
                    # Of several values for one row numpy keeps the last, which is the newest by offset.
                    self.state.table[column][rows[told]] = numbers[told]
        effects.touched = np.unique(rows[counted])
        self.touch(effects.touched)
        if (self.state.closed, self.state.opened) != days_before:
            # Folding a day or reusing its counters for another changes every row.
            self.dirty.update(range(-(-len(self.state) // SHARD_ROWS)))
        return effects

    def erase(self, erasing: ErasureRecord) -> Erased | None:
        """Erase a customer, as if the stream had never held them; None if the state includes that already.

        Called between the parts of a batch around the record, so the effect takes its place in the order of offsets.
        """
        if erasing.offset <= self.offset:
            return None
        self.offset = erasing.offset
        row = self.state.erase(erasing.customer_id)
        if row is None:
            return Erased()
        self.touch(np.array([row], np.intp))
        return Erased(row, *self.labeller.withdraw(row))

    def touch(self, rows: RowIndices) -> None:
        """Mark rows as changed, so that the next checkpoint includes them."""
        self.dirty.update(np.flatnonzero(np.bincount(rows // SHARD_ROWS)).tolist())

    def _days(self, times: Int64Array) -> Int64Array:
        """Return the newest day seen up to each record; duplicates and ticks count too."""
        before = [day for day, _ in self.window.begun[-1:]]
        if self.newest is not None:
            before.append(self.newest // DAY_MS)
        days: Int64Array = np.maximum.accumulate(times) // DAY_MS
        return np.maximum(days, max(before, default=LONG_AGO))

    def _apply(self, touch: Touch, effects: BatchEffects) -> None:
        if (late := touch.times // DAY_MS < (self.state.closed or 0)).any():
            effects.delayed += int(late.sum())
            effects.contradicted += self.labeller.contradicted(self.state, touch.of(late))
        self.state.apply(touch)

    def _rows(self, batch: Batch, known: int, counted: Flags) -> tuple[RowIndices, dict[str, RowIndices]]:
        """Find the rows of the customers, giving new ones to those never seen, in offset order.

        Returns
        -------
        rows : array of int
            Row of each event that counts, -1 for the others.
        texts : dict
            By column: number of the text of each such event, -1 where it says none.
        """
        rows = np.full(len(counted), -1, np.intp)
        texts: dict[str, RowIndices] = {}
        chosen = np.flatnonzero(counted)
        if not len(chosen):
            return rows, texts
        places = (np.cumsum(batch.kinds != TICK) - 1)[known:][chosen]
        state = self.state
        numbers, customers = batch.customers.distinct(places)
        rows[chosen] = state.rows_of(customers)[numbers]
        for column, coded, names in (
            ("country", batch.countries, state.countries),
            ("channel", batch.channels, state.channels),
        ):
            numbers, values = coded.distinct(places)
            if len(values):
                # One more, -1, for the events that say none.
                known_numbers = np.array([*(names.number(value) for value in values.to_pylist()), -1], np.intp)
                texts[column] = np.full(len(counted), -1, np.intp)
                texts[column][chosen] = known_numbers[numbers]
        return rows, texts

    def _segments(self, newest: Int64Array) -> Iterator[tuple[int, int]]:
        """Cut where the watermark enters another day, so that a segment closes boundaries at its start only."""
        days = (newest - self._lateness) // DAY_MS
        cuts = np.flatnonzero(np.diff(days)) + 1
        yield from zip([0, *cuts.tolist()], [*cuts.tolist(), len(newest)], strict=True)

    def _advance(self, newest: int, last: int) -> Iterator[BoundaryResult]:
        """Close the boundaries up to the watermark of `newest`; open the days up to `last`."""
        if newest == LONG_AGO:
            return
        target = self.closes(newest)
        state = self.state
        if state.closed is None:
            state.start(target)
        while state.closed is not None and state.closed < target:
            if self._empty(state.closed):
                state.skip_to(target)
                break
            boundary = state.close_day()
            yield self.labeller.close_boundary(state, boundary)
        self.newest = max(newest, last) if self.newest is None else max(self.newest, newest, last)
        state.open_until(self.newest // DAY_MS)

    def _empty(self, closed: int) -> bool:
        """Return whether nothing is left to label, snapshot or fold before the next event: days may be skipped."""
        if self.labeller.pending or self.newest is None:
            return False
        return closed - self.newest // DAY_MS > self.labeller.lookback_days

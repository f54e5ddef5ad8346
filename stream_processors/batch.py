"""A decoded batch of one partition: columns of accepted events and ticks, and dead letters."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from stream_processors.types import Flags, Hashes, Int8Array, Int64Array, RowIndices

Headers = tuple[tuple[str, bytes | None], ...]


class Record(NamedTuple):
    """One record."""

    offset: int
    timestamp: int
    """Milliseconds."""
    key: bytes | None
    value: bytes | None
    headers: Headers


TICK = -1
"""Row kind of a tick in `Batch.kinds`."""
_ROWS = ("offsets", "times", "kinds", "amounts", "discounted", "event_hashes")


@dataclass(frozen=True)
class DeadLetter:
    """A record that cannot be accepted, and the reason."""

    record: Record
    reason: str
    detail: str
    customer_id: str
    """Customer that its body names, or its key; empty if neither is known."""


@dataclass(frozen=True)
class ErasureRecord:
    """A record that makes its partition erase a customer."""

    offset: int
    customer_id: str
    erasure_id: str


@dataclass(frozen=True)
class DictionaryColumn:
    """A dictionary-encoded column of text: codes into its distinct values, -1 for null."""

    numbers: RowIndices
    values: pa.StringArray

    def __getitem__(self, rows: slice) -> "DictionaryColumn":
        """Return a slice of rows; the values stay whole."""
        return DictionaryColumn(self.numbers[rows], self.values)

    def distinct(self, rows: RowIndices) -> tuple[RowIndices, pa.StringArray]:
        """Encode some rows from scratch: return their codes and only their values, in order of appearance."""
        numbers = self.numbers[rows]
        count = len(numbers)
        # One element more than there are values, for -1. Of repeats numpy keeps the last: here the first row.
        first = np.full(len(self.values) + 1, count)
        first[numbers[::-1]] = np.arange(count - 1, -1, -1)
        present = np.flatnonzero(first[:-1] < count)
        present = present[np.argsort(first[present])]
        ranks = np.full(len(first), -1, np.intp)
        ranks[present] = np.arange(len(present))
        return ranks[numbers], self.values.take(pa.array(present))


@dataclass
class Batch:
    """The accepted records of one fetched batch, in offset order, as columns of equal length.

    Ticks are rows too, of kind `TICK`: they move time on and touch no customer.
    """

    offsets: Int64Array
    times: Int64Array
    """Event time, milliseconds since 1970 (UTC)."""
    kinds: Int8Array
    amounts: Int64Array
    """Minor units; 0 where the event has no amount."""
    discounted: Flags
    event_hashes: Hashes
    events: pa.Table
    """Of schema `event_table.COLUMNS`: a row for each row above that is no tick, in the same order."""
    customers: DictionaryColumn
    """Of the rows of `events`, as are the two below."""
    countries: DictionaryColumn
    channels: DictionaryColumn
    refused: list[DeadLetter] = field(default_factory=list)
    erasings: list[ErasureRecord] = field(default_factory=list)
    published: int = 0
    """Boundary (day number) whose models a paced replay wants in use before the batch is processed; 0: none."""
    last_offset: int = -1
    produced_at: float = 0.0
    """Wall time at which the newest record was produced, Unix seconds."""
    waited_since: float = 0.0
    """Wall time at which the oldest record was produced, Unix seconds."""

    def __len__(self) -> int:
        return len(self.offsets)

    def parts(self) -> Iterator[tuple["Batch", ErasureRecord | None]]:
        """Cut the batch at its erasure records: each part comes with the one that follows it, the last with none."""
        start = -1
        for erasing in self.erasings:
            yield self._between(start, erasing.offset), erasing
            start = erasing.offset
        yield (self if start < 0 else self._between(start, self.last_offset + 1)), None

    def days(self) -> Iterator["Batch"]:
        """Cut the batch behind its ticks, so that a part closes days by its last record only."""
        start = -1
        for offset in self.offsets[self.kinds == TICK].tolist():
            yield self._between(start, offset + 1)
            start = offset
        yield self if start < 0 else self._between(start, self.last_offset + 1)

    def _between(self, after: int, before: int) -> "Batch":
        """Return the records between two offsets, neither included."""
        rows = slice(
            int(np.searchsorted(self.offsets, after, side="right")), int(np.searchsorted(self.offsets, before))
        )
        return replace(
            self.rows(rows),
            refused=[item for item in self.refused if after < item.record.offset < before],
            erasings=[],
            last_offset=before - 1,
        )

    def rows(self, rows: slice) -> "Batch":
        """Return a batch of a slice of rows; all else stays."""
        before, within = int((self.kinds[: rows.start] != TICK).sum()), int((self.kinds[rows] != TICK).sum())
        events = slice(before, before + within)
        return replace(
            self,
            **{name: getattr(self, name)[rows] for name in _ROWS},
            events=self.events.slice(before, within),
            customers=self.customers[events],
            countries=self.countries[events],
            channels=self.channels[events],
        )

"""The ids of a partition's customers, and the row of each.

They are kept as bytes in one array rather than as Python objects: objects would take four times as much memory, and
each would keep the megabyte of small objects around it from being returned to the system.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from stream_processors.native.compile import native
from stream_processors.native.hashing import hash_ids
from stream_processors.native.secret import home_slots
from stream_processors.native.strings import are_same, string_buffers
from stream_processors.state.table import SHARD_ROWS, Table, allocate
from stream_processors.types import AnyArray, ByteArray, Hashes, Int32Array, Int64Array, RowIndices

LETTERS = 16
"""Bytes allocated per id at first."""
LEAST_SLOTS = 2 * SHARD_ROWS
FULLEST = 0.7
"""Share of used slots above which their number is doubled."""


class Ids:
    """Ids by row, and rows by id.

    The ids are stored one after another in `_data`; `_ends` holds the end of each row's. Look-up is by open addressing,
    from a slot that a secret decides (`home_slots`): `_slots` hold row + 1, or 0. An erased customer's id is empty,
    which no other id is.

    Parameters
    ----------
    table
        Its column `id_hash` holds the hash of each row's id, 0 for an erased customer.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._rows = 0
        self.erased_count = 0
        """Rows of erased customers."""
        self._ends: Int64Array = allocate((SHARD_ROWS + 1,), np.dtype(np.int64))
        """Where each id begins, and the last one ends."""
        self._data: ByteArray = allocate((SHARD_ROWS * LETTERS,), np.dtype(np.uint8))
        self._slots: Int32Array = allocate((LEAST_SLOTS,), np.dtype(np.int32))

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, row: int) -> str:
        """Return the id of a row, empty if the customer was erased."""
        return self.take(np.array([row], np.intp))[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self.take(np.arange(self._rows)))

    def __contains__(self, customer_id: str) -> bool:
        return self.row(customer_id) is not None

    def take(self, rows: RowIndices) -> list[str]:
        """Return the ids of rows."""
        ends, letters = pa.py_buffer(self._ends), pa.py_buffer(self._data)
        every = pa.LargeStringArray.from_buffers(self._rows, ends, letters)
        found: list[str] = every.take(pa.array(rows)).to_numpy(zero_copy_only=False).tolist()
        return found

    def row(self, customer_id: str) -> int | None:
        """Return the row of a customer, None if there is none."""
        (row,) = self.find(pa.array([customer_id], pa.utf8()), hash_ids([customer_id])).tolist()
        return None if row < 0 else row

    def find(self, texts: pa.StringArray, hashes: Hashes) -> RowIndices:
        """Return the rows of customers, -1 for those who have none.

        Parameters
        ----------
        texts, hashes
            Their ids, none of them empty, and the hashes of these.
        """
        rows = np.empty(len(texts), np.intp)
        _find(
            *(*string_buffers(texts), np.ascontiguousarray(hashes), home_slots(hashes, len(self._slots)), len(texts)),
            *(self._data, self._ends, self._table["id_hash"], self._slots, len(self._slots), rows),
        )
        return rows

    def append(self, texts: pa.StringArray) -> None:
        """Append ids as the next rows; their hashes are in the table already. An empty id is an erased customer's."""
        letters, ends = string_buffers(texts)
        first, rows = self._rows, self._rows + len(texts)
        begin, taken = int(self._ends[first]), int(ends[len(texts)] - ends[0])
        self._ends = _with_room(self._ends, first + 1, rows + 1)
        self._data = _with_room(self._data, begin, begin + taken)
        self._data[begin : begin + taken] = letters[ends[0] : ends[0] + taken]
        self._ends[first + 1 : rows + 1] = begin - ends[0] + ends[1 : len(texts) + 1].astype(np.int64)
        self._rows = rows
        self.erased_count += int((np.diff(ends[: len(texts) + 1]) == 0).sum())
        if rows > FULLEST * len(self._slots):
            self._slots = allocate((1 << int(rows / FULLEST).bit_length(),), np.dtype(np.int32))
            first = 0
        homes = home_slots(self._table["id_hash"][first:rows], len(self._slots))
        _fill(first, rows, self._ends, homes, self._slots, len(self._slots))

    def erase(self, row: int) -> None:
        """Remove a row's id, leaving no byte of it; the caller clears its hash."""
        begin, end, last = (int(self._ends[place]) for place in (row, row + 1, self._rows))
        self._data[begin : begin + last - end] = self._data[end:last]
        self._data[begin + last - end : last] = 0
        self._ends[row + 1 : self._rows + 1] -= end - begin
        self.erased_count += 1


def _with_room(array: AnyArray, used: int, wanted: int) -> AnyArray:
    """Return the array, or one of at least twice its length with what is used of it, if it is too short."""
    if wanted <= len(array):
        return array
    larger = allocate((max(wanted, 2 * len(array)),), array.dtype)
    larger[:used] = array[:used]
    return larger


@native(np.uint8, np.int32, np.uint64, np.int32, None, np.uint8, np.int64, np.uint64, np.int32, None, np.intp)
def _find(  # noqa: PLR0917 - machine code is called by position
    wanted: ByteArray,
    wanted_ends: Int32Array,
    wanted_hashes: Hashes,
    homes: Int32Array,
    count: int,
    letters: ByteArray,
    ends: Int64Array,
    hashes: Hashes,
    slots: Int32Array,
    slot_count: int,
    rows: RowIndices,
) -> int:
    for number in range(count):
        value, begin = wanted_hashes[number], wanted_ends[number]
        size = wanted_ends[number + 1] - begin
        slot = np.int64(homes[number])
        found = -1
        while slots[slot] != 0 and found < 0:
            row = slots[slot] - 1
            at = ends[row]
            if hashes[row] == value and ends[row + 1] - at == size and are_same(letters, at, wanted, begin, size):
                found = row
            slot = (slot + 1) & (slot_count - 1)
        rows[number] = found
    return count


@native(None, None, np.int64, np.int32, np.int32, None)
def _fill(first: int, stop: int, ends: Int64Array, homes: Int32Array, slots: Int32Array, slot_count: int) -> int:  # noqa: PLR0917
    for row in range(first, stop):
        if ends[row + 1] > ends[row]:
            slot = np.int64(homes[row - first])
            while slots[slot] != 0:
                slot = (slot + 1) & (slot_count - 1)
            slots[slot] = row + 1
    return stop

"""Unpack producers' batches: where the key and the value of each record are, without an object for each.

Decompressing and scanning run outside Python's interpreter lock. A batch's checksum was verified when it was
fetched; sizes within it are checked all the same, since machine code reads wherever it is pointed to.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode

from ebb.errors import CorruptError
from stream_processors.batch import Record
from stream_processors.ingest.json_tokens import NONE
from stream_processors.ingest.record_batches import RecordBatch
from stream_processors.native.compile import native, native_helper, native_inline
from stream_processors.types import ByteArray, Int64Array

PADDING = 32
"""Zeros after all records: a scan may read so far beyond a value's end before it notices."""
CODECS: dict[int, Callable[[memoryview], bytes | memoryview]] = {
    0: lambda body: body,
    1: gzip_decode,
    2: lambda body: snappy_decode(bytes(body)),
    3: lz4_decode,
    4: zstd_decode,
}
"""By their numbers in a batch's header."""
_COLUMNS = 8
_LONGEST_VARINT = 64
"""Bits."""


class Spans(NamedTuple):
    """Where a part of each record is in the text."""

    begins: Int64Array
    sizes: Int64Array
    """Bytes, `NONE` where there is none; of headers, their number."""


@dataclass(frozen=True)
class Records:
    """Records of several batches, one after another, as columns of equal length."""

    text: ByteArray
    """All bytes; a zero follows each value, and `PADDING` the last."""
    offsets: Int64Array
    timestamps: Int64Array
    """Milliseconds."""
    keys: Spans
    values: Spans
    headers: Spans
    counts: list[int]
    """Records of each batch."""

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, place: int) -> Record:
        """Return one record as an object."""
        return Record(
            int(self.offsets[place]),
            int(self.timestamps[place]),
            self._bytes(int(self.keys.begins[place]), int(self.keys.sizes[place])),
            self._bytes(int(self.values.begins[place]), int(self.values.sizes[place])),
            tuple(self._headers(int(self.headers.begins[place]), int(self.headers.sizes[place]))),
        )

    def __iter__(self) -> Iterator[Record]:
        """Yield the records as objects."""
        return map(self.__getitem__, range(len(self)))

    def _bytes(self, begin: int, size: int) -> bytes | None:
        return None if size == NONE else self.text[begin : begin + size].tobytes()

    def _headers(self, at: int, count: int) -> Iterator[tuple[str, bytes | None]]:
        for _ in range(count):
            size, at = self._varint(at)
            name = (self._bytes(at, size) or b"").decode(errors="replace")
            size, at = self._varint(at + size)
            yield name, self._bytes(at, size)
            at += max(size, 0)

    def _varint(self, at: int) -> tuple[int, int]:
        found = shift = 0
        more = True
        while more:
            letter = int(self.text[at])
            found |= (letter & 0x7F) << shift
            more, shift, at = letter >= 0x80, shift + 7, at + 1
        return found >> 1 ^ -(found & 1), at


def unpack(batches: Sequence[RecordBatch]) -> Records:
    """Unpack batches, at least one.

    Raises
    ------
    CorruptError
        If the records of one are not what its header says.
    """
    bodies = [CODECS[batch.head.codec](batch.body) for batch in batches]
    ends = np.cumsum(list(map(len, bodies)))
    text = np.empty(int(ends[-1]) + PADDING, np.uint8)
    text[-PADDING:] = 0
    heads = np.empty((len(batches), _FIELDS), np.int64)
    for number, (batch, body, end) in enumerate(zip(batches, bodies, ends.tolist(), strict=True)):
        begin = end - len(body)
        text[begin:end] = np.frombuffer(body, np.uint8)
        heads[number] = _Head.of(batch, begin, end)
    found = np.empty((_COLUMNS, int(heads[:, _Head._fields.index("records")].sum())), np.int64)
    counts = np.zeros(len(batches), np.int64)
    count = _unpack(text, heads, len(batches), found, found.shape[1], counts)
    if count < 0:
        head = batches[-count - 1].head
        what = f"The records of the producer's batch at offset {head.base_offset} are not what its head says."
        raise CorruptError(what, hint="See whether another consumer can read them; the broker's log may be damaged.")
    offsets, timestamps, *spans = found[:, :count]
    keys, values, headers = Spans(*spans[:2]), Spans(*spans[2:4]), Spans(*spans[4:])
    return Records(text, offsets, timestamps, keys, values, headers, counts.tolist())


class _Head(NamedTuple):
    """A batch as numbers, for machine code."""

    at: int
    end: int
    """Where its records begin and end in the text."""
    records: int
    offset: int
    time: int
    """Base of the records' deltas."""
    tells_times: int
    """Whether records carry their own timestamps: 1, or 0."""
    first: int
    before: int
    """Offsets of the records to return, the second not included."""

    @classmethod
    def of(cls, batch: RecordBatch, begin: int, end: int) -> "_Head":
        head = batch.head
        time = head.max_timestamp if head.is_appended else head.first_timestamp
        return cls(begin, end, head.count, head.base_offset, time, not head.is_appended, batch.first, batch.end)


_FIELDS = len(_Head._fields)


@native_inline
def _varint(text: ByteArray, at: int, end: int) -> tuple[int, int]:
    """Read a zig-zag varint; return it and where it ends: beyond `end` if it does not."""
    found = shift = 0
    while at < end and shift < _LONGEST_VARINT:
        letter = text[at]
        at += 1
        found |= (letter & 0x7F) << shift
        if letter < 0x80:
            return found >> 1 ^ -(found & 1), at
        shift += 7
    return 0, end + 1


@native_helper
def _span(text: ByteArray, at: int, end: int) -> tuple[int, int, int]:
    """Read bytes prefixed by their size; return where they begin, the size, and where the next part begins."""
    size, at = _varint(text, at, end)
    if size < NONE or size > end - at:
        return at, NONE, end + 1
    return at, size, at + max(size, 0)


@native_helper
def _past_headers(text: ByteArray, at: int, end: int, count: int) -> int:
    for _ in range(2 * count):
        if at > end:
            return at
        _, _, at = _span(text, at, end)
    return at


class _Target(NamedTuple):
    """Addresses of the columns to write to, one after another."""

    room: int
    """Rows of a column."""
    found: Int64Array


@native_inline
def _read(text: ByteArray, at: int, head: _Head, row: int, target: _Target) -> tuple[int, int]:
    """Read one record into a row, KIP-98; return where it ends, `NONE` if it does not end well, and the next row."""
    room, found = target.room, target.found
    size, at = _varint(text, at, head.end)
    if size < 0 or size > head.end - at:
        return NONE, row
    end = at + size
    later, at = _varint(text, at + 1, end)  # after a byte of attributes that are unused
    further, at = _varint(text, at, end)
    key, key_size, at = _span(text, at, end)
    value, value_size, behind = _span(text, at, end)
    count, at = _varint(text, behind, end)
    if at > end or not 0 <= count <= end - at or _past_headers(text, at, end, count) != end:
        return NONE, row
    if not head.first <= head.offset + further < head.before:
        return end, row
    found[row], found[room + row] = head.offset + further, head.time + later * head.tells_times
    found[2 * room + row], found[3 * room + row] = key, key_size
    found[4 * room + row], found[5 * room + row] = value, value_size
    found[6 * room + row], found[7 * room + row] = at, count
    text[behind] = 0  # the number of headers was there; it has been read, and this text is our own copy
    return end, row + 1


@native(np.uint8, np.int64, None, np.int64, None, np.int64)
def _unpack(text: ByteArray, heads: Int64Array, batches: int, found: Int64Array, room: int, counts: Int64Array) -> int:  # noqa: PLR0917
    """Fill columns; return the records found, or minus the number of the batch, from 1, that is not as it should be."""
    row = 0
    for number in range(batches):
        field = number * _FIELDS
        head = _Head(
            *(heads[field], heads[field + 1], heads[field + 2], heads[field + 3]),
            *(heads[field + 4], heads[field + 5], heads[field + 6], heads[field + 7]),
        )
        before, at = row, head.at
        for _ in range(head.records):
            at, row = _read(text, at, head, row, _Target(room, found))
            if at == NONE:
                return -number - 1
        if at != head.end:
            return -number - 1
        counts[number] = row - before
    return row

"""Dictionary encoding of columns of few distinct strings, so that ClickHouse need not hash each row's string."""

import numpy as np
import pyarrow as pa

from stream_processors.native.compile import native, native_inline
from stream_processors.native.strings import string_buffers
from stream_processors.types import ByteArray, Int16Array, Int32Array, Words

MOST = 2048
"""Most distinct strings of a column; one with more is left as it is."""
MOST_BYTES = 2**28
"""Most bytes of a column; a larger one does not hold short strings, and one of eight times that is not contiguous."""
_SLOTS = 4 * MOST
"""Slots of the hash table, few enough to stay in the nearest cache."""
_TOP = np.uint64(64 - _SLOTS.bit_length() + 1)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: products with it differ in their highest bits (Knuth, TAOCP, 6.4)."""
_WORD = 8
_MASKS = np.array([(1 << 8 * size) - 1 for size in range(_WORD + 1)], np.uint64)
_MANY = -1


def dictionary_encode(texts: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return strings dictionary-encoded, in one chunk.

    Nulls stay. A column of more than `MOST` distinct strings, or of more than `MOST_BYTES`, is returned as it is.
    """
    if texts.nbytes > MOST_BYTES:
        return texts
    column = texts.combine_chunks()
    count = len(column)
    present, _, given = column.buffers()
    if column.null_count == count or given is None:
        return column
    data, offsets = string_buffers(column)
    valid = np.frombuffer(present, np.uint8) if column.null_count else np.zeros(1, np.uint8)
    numbers = np.zeros(count, np.int16)
    rows = np.empty(MOST, np.int32)
    different = _number(
        data,
        len(data),
        offsets,
        valid,
        column.offset if column.null_count else _MANY,
        count,
        np.zeros(3 * _SLOTS, np.uint64),
        rows,
        numbers,
    )
    if different == _MANY:
        return column
    missing = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
    return pa.DictionaryArray.from_arrays(pa.array(numbers, mask=missing), column.take(pa.array(rows[:different])))


@native_inline
def _word(data: ByteArray, at: int, size: int, end: int) -> np.uint64:
    """Return up to eight bytes as one number."""
    if at + _WORD <= end:
        # All in one expression, so that the compiler makes one instruction of it.
        whole: np.uint64 = (
            np.uint64(data[at])
            | np.uint64(data[at + 1]) << np.uint64(8)
            | np.uint64(data[at + 2]) << np.uint64(16)
            | np.uint64(data[at + 3]) << np.uint64(24)
            | np.uint64(data[at + 4]) << np.uint64(32)
            | np.uint64(data[at + 5]) << np.uint64(40)
            | np.uint64(data[at + 6]) << np.uint64(48)
            | np.uint64(data[at + 7]) << np.uint64(56)
        )
        return np.uint64(whole & _MASKS[min(size, _WORD)])
    value = np.uint64(0)
    for place in range(min(size, _WORD)):
        value |= np.uint64(data[at + place]) << np.uint64(8 * place)
    return value


@native_inline
def _same(data: ByteArray, one: int, other: int, size: int) -> bool:
    """Return whether the bytes between the first and the last eight are equal."""
    place = _WORD
    while place < size - _WORD and data[one + place] == data[other + place]:
        place += 1
    return place >= size - _WORD


@native(np.uint8, None, np.int32, np.uint8, None, None, np.uint64, np.int32, np.int16)
def _number(  # noqa: PLR0917 - machine code is called by position
    data: ByteArray,
    end: int,
    offsets: Int32Array,
    valid: ByteArray,
    first: int,
    count: int,
    slots: Words,
    rows: Int32Array,
    numbers: Int16Array,
) -> int:
    """Encode the strings; `first` is the position of the first one's validity bit, or below 0 if none is null.

    Returns
    -------
    int
        Number of distinct strings, whose first rows are in `rows`; `_MANY` if more than `MOST`.
    """
    different = 0
    for row in range(count):
        bit = first + row
        if first >= 0 and not valid[bit >> 3] >> (bit & 7) & 1:
            continue
        at = offsets[row]
        size = offsets[row + 1] - at
        head = _word(data, at, size, end)
        tail = _word(data, at + size - _WORD, _WORD, end) if size > _WORD else np.uint64(0)
        slot = np.int64((head ^ (tail + np.uint64(size)) * _SPREAD) * _SPREAD >> _TOP)
        while True:
            place = 3 * slot
            # The third number of a slot holds the string's size and its code, counted from one.
            held = slots[place + 2]
            if not held:
                if different == MOST:
                    return _MANY
                rows[different] = row
                different += 1
                slots[place] = head
                slots[place + 1] = tail
                slots[place + 2] = np.uint64(size) << np.uint64(32) | np.uint64(different)
                numbers[row] = different - 1
                break
            number = np.int64(held & np.uint64(0xFFFFFFFF)) - 1
            if (
                slots[place] == head
                and slots[place + 1] == tail
                and np.int64(held >> np.uint64(32)) == size
                and _same(data, at, offsets[rows[number]], size)
            ):
                numbers[row] = number
                break
            slot = (slot + 1) & (_SLOTS - 1)
    return different

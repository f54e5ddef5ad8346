"""Dictionary encoding of columns of strings: codes into their distinct strings, in order of appearance.

Arrow's own places strings by a public hash that is easily inverted: 20,000 ids crafted within 5 seconds took it 560 ms,
other ids 1 ms (docs/adr/0029).
"""

import numpy as np
import pyarrow as pa

from stream_processors.native.compile import native, native_inline
from stream_processors.native.hashing import State
from stream_processors.native.secret import SECRET, absorbed, home_slot, keyed_state
from stream_processors.native.strings import string_buffers
from stream_processors.types import ByteArray, Int32Array, RowIndices, Words

MOST = 2048
"""Most distinct strings of a column for ClickHouse; one with more is left as it is."""
MOST_BYTES = 2**28
"""Most bytes of such a column; a larger one holds no short strings, and one of eight times that is not contiguous."""
_WORD = 8
_MASKS = np.array([(1 << 8 * size) - 1 for size in range(_WORD + 1)], np.uint64)
_MANY = -1


def dictionary_encode(texts: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return strings dictionary-encoded, in one chunk, so that ClickHouse need not hash each row's string.

    Nulls stay. A column of more than `MOST` distinct strings, or of more than `MOST_BYTES`, is returned as it is.
    """
    if texts.nbytes > MOST_BYTES:
        return texts
    column = texts.combine_chunks()
    if column.null_count == len(column):
        return column
    codes, rows = _encode(column, MOST)
    if rows is None:
        return column
    missing = codes < 0 if column.null_count else None
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int16), mask=missing), column.take(pa.array(rows)))


def codes_and_values(texts: pa.StringArray) -> tuple[RowIndices, pa.StringArray]:
    """Return the code of each string, -1 for null, shape (len(texts),), and the distinct strings by their code."""
    codes, rows = _encode(texts, len(texts))
    return codes, texts.take(pa.array(rows))


def _encode(column: pa.StringArray, most: int) -> tuple[RowIndices, Int32Array | None]:
    """Return the code of each string, and the first row of each distinct one: None if there are more than `most`."""
    count = len(column)
    most = min(count, most)
    present = column.buffers()[0]
    data, offsets = string_buffers(column)
    valid = np.frombuffer(present, np.uint8) if column.null_count else np.zeros(1, np.uint8)
    codes, rows = np.empty(count, np.intp), np.empty(most, np.int32)
    slots = np.zeros(1 << (2 * most).bit_length(), np.int32)
    different = _number(
        *(data, len(data), offsets, valid, column.offset if column.null_count else _MANY, count, SECRET),
        *(slots, len(slots), np.empty(_FIELDS * most, np.uint64), most, rows, codes),
    )
    return codes, None if different == _MANY else rows[:different]


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


@native_inline
def _state(data: ByteArray, at: int, size: int, end: int, key: Words) -> State:
    """Return the state after all bytes of a string.

    Its size is left out: at most nine strings, all of different sizes, consist of the same words.
    """
    state = absorbed(keyed_state(key), _word(data, at, size, end))
    place = _WORD
    while place < size - _WORD:
        state = absorbed(state, _word(data, at + place, _WORD, end))
        place += _WORD
    if size > _WORD:
        state = absorbed(state, _word(data, at + size - _WORD, _WORD, end))
    return state


_FIELDS = 3
"""Numbers kept of a distinct string: its first and its last eight bytes, and its size."""


@native(
    *(np.uint8, None, np.int32, np.uint8, None, None, np.uint64),
    *(np.int32, None, np.uint64, None, np.int32, np.intp),
)
def _number(  # noqa: PLR0917 - machine code is called by position
    data: ByteArray,
    end: int,
    offsets: Int32Array,
    valid: ByteArray,
    first: int,
    count: int,
    key: Words,
    slots: Int32Array,
    slot_count: int,
    kept: Words,
    most: int,
    rows: Int32Array,
    codes: RowIndices,
) -> int:
    """Encode the strings; `first` is the position of the first one's validity bit, or below 0 if none is null.

    Returns
    -------
    int
        Number of distinct strings, whose first rows are in `rows`; `_MANY` if more than `most`.
    """
    for row in range(count):  # before the table is touched, as `home_slots` says
        bit = first + row
        if first >= 0 and not valid[bit >> 3] >> (bit & 7) & 1:
            codes[row] = -1
            continue
        at = offsets[row]
        codes[row] = home_slot(_state(data, at, offsets[row + 1] - at, end, key), slot_count)
    different = 0
    for row in range(count):
        slot = int(codes[row])
        if slot < 0:
            continue
        at = offsets[row]
        size = offsets[row + 1] - at
        head = _word(data, at, size, end)
        tail = _word(data, at + size - _WORD, _WORD, end) if size > _WORD else np.uint64(0)
        while True:
            code = int(slots[slot]) - 1  # slots hold a code + 1, or 0
            if code < 0:
                if different == most:
                    return _MANY
                rows[different] = row
                place = _FIELDS * different
                kept[place], kept[place + 1], kept[place + 2] = head, tail, np.uint64(size)
                codes[row] = different
                different += 1
                slots[slot] = different
                break
            place = _FIELDS * code
            if (
                kept[place] == head
                and kept[place + 1] == tail
                and np.int64(kept[place + 2]) == size
                and _same(data, at, offsets[rows[code]], size)
            ):
                codes[row] = code
                break
            slot = (slot + 1) & (slot_count - 1)
    return different

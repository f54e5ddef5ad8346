"""Columns of few texts that repeat, as numbers of those texts: ClickHouse need not look at each of them again."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_processors.native.compile import Bytes, native, native_inline
from stream_processors.native.strings import string_buffers

MOST = 2048
"""Texts that a column may have; one of more is left as it is, for it would not repeat."""
MOST_BYTES = 2**28
"""Size of a column; one that is larger does not hold short texts, and one of eight times that has no one piece."""
_SLOTS = 4 * MOST
"""Slots of the table by which a text is found, few enough to stay in the nearest cache."""
_TOP = np.uint64(64 - _SLOTS.bit_length() + 1)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: products with it differ in their highest bits (Knuth, TAOCP, 6.4)."""
_WORD = 8
_MASKS = np.array([(1 << 8 * size) - 1 for size in range(_WORD + 1)], np.uint64)
_MANY = -1

Words = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int32]


def dictionary_encode(texts: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return texts as numbers of the different ones among them (an Arrow dictionary), in one piece.

    Nulls stay. A column of more than `MOST` different texts, or of more than `MOST_BYTES`, keeps its texts.
    """
    if texts.nbytes > MOST_BYTES:
        return texts
    column = texts.combine_chunks()
    count = len(column)
    present, _, given = column.buffers()
    if column.null_count == count or given is None:
        return column
    letters, offsets = string_buffers(column)
    told = np.frombuffer(present, np.uint8) if column.null_count else np.zeros(1, np.uint8)
    numbers = np.zeros(count, np.int16)
    rows = np.empty(MOST, np.int32)
    different = _number(
        letters,
        len(letters),
        offsets,
        told,
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
def _word(letters: Bytes, at: int, size: int, end: int) -> np.uint64:
    """Return up to eight letters as one number."""
    if at + _WORD <= end:
        # All in one term, so that the compiler makes one instruction of it.
        whole: np.uint64 = (
            np.uint64(letters[at])
            | np.uint64(letters[at + 1]) << np.uint64(8)
            | np.uint64(letters[at + 2]) << np.uint64(16)
            | np.uint64(letters[at + 3]) << np.uint64(24)
            | np.uint64(letters[at + 4]) << np.uint64(32)
            | np.uint64(letters[at + 5]) << np.uint64(40)
            | np.uint64(letters[at + 6]) << np.uint64(48)
            | np.uint64(letters[at + 7]) << np.uint64(56)
        )
        return np.uint64(whole & _MASKS[min(size, _WORD)])
    value = np.uint64(0)
    for place in range(min(size, _WORD)):
        value |= np.uint64(letters[at + place]) << np.uint64(8 * place)
    return value


@native_inline
def _same(letters: Bytes, one: int, other: int, size: int) -> bool:
    """Tell whether the letters between the first and the last eight are the same."""
    place = _WORD
    while place < size - _WORD and letters[one + place] == letters[other + place]:
        place += 1
    return place >= size - _WORD


@native(np.uint8, None, np.int32, np.uint8, None, None, np.uint64, np.int32, np.int16)
def _number(  # noqa: PLR0917 - machine code is called by position
    letters: Bytes,
    end: int,
    offsets: Numbers,
    told: Bytes,
    first: int,
    count: int,
    slots: Words,
    rows: Numbers,
    numbers: npt.NDArray[np.int16],
) -> int:
    """Encode the strings; `first` is the position of the first one's validity bit, or below 0 if none is null.

    Returns
    -------
    int
        How many different ones there are, whose first rows are in `rows`; `_MANY` if more than `MOST`.
    """
    different = 0
    for row in range(count):
        bit = first + row
        if first >= 0 and not told[bit >> 3] >> (bit & 7) & 1:
            continue
        at = offsets[row]
        size = offsets[row + 1] - at
        head = _word(letters, at, size, end)
        tail = _word(letters, at + size - _WORD, _WORD, end) if size > _WORD else np.uint64(0)
        slot = np.int64((head ^ (tail + np.uint64(size)) * _SPREAD) * _SPREAD >> _TOP)
        while True:
            place = 3 * slot
            # In the third number of a slot: size of the text, and its own number counted from one.
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
                and _same(letters, at, offsets[rows[number]], size)
            ):
                numbers[row] = number
                break
            slot = (slot + 1) & (_SLOTS - 1)
    return different

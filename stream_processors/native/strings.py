"""Columns of text as machine code sees them: letters, one text behind another, and where each of them ends."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_processors.native.compile import Bytes, native_inline


def string_buffers(texts: pa.StringArray) -> tuple[Bytes, npt.NDArray[np.int32]]:
    """Return the letters of texts, at least one byte, and where each text begins and the last one ends.

    Of nulls and of no texts at all it tells the places that they have in memory, where nothing stands.
    """
    _, ends, letters = texts.buffers()
    if letters is None or not letters.size:
        return np.zeros(1, np.uint8), np.zeros(len(texts) + 1, np.int32)
    return np.frombuffer(letters, np.uint8), np.frombuffer(ends, np.int32)[texts.offset :]


@native_inline
def are_same(letters: Bytes, at: int, others: Bytes, other: int, size: int) -> bool:
    """Tell whether so many letters are the same in both places."""
    for place in range(size):  # noqa: SIM110 - machine code has no generators
        if letters[at + place] != others[other + place]:
            return False
    return True

"""Arrow's string columns as machine code sees them: one buffer of bytes, and the offsets of each string."""

import numpy as np
import pyarrow as pa

from stream_processors.native.compile import native_inline
from stream_processors.types import ByteArray, Int32Array


def string_buffers(texts: pa.StringArray) -> tuple[ByteArray, Int32Array]:
    """Return the bytes of strings, at least one byte, and the offsets where each begins and the last ends.

    Nulls have an empty span; an empty column has one zero byte.
    """
    _, ends, data = texts.buffers()
    if data is None or not data.size:
        return np.zeros(1, np.uint8), np.zeros(len(texts) + 1, np.int32)
    return np.frombuffer(data, np.uint8), np.frombuffer(ends, np.int32)[texts.offset :]


@native_inline
def are_same(data: ByteArray, at: int, others: ByteArray, other: int, size: int) -> bool:
    """Return whether `size` bytes are equal at both positions."""
    for place in range(size):  # noqa: SIM110 - machine code has no generators
        if data[at + place] != others[other + place]:
            return False
    return True

"""Types that the modules of this room share: arrays of numpy, named by what they hold."""

from typing import Any

import numpy as np
import numpy.typing as npt

AnyArray = npt.NDArray[Any]
ByteArray = npt.NDArray[np.uint8]
"""Bytes of text or of messages, one after the other."""
Flags = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]
"""Features, probabilities and the like, in the precision in which they are published."""
Float64Array = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]
Int8Array = npt.NDArray[np.int8]
Int16Array = npt.NDArray[np.int16]
Int32Array = npt.NDArray[np.int32]
"""Positions in Arrow's buffers, and slots of hash tables."""
Int64Array = npt.NDArray[np.int64]
"""Offsets, times in milliseconds, day numbers, amounts in minor units."""
RowIndices = npt.NDArray[np.intp]
"""Indices of rows: of customers in a partition's state, or of records in a batch."""
Words = npt.NDArray[np.uint64]
"""64-bit words of a bitmap or a hash table."""

"""Types that the modules of this room share: arrays of numpy, named by what they hold."""

from typing import Any

import numpy as np
import numpy.typing as npt

AnyArray = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]
"""Features and probabilities, in the precision in which they are published."""
Floats = npt.NDArray[np.float64]
Inputs = npt.NDArray[np.floating[Any]]
"""Design matrix in any precision, shape (n, `len(INPUTS)`)."""
Outcomes = npt.NDArray[np.uint8]
"""Labels, 0 or 1."""
Probabilities = npt.NDArray[np.floating[Any]]
"""Probabilities in any precision; NaN where there is no prediction."""
Reals = npt.NDArray[np.floating[Any]]
"""Numbers in any precision."""
RowIndices = npt.NDArray[np.intp]
State = dict[str, npt.NDArray[Any]]
"""Plain numeric arrays by name: what a checkpoint holds; nothing in it is executed."""

"""Array types of the room, by what they hold; shapes are where they are used."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Inputs = npt.NDArray[np.floating[Any]]
"""Design matrix in any precision, shape (n, `len(INPUTS)`)."""
Outcomes = npt.NDArray[np.uint8]
"""Matured labels, 0 or 1, shape (n,)."""
Probabilities = npt.NDArray[np.floating[Any]]
"""Shape (n,), within [0, 1]; NaN where there is no prediction."""
State = dict[str, npt.NDArray[Any]]
"""Numeric arrays by name: what a checkpoint holds. Nothing in it is executed."""
SavedState = Mapping[str, npt.NDArray[Any]]
"""`State` as `restore` reads it."""

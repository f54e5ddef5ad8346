"""Some inputs of the design matrix, by name: what a candidate sees of it."""

from collections.abc import Sequence

import numpy as np

from online_ml.candidates.base import Inputs
from online_ml.transforms import POSITION


class Chosen:
    """The columns of named inputs.

    Parameters
    ----------
    names
        Out of `online_ml.transforms.INPUTS`; if they are all of them, in that order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._columns = np.array([POSITION[name] for name in names], dtype=np.intp)

    def of(self, inputs: Inputs) -> Inputs:
        """Return these columns of a design matrix: the matrix itself if they are all."""
        return inputs if len(self._columns) == inputs.shape[1] else inputs[:, self._columns]

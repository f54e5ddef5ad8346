"""Running mean and spread of inputs, with a floor that keeps rare inputs from exploding.

River's `StandardScaler` divides by any spread above zero: an input that was ever constant leaves one of 1e-9 by
rounding, or a negative variance, and the first customer who differs then gets a logit of thousands. Here the spread is
never taken below `FLOOR`; the moments are the same otherwise (Chan, Golub and LeVeque 1979, the pairwise update).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from online_ml.candidates.base import Floats, State

FLOOR = 0.1
"""Least spread. Inputs are logarithms, shares and steps: 0.1 of each is a difference hardly worth a weight."""
MEMORY = 500_000
"""Labels after which old ones count no more than new ones, so that the moments follow a population that changes."""


class Standardiser:
    """Moments of the inputs seen so far.

    Parameters
    ----------
    width
        Number of inputs.
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self.mean: Floats = np.zeros(width)
        self.variance: Floats = np.zeros(width)

    @property
    def scale(self) -> Floats:
        """Spread to divide by, shape (width,); 1 before anything is seen."""
        if self.count == 0:
            return np.ones_like(self.mean)
        scale: Floats = np.maximum(np.sqrt(self.variance), FLOOR)
        return scale

    def learn_many(self, inputs: Floats) -> None:
        """Take in a batch of shape (n, width), n ≥ 1."""
        n = len(inputs)
        new = n / (self.count + n)
        mean = inputs.mean(axis=0)
        deviations = inputs - mean
        variance = np.einsum("ij,ij->j", deviations, deviations) / n
        shift = mean - self.mean
        self.variance = (1 - new) * self.variance + new * variance + new * (1 - new) * shift**2
        self.mean = self.mean + new * shift
        self.count = min(self.count + n, MEMORY)

    def transform(self, inputs: Floats) -> Floats:
        """Return the batch measured from the mean in spreads."""
        return (inputs - self.mean) / self.scale

    def state(self) -> State:
        """Return the moments as arrays."""
        return {"count": np.array(self.count), "mean": self.mean.copy(), "variance": self.variance.copy()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over saved moments."""
        self.count = int(state["count"])
        self.mean = state["mean"].astype(np.float64)
        self.variance = state["variance"].astype(np.float64)

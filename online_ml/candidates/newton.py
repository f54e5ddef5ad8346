"""Logistic regression that keeps the curvature of all it has seen: one Newton step a batch is enough.

What is kept of the past is its quadratic form around the weights of the time, so that the weights are always the
minimum of (everything remembered + a ridge). It is iteratively reweighted least squares (McCullagh and Nelder,
"Generalized Linear Models", 1989, section 2.5), each label entering once, at the weights that hold when it comes, with
exponential forgetting as in recursive least squares. Nothing is to be tuned by the size of the data: no step size, no
schedule, no scaling of the inputs.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from online_ml.scoring.scorer import sigmoid
from online_ml.types import AnyArray, Floats, Outcomes, State


class Newton:
    """Weights of a logistic model and the quadratic form that they minimise.

    Parameters
    ----------
    prior
        Weights before anything is learned, shape (width,).
    pull
        Strength with which each weight is drawn to its prior, in units of curvature, shape (width,), all above 0.
    """

    def __init__(self, prior: npt.ArrayLike, pull: npt.ArrayLike) -> None:
        self.weights: Floats = np.array(prior, dtype=np.float64)
        self._pull: Floats = np.array(pull, dtype=np.float64)
        self._drawn: Floats = self._pull * self.weights
        self._curvature: Floats = np.zeros((len(self.weights), len(self.weights)))
        self._moment: Floats = np.zeros(len(self.weights))

    def fade(self, kept: float) -> None:
        """Keep this share of what was learned."""
        self._curvature *= kept
        self._moment *= kept

    def learn(self, inputs: Floats, labels: Outcomes, weight: float = 1.0) -> None:
        """Take one Newton step on all that is remembered and these labels.

        Parameters
        ----------
        inputs
            Shape (n, width), n ≥ 1; a column of ones where there is to be an intercept.
        labels
            0 or 1, shape (n,).
        weight
            What one of these labels counts.
        """
        chance = sigmoid(inputs @ self.weights)
        share = inputs * (weight * chance * (1 - chance))[:, None]
        curvature = share.T @ inputs
        self._curvature += curvature
        self._moment += curvature @ self.weights + (weight * (labels - chance)) @ inputs
        found = np.linalg.solve(self._curvature + np.diag(self._pull), self._moment + self._drawn)
        self.weights = found.astype(np.float64)

    def state(self) -> State:
        """Return everything that learning changes, as arrays."""
        return {"curvature": self._curvature.copy(), "moment": self._moment.copy(), "weights": self.weights.copy()}

    def restore(self, state: Mapping[str, AnyArray]) -> None:
        """Load saved arrays."""
        self._curvature, self._moment, self.weights = (
            state[key].astype(np.float64) for key in ("curvature", "moment", "weights")
        )

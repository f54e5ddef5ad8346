"""Logistic regression that keeps the curvature of all it has seen: one Newton step a batch is enough.

What is kept of the past is its quadratic form around the weights of the time, so that the weights are always the
minimum of (everything remembered + a ridge). It is iteratively reweighted least squares (McCullagh and Nelder,
"Generalized Linear Models", 1989, section 2.5), each label entering once, at the weights that hold when it comes, with
exponential forgetting as in recursive least squares. Nothing is to be tuned by the size of the data: no step size, no
schedule, no scaling of the inputs.
"""

import numpy as np
import numpy.typing as npt

from online_ml.scoring.scorer import sigmoid
from online_ml.types import Floats, Outcomes, SavedState, State

STEPS = 30
"""Most steps on one batch; all but the first are rare."""
LEAST_SHARE = 2.0**-20
ROUNDING = 1e-9
"""Relative rise of the loss that rounding may cause."""


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

    def widen(self, count: int, pull: float) -> None:
        """Insert columns before the last one, drawn to 0: the same as if they had been there from the start, all 0.

        Parameters
        ----------
        pull
            Strength with which each new weight is drawn to 0, above 0.
        """
        new = [len(self.weights) - 1] * count
        self.weights, self._drawn, self._moment = (
            np.insert(vector, new, 0.0) for vector in (self.weights, self._drawn, self._moment)
        )
        self._pull = np.insert(self._pull, new, pull)
        self._curvature = np.insert(np.insert(self._curvature, new, 0.0, axis=0), new, 0.0, axis=1)

    def learn(self, inputs: Floats, labels: Outcomes, weight: float = 1.0) -> None:
        """Take one Newton step on all that is remembered and these labels; more, damped, where one would overshoot.

        A full step is the minimum of a quadratic form around the present weights. Where the labels are many and far
        from what the weights say, it may lie beyond the minimum itself, and the next step further still. Then the step
        is halved until it improves, and taken again from there (Boyd and Vandenberghe, "Convex Optimization", 2004,
        section 9.5.2), so that labels enter the memory at weights that hold.

        Parameters
        ----------
        inputs
            Shape (n, width), n ≥ 1; a column of ones where there is to be an intercept.
        labels
            0 or 1, shape (n,).
        weight
            What one of these labels counts.
        """
        remembered = self._curvature + np.diag(self._pull)
        moment = self._moment + self._drawn
        weights = self.weights

        def loss(tried: Floats) -> float:
            logits = inputs @ tried
            new = np.logaddexp(0, logits).sum() - labels @ logits
            return float(0.5 * tried @ remembered @ tried - moment @ tried + weight * new)

        before = loss(weights)
        for _ in range(STEPS):
            chance = sigmoid(inputs @ weights)
            curvature = (inputs * (weight * chance * (1 - chance))[:, None]).T @ inputs
            pushed = curvature @ weights + (weight * (labels - chance)) @ inputs
            step = np.linalg.solve(remembered + curvature, moment + pushed) - weights
            share, after = 1.0, loss(weights + step)
            # A loss that is no number is no improvement either.
            while not after <= before + ROUNDING * abs(before) and share > LEAST_SHARE:
                share /= 2
                after = loss(weights + share * step)
            weights, before = weights + share * step, after
            if share == 1.0:
                break
        self._curvature += curvature
        self._moment += pushed
        self.weights = weights.astype(np.float64)

    def state(self) -> State:
        """Return everything that learning changes, as arrays."""
        return {"curvature": self._curvature.copy(), "moment": self._moment.copy(), "weights": self.weights.copy()}

    def restore(self, state: SavedState) -> None:
        """Load saved arrays."""
        self._curvature, self._moment, self.weights = (
            state[key].astype(np.float64) for key in ("curvature", "moment", "weights")
        )

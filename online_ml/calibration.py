"""Platt's line over the logit, so that of customers scored 0.7, seventy in a hundred leave.

P(y = 1) = sigmoid(slope * logit + offset), fitted by Newton's method on predictions made before their label matured
(Platt 1999, "Probabilistic Outputs for Support Vector Machines", without his target smoothing: the penalty below plays
that part). The penalty draws the line to (1, 0), the identity, as strongly as `PRIOR` labels would.
"""

import numpy as np
import numpy.typing as npt

from online_ml.linear import Floats, sigmoid

IDENTITY = (1.0, 0.0)
PRIOR = 25.0
SLOPES = (0.05, 5.0)
"""The slope stays positive: calibration may never turn a ranking round."""
STEPS = 25


def fit(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.uint8]) -> tuple[float, float]:
    """Return slope and offset for matured predictions.

    Parameters
    ----------
    logits
        Uncalibrated logits as they were predicted, shape (n,); NaN rows (nothing was predicted) are left out.
    labels
        What became of it, 0 or 1, shape (n,).
    """
    known = ~np.isnan(logits)
    x: Floats = logits[known].astype(np.float64)
    y = labels[known].astype(np.float64)
    slope, offset = IDENTITY
    for _ in range(STEPS):
        p = sigmoid(slope * x + offset)
        error, weight = p - y, p * (1 - p)
        gradient = np.array([error @ x + PRIOR * (slope - 1), error.sum() + PRIOR * offset])
        cross = weight @ x
        hessian = np.array([[weight @ (x * x) + PRIOR, cross], [cross, weight.sum() + PRIOR]])
        step = np.linalg.solve(hessian, gradient)
        # A full Newton step from a flat place can overshoot; a bounded one always comes back.
        step = np.clip(step, -1.0, 1.0)
        slope = float(np.clip(slope - step[0], *SLOPES))
        offset -= float(step[1])
        if abs(step).max() < 1e-9:
            break
    return slope, offset

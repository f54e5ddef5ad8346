"""Platt's line over the logit, so that of customers scored 0.7, seventy in a hundred leave.

P(y = 1) = sigmoid(slope * logit + offset), learned from predictions made before their label matured (Platt 1999,
"Probabilistic Outputs for Support Vector Machines", without his target smoothing: the prior below plays that part),
by the recursion of `online_ml.candidates.newton`: one Newton step a batch, the past fading with event time.

What matures now was predicted a horizon ago. If all customers leave more often than predicted, part of that is a
fault of the model, which lasts, and part a season, which is over before today's predictions mature; a line that
followed the whole of it would also break the order between customers scored on different days. So only `TRUST` of the
found correction is applied.
"""

from collections.abc import Mapping

import numpy as np

from online_ml.candidates.newton import Newton
from online_ml.types import AnyArray, Outcomes, Reals, State

IDENTITY = (1.0, 0.0)
PRIOR = 25.0
"""Pull to the identity, as strong as so many independent labels would be."""
TRUST = 0.5
"""Share of the correction that is applied."""
MEMORY_HORIZONS = 0.5
"""Horizons of event time in which a label loses half its weight."""
SLOPES = (0.2, 5.0)
"""The slope stays positive: calibration may never turn a ranking round."""


class Calibration:
    """The line of one candidate.

    Parameters
    ----------
    horizon_days
        Days from a snapshot to its label.
    every_days
        Days from one snapshot to the next. Snapshots of one horizon share it, so `every / horizon` is what a label
        weighs against the prior.
    """

    def __init__(self, *, horizon_days: float = 14, every_days: float = 1) -> None:
        self._weight = min(every_days / horizon_days, 1.0)
        self._half_life = MEMORY_HORIZONS * horizon_days
        self._model = Newton(IDENTITY, (PRIOR, PRIOR))

    @property
    def line(self) -> tuple[float, float]:
        """Slope and offset to apply."""
        slope, offset = (np.array(IDENTITY) + TRUST * (self._model.weights - np.array(IDENTITY))).tolist()
        return slope, offset

    def age(self, days: float) -> None:
        """Let what was learned fade, before the labels that mature at the end of these days."""
        self._model.fade(0.5 ** (days / self._half_life))

    def learn(self, logits: Reals, labels: Outcomes) -> None:
        """Learn matured predictions.

        Parameters
        ----------
        logits
            Uncalibrated logits as they were predicted, shape (n,); NaN rows (nothing was predicted) are left out.
        labels
            What became of it, 0 or 1, shape (n,).
        """
        known = ~np.isnan(logits)
        if not known.any():
            return
        whole = np.column_stack([logits[known].astype(np.float64), np.ones(int(known.sum()))])
        self._model.learn(whole, labels[known], self._weight)
        self._model.weights[0] = np.clip(self._model.weights[0], *SLOPES)

    def state(self) -> State:
        """Return everything that learning changes, as arrays."""
        return self._model.state()

    def restore(self, state: Mapping[str, AnyArray]) -> None:
        """Load saved arrays."""
        self._model.restore(state)

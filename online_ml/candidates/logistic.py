"""Second-order logistic regression: the model of `online_ml.candidates.newton` over the inputs of the design matrix."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from online_ml.candidates.base import ColumnSelector
from online_ml.candidates.newton import Newton
from online_ml.scoring.scorer import payload
from online_ml.types import AnyArray, Floats, Inputs, Outcomes, State

MEMORY_HORIZONS = 2.0
"""Horizons of event time in which what was learned loses half its weight: old enough to average over a season's
weeks, young enough to follow a shift. Between 1 and 4 accuracy hardly depends on it."""
RIDGE = 2.0
"""Pull of every weight to zero, as strong as so many independent labels would be at an input of 2."""
INTERCEPT_RIDGE = 0.1
MEAN_MEMORY = 500_000
"""Labels after which the mean inputs, from which reasons are measured, follow a population that changes."""


class Logistic:
    """Second-order logistic regression on the inputs named.

    Neighbouring snapshots of one customer share most of their horizon, so that `horizon / every` labels carry about as
    much as one independent label: that is the weight that a label gets against the ridge.

    Parameters
    ----------
    name
        Name of the candidate.
    inputs
        Names of the inputs it sees, out of `online_ml.scoring.inputs.INPUTS`.
    horizon_days
        Days from a snapshot to its label.
    every_days
        Days from one snapshot to the next.
    memory_horizons
        Horizons of event time in which what was learned loses half its weight.
    """

    servable = True

    def __init__(
        self,
        name: str,
        inputs: Sequence[str],
        *,
        horizon_days: float = 14,
        every_days: float = 1,
        memory_horizons: float = MEMORY_HORIZONS,
    ) -> None:
        self.name = name
        self.inputs = list(inputs)
        self._chosen = ColumnSelector(inputs)
        self._weight = min(every_days / horizon_days, 1.0)
        self._half_life = memory_horizons * horizon_days
        width = len(self.inputs)
        self._model = Newton(np.zeros(width + 1), [RIDGE] * width + [INTERCEPT_RIDGE])
        self._mean: Floats = np.zeros(width)
        self._seen = 0

    def _with_one(self, inputs: Inputs) -> Floats:
        whole = np.ones((len(inputs), len(self.inputs) + 1))
        whole[:, :-1] = self._chosen.of(inputs)
        return whole

    @property
    def weights(self) -> Floats:
        """Weights of the inputs, in the order of `inputs`."""
        return self._model.weights[:-1]

    def logits(self, inputs: Inputs) -> Floats:
        """Return uncalibrated logits; see `Candidate.logits`."""
        return self._with_one(inputs) @ self._model.weights

    def age(self, days: float) -> None:
        """Let what was learned fade; see `Candidate.age`."""
        self._model.fade(0.5 ** (days / self._half_life))

    def learn_many(self, inputs: Inputs, labels: Outcomes) -> None:
        """Take one Newton step on all that is remembered and these labels; see `Candidate.learn_many`."""
        whole = self._with_one(inputs)
        new = len(inputs) / (self._seen + len(inputs))
        shift: Floats = new * (whole[:, :-1].mean(axis=0) - self._mean)
        self._mean = self._mean + shift
        self._seen = min(self._seen + len(inputs), MEAN_MEMORY)
        self._model.learn(whole, labels, self._weight)

    def payload(self, calibration: tuple[float, float]) -> dict[str, Any]:
        """Return the model as plain JSON; see `Candidate.payload`."""
        return payload(
            self.inputs,
            weights=self.weights,
            mean=self._mean,
            scale=np.ones(len(self.inputs)),
            intercept=float(self._model.weights[-1] + self._mean @ self.weights),
            calibration=calibration,
        )

    def state(self) -> State:
        """Return the quadratic form, the weights and the mean inputs as arrays."""
        return self._model.state() | {"mean": self._mean.copy(), "seen": np.array(self._seen)}

    def restore(self, state: Mapping[str, AnyArray]) -> None:
        """Load saved arrays; see `Candidate.restore`."""
        self._model.restore(state)
        self._mean = state["mean"].astype(np.float64)
        self._seen = int(state["seen"])

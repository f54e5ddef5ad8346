"""Second-order logistic regression: the model of `online_ml.candidates.newton` over the inputs of the design matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from online_ml.candidates.estimator import MatrixClassifier
from online_ml.candidates.newton import Newton
from online_ml.scoring.scorer import payload
from online_ml.types import Floats, Inputs, Outcomes, SavedState, State

MEMORY_HORIZONS = 2.0
"""Horizons of event time in which what was learned loses half its weight: old enough to average over a season's
weeks, young enough to follow a shift. Between 1 and 4 accuracy hardly depends on it."""
RIDGE = 2.0
"""Pull of every weight to zero, as strong as so many independent labels would be at an input of 2."""
INTERCEPT_RIDGE = 0.1
MEAN_MEMORY = 500_000
"""Labels after which the mean inputs, from which reasons are measured, follow a population that changes."""


class Logistic(MatrixClassifier):
    """Second-order logistic regression on the inputs named.

    Neighbouring snapshots of one customer share most of their horizon, so that `horizon / every` labels carry about as
    much as one independent label: that is the weight that a label gets against the ridge.

    Parameters
    ----------
    name
        Name of the candidate.
    inputs
        Names of the inputs it sees; see `MatrixClassifier`.
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
        name: str = "logistic",
        inputs: Sequence[str] | None = None,
        *,
        horizon_days: float = 14,
        every_days: float = 1,
        memory_horizons: float = MEMORY_HORIZONS,
    ) -> None:
        super().__init__(inputs)
        self.name = name
        self.horizon_days = horizon_days
        self.every_days = every_days
        self.memory_horizons = memory_horizons
        self._weight = min(every_days / horizon_days, 1.0)
        self._half_life = memory_horizons * horizon_days
        width = len(self._columns.names)
        self._model = Newton(np.zeros(width + 1), [RIDGE] * width + [INTERCEPT_RIDGE])
        self._mean: Floats = np.zeros(width)
        self._seen = 0

    @staticmethod
    def _with_one(chosen: Inputs) -> Floats:
        whole = np.ones((len(chosen), chosen.shape[1] + 1))
        whole[:, :-1] = chosen
        return whole

    @property
    def weights(self) -> Floats:
        """Weights of the inputs, in the order of `inputs`."""
        return self._model.weights[:-1]

    def _logits(self, chosen: Inputs) -> Floats:
        return self._with_one(chosen) @ self._model.weights

    def age(self, days: float) -> None:
        """Let what was learned fade; see `Candidate.age`."""
        self._model.fade(0.5 ** (days / self._half_life))

    def _learn(self, chosen: Inputs, labels: Outcomes) -> None:
        """Take one Newton step on all that is remembered and these labels."""
        whole = self._with_one(chosen)
        new = len(chosen) / (self._seen + len(chosen))
        shift: Floats = new * (whole[:, :-1].mean(axis=0) - self._mean)
        self._mean = self._mean + shift
        self._seen = min(self._seen + len(chosen), MEAN_MEMORY)
        self._model.learn(whole, labels, self._weight)

    def _widen(self, count: int) -> None:
        self._mean = np.append(self._mean, np.zeros(count))
        self._model.widen(count, RIDGE)

    def _unit_test_skips(self) -> set[str]:
        # A batch is one step, at the weights that hold before it; row by row is a step each. River's own linear models
        # declare the same.
        return {"check_learn_many_matches_learn_one"}

    def payload(self, calibration: tuple[float, float]) -> dict[str, Any]:
        """Return the model as plain JSON; see `Candidate.payload`."""
        return payload(
            self._columns.names,
            weights=self.weights,
            mean=self._mean,
            scale=np.ones(len(self._columns.names)),
            intercept=float(self._model.weights[-1] + self._mean @ self.weights),
            calibration=calibration,
        )

    def state(self) -> State:
        """Return the quadratic form, the weights and the mean inputs as arrays."""
        return self._model.state() | {"mean": self._mean.copy(), "seen": np.array(self._seen)}

    def restore(self, state: SavedState) -> None:
        """Load saved arrays; see `FullCandidate.restore`."""
        self._require_named()
        self._model.restore(state)
        self._mean = state["mean"].astype(np.float64)
        self._seen = int(state["seen"])

"""River's logistic regression on standardised inputs, learned in mini-batches with Adam: the first-order challenger."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from river import linear_model, optim, utils

from online_ml.candidates.estimator import MatrixClassifier
from online_ml.scoring.scorer import payload
from online_ml.types import Floats, Inputs, Outcomes, SavedState, State

FLOOR = 0.1
"""Least spread. Inputs are logarithms, shares and steps: 0.1 of each is a difference hardly worth a weight."""
MEMORY = 500_000
"""Labels after which old ones count no more than new ones, so that the moments follow a population that changes."""
BATCH = 64
"""Labels a step: small enough that a thousand labels are many steps, large enough to cost a microsecond each."""
LEARNING_RATE = 0.003
"""Adam's step. Weights move by at most about this much a mini-batch, whatever the gradient's size."""
INTERCEPT_RATE = 0.03
L2 = 1e-4


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
        """Return the batch minus the mean, divided by the spread."""
        return (inputs - self.mean) / self.scale

    def state(self) -> State:
        """Return the moments as arrays."""
        return {"count": np.array(self.count), "mean": self.mean.copy(), "variance": self.variance.copy()}

    def restore(self, state: SavedState) -> None:
        """Load saved moments."""
        self.count = int(state["count"])
        self.mean = state["mean"].astype(np.float64)
        self.variance = state["variance"].astype(np.float64)

    def widen(self, count: int) -> None:
        """Add inputs that have been 0 until now."""
        self.mean, self.variance = (np.append(moment, np.zeros(count)) for moment in (self.mean, self.variance))


class AdamLogistic(MatrixClassifier):
    """Scaled logistic regression on the inputs named; its steps do not fade with time, they are outweighed.

    Parameters
    ----------
    name
        Name of the candidate.
    inputs
        Names of the inputs it sees; see `MatrixClassifier`.
    learning_rate
        Step of Adam (Kingma and Ba 2014).
    """

    servable = True

    def __init__(
        self, name: str = "adam", inputs: Sequence[str] | None = None, *, learning_rate: float = LEARNING_RATE
    ) -> None:
        super().__init__(inputs)
        self.name = name
        self.learning_rate = learning_rate
        self._names = set(self._columns.names)
        self._standardiser = Standardiser(len(self._names))
        self._model = linear_model.LogisticRegression(
            optimizer=optim.Adam(learning_rate), intercept_lr=INTERCEPT_RATE, l2=L2
        )

    @property
    def weights(self) -> Floats:
        """Weights over the standardised inputs, in the order of their names."""
        known = self._model._weights  # River's public `weights` copies into a dictionary at each call
        return np.array([known.get(item, 0.0) for item in self._columns.names], dtype=np.float64)

    def _logits(self, chosen: Inputs) -> Floats:
        slopes = self.weights / self._standardiser.scale
        matrix = np.ascontiguousarray(chosen, dtype=np.float64)
        return matrix @ slopes + (float(self._model.intercept) - float(self._standardiser.mean @ slopes))

    def age(self, days: float) -> None:
        """Do nothing."""

    def _learn(self, chosen: Inputs, labels: Outcomes) -> None:
        """Take a step on every `BATCH` labels."""
        whole = np.ascontiguousarray(chosen, dtype=np.float64)
        for start in range(0, len(labels), BATCH):
            self._step(whole[start : start + BATCH], labels[start : start + BATCH])

    def _step(self, chosen: Floats, labels: Outcomes) -> None:
        self._standardiser.learn_many(chosen)
        scaled = self._standardiser.transform(chosen)
        model: Any = self._model
        # The body of River's `learn_many`, without the data frame around the matrix: wrapping and unwrapping it takes
        # four times as long as the step. A contract test holds one against the other.
        weights = model._enter_learn_mode(self._names)
        try:
            gradient = functools.partial(model._eval_gradient_many, scaled)
            model._fit(x=self._columns.names, y=labels.astype(np.float64), w=1.0, get_grad=gradient)
        finally:
            model._exit_learn_mode(weights)

    def _widen(self, count: int) -> None:
        self._names = set(self._columns.names)
        self._standardiser.widen(count)

    def _unit_test_skips(self) -> set[str]:
        # A mini-batch is one step along its mean gradient, as in River's own logistic regression, which it is.
        return {"check_learn_many_matches_learn_one"}

    def payload(self, calibration: tuple[float, float]) -> dict[str, Any]:
        """Return the model as plain JSON; see `Candidate.payload`."""
        return payload(
            self._columns.names,
            weights=self.weights,
            mean=self._standardiser.mean,
            scale=self._standardiser.scale,
            intercept=float(self._model.intercept),
            calibration=calibration,
        )

    def state(self) -> State:
        """Return weights, Adam's two moments and the input moments as arrays."""
        adam = self._model.optimizer
        return {
            **{f"inputs_{key}": value for key, value in self._standardiser.state().items()},
            "weights": self.weights,
            "intercept": np.array(float(self._model.intercept)),
            "steps": np.array(adam.n_iterations),
            "first": self._moments(adam.m),
            "second": self._moments(adam.v),
        }

    def restore(self, state: SavedState) -> None:
        """Load saved arrays; see `FullCandidate.restore`."""
        self._require_named()
        prefix = "inputs_"
        self._standardiser.restore({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        adam = self._model.optimizer
        adam.n_iterations = int(state["steps"])
        self._model.intercept = float(state["intercept"])
        if adam.n_iterations:
            weights, adam.m, adam.v = (
                dict(zip(self._columns.names, state[key].tolist(), strict=True))
                for key in ("weights", "first", "second")
            )
            self._model._weights = utils.VectorDict(weights)

    def _moments(self, kept: Mapping[Any, float] | None) -> Floats:
        return np.array([kept[item] if kept else 0.0 for item in self._columns.names], dtype=np.float64)

"""River's logistic regression on standardised inputs, learned in mini-batches with Adam: the first-order challenger."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from river import linear_model, optim, utils

from online_ml.candidates.base import ColumnSelector
from online_ml.scoring.scorer import payload
from online_ml.types import AnyArray, Floats, Inputs, Outcomes, State

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
        """Return the batch measured from the mean in spreads."""
        return (inputs - self.mean) / self.scale

    def state(self) -> State:
        """Return the moments as arrays."""
        return {"count": np.array(self.count), "mean": self.mean.copy(), "variance": self.variance.copy()}

    def restore(self, state: Mapping[str, AnyArray]) -> None:
        """Load saved moments."""
        self.count = int(state["count"])
        self.mean = state["mean"].astype(np.float64)
        self.variance = state["variance"].astype(np.float64)


class AdamLogistic:
    """Scaled logistic regression on the inputs named; its steps do not fade with time, they are outweighed.

    Parameters
    ----------
    name
        Name of the candidate.
    inputs
        Names of the inputs it sees, out of `online_ml.scoring.inputs.INPUTS`.
    learning_rate
        Step of Adam (Kingma and Ba 2014).
    """

    servable = True

    def __init__(self, name: str, inputs: Sequence[str], *, learning_rate: float = LEARNING_RATE) -> None:
        self.name = name
        self.inputs = list(inputs)
        self._names = set(self.inputs)
        self._chosen = ColumnSelector(inputs)
        self._standardiser = Standardiser(len(self.inputs))
        self._model = linear_model.LogisticRegression(
            optimizer=optim.Adam(learning_rate), intercept_lr=INTERCEPT_RATE, l2=L2
        )

    def _select(self, inputs: Inputs) -> Floats:
        return np.ascontiguousarray(self._chosen.of(inputs), dtype=np.float64)

    def _frame(self, inputs: Inputs) -> pd.DataFrame:
        return pd.DataFrame(self._standardiser.transform(self._select(inputs)), columns=self.inputs, copy=False)

    @property
    def weights(self) -> Floats:
        """Weights over the standardised inputs, in the order of `inputs`."""
        known = self._model._weights  # River's public `weights` copies into a dictionary at each call
        return np.array([known.get(item, 0.0) for item in self.inputs], dtype=np.float64)

    def logits(self, inputs: Inputs) -> Floats:
        """Return uncalibrated logits; see `Candidate.logits`."""
        slopes = self.weights / self._standardiser.scale
        chosen = self._select(inputs)
        return chosen @ slopes + (float(self._model.intercept) - float(self._standardiser.mean @ slopes))

    def probabilities(self, inputs: Inputs) -> Floats:
        """Return River's own uncalibrated probabilities; `logits` must agree with them."""
        both: Any = self._model.predict_proba_many(self._frame(inputs))
        return np.asarray(both[True], dtype=np.float64)

    def age(self, days: float) -> None:
        """Do nothing."""

    def learn_many(self, inputs: Inputs, labels: Outcomes) -> None:
        """Take a step on every `BATCH` labels; see `Candidate.learn_many`."""
        whole = self._select(inputs)
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
            model._fit(x=self.inputs, y=labels.astype(np.float64), w=1.0, get_grad=gradient)
        finally:
            model._exit_learn_mode(weights)

    def payload(self, calibration: tuple[float, float]) -> dict[str, Any]:
        """Return the model as plain JSON; see `Candidate.payload`."""
        return payload(
            self.inputs,
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

    def restore(self, state: Mapping[str, AnyArray]) -> None:
        """Load saved arrays; see `Candidate.restore`."""
        prefix = "inputs_"
        self._standardiser.restore({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        adam = self._model.optimizer
        adam.n_iterations = int(state["steps"])
        self._model.intercept = float(state["intercept"])
        if adam.n_iterations:
            self._model._weights = utils.VectorDict(dict(zip(self.inputs, state["weights"].tolist(), strict=True)))
            adam.m, adam.v = (dict(zip(self.inputs, state[key].tolist(), strict=True)) for key in ("first", "second"))

    def _moments(self, kept: Mapping[str, float] | None) -> Floats:
        return np.array([kept[item] if kept else 0.0 for item in self.inputs], dtype=np.float64)

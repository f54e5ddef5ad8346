"""What a model must beat to be worth its keep: silence alone, volume alone, and the rate of the past."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ebb.models import Target
from online_ml.candidates.base import Floats, State
from online_ml.candidates.logistic import Logistic
from online_ml.linear import payload

BASELINE_RATE = 0.02
"""Adam's step for a single input: there is nothing to overfit, so it may settle quickly."""
SMOOTHING = 1.0
"""One imagined label of each class, so that the rate is never 0 or 1 (Laplace)."""


def recency(target: Target) -> Logistic:
    """Return the baseline that knows only the time since the last activity (the last purchase, for `purchase`)."""
    which = "log_recency_days" if target == "churn" else "log_purchase_recency_days"
    return Logistic("recency", [which], learning_rate=BASELINE_RATE)


def count(target: Target) -> Logistic:
    """Return the baseline that knows only how many events (purchases) there ever were."""
    which = "log_events_total" if target == "churn" else "log_purchases_total"
    return Logistic("count", [which], learning_rate=BASELINE_RATE)


class PriorRate:
    """The share of labels that were 1 so far, for every customer alike."""

    name = "prior"
    servable = False

    def __init__(self) -> None:
        self.positives = 0
        self.labels = 0

    def _logit(self) -> float:
        return float(np.log((self.positives + SMOOTHING) / (self.labels - self.positives + SMOOTHING)))

    def logits(self, inputs: Floats) -> Floats:
        """Return the same logit for every row."""
        return np.full(len(inputs), self._logit())

    def learn_many(self, inputs: Floats, labels: npt.NDArray[np.uint8]) -> None:
        """Count the labels."""
        self.positives += int(labels.sum())
        self.labels += len(inputs)

    def payload(self, calibration: tuple[float, float]) -> dict[str, Any]:
        """Return a linear model that looks at nothing."""
        nothing = np.empty(0)
        return payload(
            [], weights=nothing, mean=nothing, scale=nothing, intercept=self._logit(), calibration=calibration
        )

    def state(self) -> State:
        """Return the counts."""
        return {"counts": np.array([self.positives, self.labels])}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over saved counts."""
        self.positives, self.labels = (int(value) for value in state["counts"])

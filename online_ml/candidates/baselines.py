"""What a model must beat to be worth its keep: silence alone, volume alone, and the rate of the past."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ebb.contracts.models import COUNT_BASELINE, PRIOR_BASELINE, RECENCY_BASELINE, Target
from online_ml.candidates.logistic import Logistic
from online_ml.scoring.scorer import payload
from online_ml.types import AnyArray, Floats, Inputs, Outcomes, State

SMOOTHING = 1.0
"""One imagined label of each class, so that the rate is never 0 or 1 (Laplace)."""


def recency(target: Target, *, horizon_days: float = 14, every_days: float = 1) -> Logistic:
    """Return the baseline that knows only the time since the last activity (the last purchase, for `purchase`)."""
    which = "log_recency_days" if target == "churn" else "log_purchase_recency_days"
    return Logistic(RECENCY_BASELINE, [which], horizon_days=horizon_days, every_days=every_days)


def count(target: Target, *, horizon_days: float = 14, every_days: float = 1) -> Logistic:
    """Return the baseline that knows only how many events (purchases) there ever were."""
    which = "log_events_total" if target == "churn" else "log_purchases_total"
    return Logistic(COUNT_BASELINE, [which], horizon_days=horizon_days, every_days=every_days)


class PriorRate:
    """The share of labels that were 1 so far, for every customer alike."""

    name = PRIOR_BASELINE
    servable = False

    def __init__(self) -> None:
        self.positives = 0
        self.labels = 0

    def _logit(self) -> float:
        return float(np.log((self.positives + SMOOTHING) / (self.labels - self.positives + SMOOTHING)))

    def logits(self, inputs: Inputs) -> Floats:
        """Return the same logit for every row."""
        return np.full(len(inputs), self._logit())

    def age(self, days: float) -> None:
        """Do nothing: the share is of all labels ever."""

    def learn_many(self, inputs: Inputs, labels: Outcomes) -> None:
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

    def restore(self, state: Mapping[str, AnyArray]) -> None:
        """Load saved counts."""
        self.positives, self.labels = (int(value) for value in state["counts"])

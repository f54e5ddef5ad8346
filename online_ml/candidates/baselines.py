"""Baselines that a model must beat to be worth running: recency alone, volume alone, and the rate of the past."""

from typing import Any

import numpy as np

from ebb.contracts.models import COUNT, PRIOR, RECENCY, Target
from online_ml.candidates.estimator import MatrixClassifier
from online_ml.candidates.logistic import Logistic
from online_ml.scoring.scorer import payload
from online_ml.types import Floats, Inputs, Outcomes, SavedState, State

SMOOTHING = 1.0
"""One imagined label of each class, so that the rate is never 0 or 1 (Laplace)."""


def recency(target: Target, *, horizon_days: float = 14, every_days: float = 1) -> Logistic:
    """Return the baseline that knows only the time since the last activity (the last purchase, for `purchase`)."""
    which = "log_recency_days" if target == "churn" else "log_purchase_recency_days"
    return Logistic(RECENCY, [which], horizon_days=horizon_days, every_days=every_days)


def count(target: Target, *, horizon_days: float = 14, every_days: float = 1) -> Logistic:
    """Return the baseline that knows only how many events (purchases) there ever were."""
    which = "log_events_total" if target == "churn" else "log_purchases_total"
    return Logistic(COUNT, [which], horizon_days=horizon_days, every_days=every_days)


class PriorRate(MatrixClassifier):
    """The share of labels that were 1 so far, for every customer alike."""

    name = PRIOR
    servable = False

    def __init__(self) -> None:
        super().__init__(())
        self.positives = 0
        self.labels = 0

    def _logit(self) -> float:
        return float(np.log((self.positives + SMOOTHING) / (self.labels - self.positives + SMOOTHING)))

    def _logits(self, chosen: Inputs) -> Floats:
        return np.full(len(chosen), self._logit())

    def age(self, days: float) -> None:
        """Do nothing: the share is of all labels ever."""

    def _learn(self, chosen: Inputs, labels: Outcomes) -> None:
        self.positives += int(labels.sum())
        self.labels += len(chosen)

    def _widen(self, count: int) -> None:
        """Do nothing: no input is used."""

    def payload(self, calibration: tuple[float, float]) -> dict[str, Any]:
        """Return a linear model without inputs."""
        nothing = np.empty(0)
        return payload(
            [], weights=nothing, mean=nothing, scale=nothing, intercept=self._logit(), calibration=calibration
        )

    def state(self) -> State:
        """Return the counts."""
        return {"counts": np.array([self.positives, self.labels])}

    def restore(self, state: SavedState) -> None:
        """Load saved counts."""
        self.positives, self.labels = (int(value) for value in state["counts"])

"""What acting on the probabilities would have brought: right and wrong calls, the best tenth, money."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from ebb.contracts.models import Target
from ebb.settings import ScoreSettings
from online_ml.types import Float32Array, Outcomes, Probabilities

EVEN = 0.5
"""Threshold of a purchase: it has no bands to act on, so the likelier outcome is called."""
DECILE = 0.1


@dataclass(frozen=True)
class Policy:
    """By which probabilities become actions: the settings in use."""

    high: float
    """Churn probability from which a customer is in the band `high`, hence alerted about."""
    save_rate: float
    offer_cost: float
    """Units of money."""
    value_days: float
    """Days of spend that count as value."""

    @classmethod
    def of(cls, settings: ScoreSettings) -> Self:
        """Take the policy from the settings."""
        return cls(settings.band_thresholds[1], settings.save_rate, settings.offer_cost, settings.value_horizon_days)

    def threshold(self, target: Target) -> float:
        """Return the probability from which a target counts as foretold."""
        return self.high if target == "churn" else EVEN


def confusion(probabilities: Probabilities, labels: Outcomes, threshold: float) -> dict[str, float]:
    """Return counts (`true_positives`, …) and the shares that follow from them at a threshold.

    `precision` lacks where nothing is called, `recall` where nothing happened, `f1` where neither.
    """
    called, happened = probabilities >= threshold, labels == 1
    tp, fp = int((called & happened).sum()), int((called & ~happened).sum())
    fn, tn = int((~called & happened).sum()), int((~called & ~happened).sum())
    found: dict[str, float] = {
        "threshold": threshold,
        "true_positives": tp,
        "false_positives": fp,
        "false_negatives": fn,
        "true_negatives": tn,
        "accuracy": (tp + tn) / max(len(labels), 1),
    }
    if tp + fp:
        found["precision"] = tp / (tp + fp)
    if tp + fn:
        found["recall"] = tp / (tp + fn)
    if tp + fp + fn:
        found["f1"] = 2 * tp / (2 * tp + fp + fn)
    return found


def lift(probabilities: Probabilities, labels: Outcomes, share: float = DECILE) -> float | None:
    """Return how many times the base rate the highest-scored share holds; None if nothing happened.

    Scores tied with the last one that fits enter in proportion, so the order of rows plays no part.
    """
    if not labels.any():
        return None
    taken = max(round(len(labels) * share), 1)
    cut = np.partition(probabilities, -taken)[-taken]
    above, tied = probabilities > cut, probabilities == cut
    hits = int(labels[above].sum()) + (taken - int(above.sum())) * float(labels[tied].mean())
    return float(hits / taken / labels.mean())


def profit(
    probabilities: Probabilities, labels: Outcomes, spend_per_day: Float32Array, policy: Policy
) -> dict[str, float]:
    """Return what offers to stay would have brought, in units of money a customer.

    An offer goes out where the expected gain is positive, p x save rate x value > cost, and then brings label x save
    rate x value - cost: the profit of a retention campaign (Verbraken, Verbeke and Baesens, "A novel profit maximizing
    metric for measuring classification performance of customer churn prediction models", IEEE TKDE 25(5), 2013,
    equation 5), with each customer's own value in the place of a mean one (Bahnsen, Aouada and Ottersten,
    "Example-dependent cost-sensitive decision trees", 2015) and the offer paid for whether it is taken or not.

    Parameters
    ----------
    spend_per_day
        Units of money a day, shape (n,).

    Returns
    -------
    dict
        `profit`; `profit_best`, of knowing the labels beforehand; `profit_all`, of an offer to everybody.
    """
    value = spend_per_day.astype(np.float64) * policy.value_days
    brought = labels * policy.save_rate * value - policy.offer_cost
    offered = probabilities.astype(np.float64) * policy.save_rate * value > policy.offer_cost
    return {
        "profit": float(brought[offered].sum()) / len(labels),
        "profit_best": float(np.maximum(brought, 0).mean()),
        "profit_all": float(brought.mean()),
    }

"""The score before any label has matured: a linear model whose weights are set by hand, not learned.

If a customer's active days are a Poisson process at the rate that the decayed count `active_hl14` implies, the customer
is silent for the next 14 days with probability 2^-active_hl14: even odds at one such day. That alone would overlook a
sudden silence of a customer who came every day, so recency, absolute and against the customer's own mean gap, has
weights too. Version 0 marks this score wherever it names its model; the first champion replaces it.
"""

import math

import numpy as np

from ebb.contracts.models import Target
from ebb.settings import LabelSettings
from online_ml.scoring.scorer import Scorer, payload

CANDIDATE = "cold_start"


def cold_start(target: Target, settings: LabelSettings) -> Scorer:
    """Return the scorer of a target for the time before its first champion.

    Parameters
    ----------
    target
        `churn` or `purchase`.
    settings
        Horizons of the labels, in days: the reference of the inputs depends on them.
    """
    if target == "churn":
        names = ["log_active_hl14", "log_recency_days", "log_recency_over_gap"]
        weights = [-2.0, 0.6, 1.2]
        # A horizon of H days needs 14 / H of the decayed days for even odds of silence.
        mean = [math.log1p(14 / settings.horizon_days), math.log1p(settings.horizon_days), math.log(2)]
        intercept = 0.0
    else:
        names = ["log_purchases_30d", "log_purchase_recency_days", "log_carts_7d"]
        weights = [1.0, -0.5, 0.5]
        mean = [0.0, math.log1p(settings.purchase_horizon_days), 0.0]
        intercept = -2.0
    made = payload(
        names,
        weights=np.array(weights),
        mean=np.array(mean),
        scale=np.ones(len(names)),
        intercept=intercept,
    )
    return Scorer.from_payload(made, name=f"{target}.{CANDIDATE}", candidate=CANDIDATE, target=target, version=0)

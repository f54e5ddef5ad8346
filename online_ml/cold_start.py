"""The score before any label has matured: silence measured by the customer's own rhythm.

Written by hand, not learned: its constants say only that a silence of several mean gaps is a worse sign than one of a
fraction of a gap, that slow rhythms leave more room for silence within the horizon, and that a long history is a good
sign. Version 0 marks it wherever a score names its model; the first champion replaces it.
"""

import math

import numpy as np

from ebb.models import Target
from ebb.settings import Settings
from online_ml.linear import Scorer, payload

CANDIDATE = "cold_start"


def cold_start(target: Target, settings: Settings) -> Scorer:
    """Return the scorer of a target for the time before its first champion.

    For `churn` the logit at the reference (a customer heard of now, whose mean gap equals the horizon) is -0.6: silence
    for a horizon has e^-1 = 0.37 probability for a steady (Poisson) customer with that gap.
    """
    if target == "churn":
        names = ["log_recency_over_gap", "log_gap_mean_days", "log_active_days_60"]
        weights = [1.7, 0.7, -0.3]
        mean = [0.0, math.log1p(settings.horizon_days), 0.0]
        intercept = -0.4
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

"""River's adaptive random forest.

Gomes and others, "Adaptive random forests for evolving data stream classification", Machine Learning 106, 2017.
"""

from river import forest

from online_ml.candidates.sampled import RenewingModel, RowModel

NAME = "forest"
TREES = 5
"""Twice as many rank hardly better on what a sample holds, and cost twice as much."""
REPEATS = 3
"""Times that a tree learns a label on average (Poisson); River's 6 cost more and gain nothing here."""
GRACE = 30
"""Labels between two attempts to split a leaf."""
DELTA = 0.05
"""Chance that a split is not the best one: the forest evens out what a single tree gets wrong."""
INPUTS = (
    "log_recency_days",
    "log_recency_over_gap",
    "log_active_hl3",
    "log_active_hl14",
    "log_active_hl45",
    "log_active_days_30",
    "log_active_days_total",
    "log_tenure_days",
    "log_gap_mean_days",
    "log_events_hl3",
    "log_events_hl14",
    "log_purchase_recency_days",
    "log_purchases_30d",
    "log_purchases_total",
    "trend",
    "lapse_14d",
)


def forest_model(seed: int) -> RowModel:
    """Return an untrained forest; the leaves of its trees predict the share of their labels."""
    return RowModel(
        forest.ARFClassifier(
            n_models=TREES, lambda_value=REPEATS, grace_period=GRACE, delta=DELTA, leaf_prediction="mc", seed=seed
        )
    )


class AdaptiveForest(RenewingModel):
    """The forest, which a successor replaces from time to time; see `RenewingModel`."""

    name = NAME

    def _untrained(self) -> RowModel:
        return forest_model(self.seed)


def adaptive_forest(seed: int) -> AdaptiveForest:
    """Return the forest as a candidate of any target: the same inputs serve all."""
    return AdaptiveForest(INPUTS, seed)

"""River's Hoeffding adaptive tree (Bifet and Gavalda, "Adaptive Learning from Evolving Data Streams", IDA 2009)."""

from river import tree

from ebb.contracts.models import Target
from online_ml.candidates.sampled import RenewingModel, RowModel

NAME = "tree"
GRACE = 50
"""Labels between two attempts to split a leaf; River's 200 leave a stump of what a sample holds."""
DELTA = 0.05
"""Chance that a split is not the best one. River's 1e-7 takes tens of thousands of labels before the first split."""
TIE = 0.1
"""Splits closer to each other than this are taken to be equally good."""
INPUTS: dict[Target, tuple[str, ...]] = {
    "churn": (
        "log_recency_days",
        "log_active_hl3",
        "log_active_hl14",
        "log_active_hl45",
        "log_tenure_days",
        "log_gap_mean_days",
    ),
    "purchase": (
        "log_purchase_recency_days",
        "log_purchases_30d",
        "log_purchases_total",
        "log_recency_days",
        "log_active_hl14",
        "log_tenure_days",
    ),
}
"""A tree of a few thousand labels ranks better on few telling inputs than on all, and learns faster."""


def tree_model(seed: int) -> RowModel:
    """Return an untrained tree; its leaves predict the share of their labels (naive Bayes in them is overconfident)."""
    return RowModel(
        tree.HoeffdingAdaptiveTreeClassifier(grace_period=GRACE, delta=DELTA, tau=TIE, leaf_prediction="mc", seed=seed)
    )


class HoeffdingTree(RenewingModel):
    """The tree, which a successor replaces from time to time; see `RenewingModel`."""

    name = NAME

    def _untrained(self) -> RowModel:
        return tree_model(self.seed)


def hoeffding_tree(target: Target, seed: int) -> HoeffdingTree:
    """Return the tree as a candidate of a target."""
    return HoeffdingTree(INPUTS[target], seed)

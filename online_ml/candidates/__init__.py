"""The models that learn side by side, one file each."""

from ebb.contracts.models import Target
from online_ml.candidates.adam import AdamLogistic
from online_ml.candidates.base import Candidate, FullCandidate, SampledCandidate
from online_ml.candidates.baselines import PriorRate, count, recency
from online_ml.candidates.forest import NAME as FOREST
from online_ml.candidates.forest import adaptive_forest
from online_ml.candidates.hoeffding import NAME as TREE
from online_ml.candidates.hoeffding import hoeffding_tree
from online_ml.candidates.logistic import Logistic
from online_ml.scoring.inputs import INPUTS

__all__ = ["PREFERRED", "SAMPLED", "Candidate", "FullCandidate", "SampledCandidate", "candidates", "sampled"]

PREFERRED = "logistic"
"""The first champion once there is evidence, and what stays champion while nothing beats it."""

SAMPLED = (TREE, FOREST)
"""Names of the candidates that learn a sample, where there are any (`EBB_TREE_LABELS`)."""

BRIEF_HORIZONS = 0.5
"""Memory of the candidate for a world that has changed: it forgets four times as fast, is less accurate while nothing
changes, and is promoted when that is the smaller fault (docs/accuracy.md)."""


def candidates(target: Target, *, horizon_days: float = 14, every_days: float = 1) -> list[FullCandidate]:
    """Return fresh candidates of a target that learn every label, in the order in which their predictions are kept.

    Parameters
    ----------
    horizon_days
        Days from a snapshot to its label.
    every_days
        Days from one snapshot to the next.
    """
    everything = [item.name for item in INPUTS]
    return [
        Logistic(PREFERRED, everything, horizon_days=horizon_days, every_days=every_days),
        Logistic(
            "nimble", everything, horizon_days=horizon_days, every_days=every_days, memory_horizons=BRIEF_HORIZONS
        ),
        AdamLogistic("adam", everything),
        recency(target, horizon_days=horizon_days, every_days=every_days),
        count(target, horizon_days=horizon_days, every_days=every_days),
        PriorRate(),
    ]


def sampled(target: Target, seed: int) -> list[SampledCandidate]:
    """Return fresh candidates of a target that learn a sample, in the order in which their predictions are kept.

    Parameters
    ----------
    seed
        Of all that is random in them.
    """
    return [hoeffding_tree(target, seed), adaptive_forest(seed)]

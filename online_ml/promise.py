"""How well predictions will turn out to do, told by their own probabilities while the labels are pending.

If probabilities are calibrated, each says how likely it is to be right, and every measure has an expectation (the idea
of confidence-based performance estimation, NannyML's CBPE). It holds as far as calibration does: a change in what
follows from the same features, which calibration cannot know yet, makes the realised measure fall short of the promise.
"""

import numpy as np

from online_ml.measures import CLIP, Probabilities


def promised(probabilities: Probabilities, threshold: float) -> dict[str, float]:
    """Return the expected measures of pending predictions; empty without any.

    Parameters
    ----------
    probabilities
        Calibrated, shape (n,); NaN rows are left out.
    threshold
        Probability from which the outcome counts as foretold.

    Returns
    -------
    dict
        `base_rate`, `brier`, `log_loss`, `accuracy`; `roc_auc` as expected ordered pairs over expected pairs,
        E[sum over i ≠ j of y_i (1 - y_j) (1 if p_i > p_j, 1/2 if equal)] / E[sum over i ≠ j of y_i (1 - y_j)].
    """
    p = np.sort(probabilities[~np.isnan(probabilities)].astype(np.float64))
    if len(p) == 0:
        return {}
    clipped = np.clip(p, CLIP, 1 - CLIP)
    found = {
        "base_rate": float(p.mean()),
        "brier": float((p * (1 - p)).mean()),
        "log_loss": float(-(clipped * np.log(clipped) + (1 - clipped) * np.log(1 - clipped)).mean()),
        "accuracy": float(np.where(p >= threshold, p, 1 - p).mean()),
    }
    below = np.concatenate([[0.0], np.cumsum(1 - p)])
    first, last = np.searchsorted(p, p, side="left"), np.searchsorted(p, p, side="right")
    tied = below[last] - below[first] - (1 - p)  # a row makes no pair with itself
    ordered = p @ (below[first] + tied / 2)
    pairs = p.sum() * (1 - p).sum() - p @ (1 - p)
    if pairs > 0:
        found["roc_auc"] = float(ordered / pairs)
    return found

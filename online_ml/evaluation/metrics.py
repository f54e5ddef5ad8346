"""How good probabilities were, exactly: no thresholds, no sampling, ties counted as what they are.

`expected_metrics` estimates the same while labels are pending, from calibrated probabilities alone (confidence-based
performance estimation, CBPE).
"""

import numpy as np

from online_ml.types import Floats, Outcomes, Probabilities

BINS = 10
"""Equal-width bins of the calibration error."""
CLIP = 1e-6
"""Probabilities are kept this far from 0 and 1 in the log-loss: one certain mistake costs 13.8, not infinity."""


def roc_auc(probabilities: Probabilities, labels: Outcomes) -> float | None:
    """Return the chance that a random 1 is scored above a random 0, ties half (Mann-Whitney); None if a class lacks."""
    positive = np.sort(probabilities[labels == 1])
    negative = np.sort(probabilities[labels == 0])
    if len(positive) == 0 or len(negative) == 0:
        return None
    below = np.searchsorted(negative, positive, side="left")
    up_to = np.searchsorted(negative, positive, side="right")
    # Whole numbers: the sum is exact and does not depend on the order of the rows.
    return int(below.sum() + up_to.sum()) / (2 * len(positive) * len(negative))


def pr_auc(probabilities: Probabilities, labels: Outcomes) -> float | None:
    """Return average precision, sum of (recall step) x (precision), tied scores taken as one step."""
    total = int(labels.sum())
    if total == 0 or total == len(labels):
        return None
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    hits = np.cumsum(labels[order], dtype=np.int64)[ends]
    steps = np.diff(hits, prepend=0)
    return float(steps @ (hits / (ends + 1)) / total)


def log_losses(probabilities: Probabilities, labels: Outcomes) -> Floats:
    """Return -log of the probability given to what happened, per row."""
    p = np.clip(probabilities.astype(np.float64), CLIP, 1 - CLIP)
    losses: Floats = -np.log(np.where(labels == 1, p, 1 - p))
    return losses


def brier(probabilities: Probabilities, labels: Outcomes) -> float:
    """Return the mean squared distance between probability and outcome."""
    return float(np.mean((probabilities.astype(np.float64) - labels) ** 2))


def reliability(probabilities: Probabilities, labels: Outcomes) -> Floats:
    """Return, per bin of predicted probability, its labels, mean prediction and share of ones: shape (`BINS`, 3)."""
    p = probabilities.astype(np.float64)
    where = np.minimum((p * BINS).astype(np.intp), BINS - 1)
    size = np.bincount(where, minlength=BINS)
    some = np.maximum(size, 1)
    predicted = np.bincount(where, weights=p, minlength=BINS) / some
    observed = np.bincount(where, weights=labels, minlength=BINS) / some
    return np.column_stack([size, predicted, observed])


def ece(probabilities: Probabilities, labels: Outcomes) -> float:
    """Return the expected calibration error: |mean prediction - share of ones| by bin, weighted by the bin's labels."""
    table = reliability(probabilities, labels)
    return float(table[:, 0] @ np.abs(table[:, 1] - table[:, 2]) / max(len(labels), 1))


def measure(probabilities: Probabilities, labels: Outcomes) -> dict[str, float]:
    """Return every measure that the labels allow, by name.

    Rows whose probability is NaN (no prediction) are left out; without any row the result is empty, and `roc_auc`
    and `pr_auc` are absent while one class lacks.
    """
    known = ~np.isnan(probabilities)
    p, y = probabilities[known], labels[known]
    if len(y) == 0:
        return {}
    found: dict[str, float | None] = {
        "roc_auc": roc_auc(p, y),
        "pr_auc": pr_auc(p, y),
        "log_loss": float(log_losses(p, y).mean()),
        "brier": brier(p, y),
        "ece": ece(p, y),
        "base_rate": float(y.mean()),
    }
    return {name: value for name, value in found.items() if value is not None}


def expected_metrics(probabilities: Probabilities, threshold: float) -> dict[str, float]:
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

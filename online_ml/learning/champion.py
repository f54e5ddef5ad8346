"""The one rule by which a candidate becomes champion and by which it is set aside again.

1. No champion before `MIN_LABELS` labels have matured in the window, `MIN_CLASS` of each class: until then workers use
   the cold-start score.
2. Then the preferred candidate (`candidates.PREFERRED`) begins.
3. A challenger replaces the champion when, on the labels in the window that both predicted, its mean log-loss is lower
   and the mean of the differences is more than `EVIDENCE` standard errors from zero. Of several, the lowest log-loss
   wins. Labels of snapshots that share a horizon count as one: a week of a large shop is one season, not 20,000
   proofs. And they are of `MIN_BOUNDARIES` boundaries at least: on the first, models are judged that had hardly
   learned.

Log-loss judges order and calibration together, and the paired difference cancels what made a day hard for all. Rolling
back is nothing special: the former champion returns by rule 3. What cannot serve takes no part: the prior
rate, a yardstick, and the trees, which nothing publishes in a form that loading would not execute.
"""

import math
from collections.abc import Sequence

import numpy as np

from online_ml.candidates import PREFERRED, Candidate
from online_ml.evaluation.metrics import log_losses
from online_ml.evaluation.window import MIN_BOUNDARIES, Window

MIN_LABELS = 500
MIN_CLASS = 25
"""Labels of each class."""
EVIDENCE = 3.0
"""Standard errors."""


def choose(current: str | None, candidates: Sequence[Candidate], window: Window, *, share: float = 1.0) -> str | None:
    """Return the name of the champion after the labels now in the window; None while there is not enough evidence.

    Parameters
    ----------
    share
        What a label counts against an independent one: days between snapshots over days of the horizon, at most 1.
    """
    labels = window.labels()
    ones = int(labels.sum())
    if current is None:
        enough = len(labels) >= MIN_LABELS and min(ones, len(labels) - ones) >= MIN_CLASS
        if not enough:
            return None
        current = PREFERRED
    # All that can serve predict every customer and begin together, so what one has not predicted none has.
    known = ~np.isnan(window.probabilities(0)) if len(labels) else np.empty(0, np.bool_)
    boundaries = sum(not np.isnan(part.probabilities[0]).all() for part in window.parts)
    if int(known.sum()) < MIN_LABELS or boundaries < MIN_BOUNDARIES:
        return current
    losses = {
        candidate.name: log_losses(window.probabilities(place)[known], labels[known])
        for place, candidate in enumerate(candidates)
        if candidate.servable
    }
    best, lowest = current, float(losses[current].mean())
    for name, challenger in losses.items():
        differences = losses[current] - challenger
        gain = float(differences.mean())
        error = float(differences.std()) / math.sqrt(len(differences) * share)
        if gain > EVIDENCE * error and gain > 0 and float(challenger.mean()) < lowest:
            best, lowest = name, float(np.mean(challenger))
    return best


def evidence(former: str | None, champion: str, candidates: Sequence[Candidate], window: Window) -> str:
    """Describe why the rule promoted a candidate in place of another."""
    if former is None:
        return f"first champion: {window.size} labels have matured, at least {MIN_CLASS} of each class"
    places = {candidate.name: place for place, candidate in enumerate(candidates)}
    labels, known = window.labels(), ~np.isnan(window.probabilities(0))

    def loss(name: str) -> float:
        return float(log_losses(window.probabilities(places[name])[known], labels[known]).mean())

    difference = f"log-loss {loss(champion):.4f} against {loss(former):.4f} of {former}"
    return f"{difference} on {int(known.sum())} labels, beyond {EVIDENCE:g} standard errors"

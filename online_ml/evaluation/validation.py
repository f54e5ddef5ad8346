"""Progressive validation made whole: every measure of every candidate, overall and by segment, with intervals.

All are exact in their window: computed over each of its labels and the prediction made at that label's snapshot.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ebb.contracts.models import Target
from online_ml.candidates import SERVED
from online_ml.evaluation.decisions import Policy, confusion, lift, profit
from online_ml.evaluation.intervals import Resampling, influence
from online_ml.evaluation.metrics import measure
from online_ml.evaluation.segments import ARM, LabelContext, segments
from online_ml.evaluation.window import MaturedPredictions, Window
from online_ml.types import Outcomes, Probabilities

Measures = dict[str, float]
BESIDE = ("roc_auc", "pr_auc", "log_loss", "brier", "ece")
"""Metrics of the champion that are reported beside those of a candidate that predicted a sample."""
LEAST = 50
"""Labels that a segment needs before its measures mean anything."""


@dataclass(frozen=True)
class SegmentMeasures:
    """Measures of one candidate over one segment."""

    candidate: str
    kind: str
    """`country`, `channel`, `tenure` or `arm`."""
    name: str
    labels: int
    measures: Measures


class Validator:
    """Judges the predictions of one target.

    Parameters
    ----------
    target
        Its threshold counts.
    policy
        Threshold, costs, values.
    seed
        Of the resampling.
    """

    def __init__(self, target: Target, policy: Policy, seed: int) -> None:
        self.target = target
        self.policy = policy
        self.seed = seed

    def day(self, part: MaturedPredictions, names: Sequence[str]) -> dict[str, Measures]:
        """Return the measures of one boundary's labels by name of candidate."""
        return {
            name: self.judge(part.probabilities[place], part.labels, part.about) for place, name in enumerate(names)
        }

    def rolling(self, window: Window, names: Sequence[str], *, champion: str | None = None) -> dict[str, Measures]:
        """Return the measures of the window's labels by name of candidate, with intervals where it is known of whom.

        A candidate that predicted a sample of the customers is compared with the champion on that sample: `labels` is
        its number of rows, `champion_…` are the champion's metrics on it.
        """
        labels, about = window.labels(), window.about()
        if len(labels) == 0:
            return {name: {} for name in names}
        resampling = None
        if about is not None:
            resampling = Resampling(about.customers, [self.seed, window.parts[-1].boundary])
        rival = None if champion is None else window.probabilities(names.index(champion))
        found = {}
        for place, name in enumerate(names):
            predicted = window.probabilities(place)
            found[name] = self.judge(predicted, labels, about)
            if rival is not None and name != SERVED:
                found[name] |= _beside(predicted, rival, labels)
            if resampling is not None:
                found[name] |= _interval(resampling, predicted, labels, found[name].get("roc_auc"))
        return found

    def by_segment(self, window: Window, names: Sequence[str], chosen: Collection[str]) -> list[SegmentMeasures]:
        """Return the measures of the window's labels by segment, of the candidates chosen."""
        labels, about = window.labels(), window.about()
        if about is None:
            return []
        every = list(segments(about))
        found = []
        for place, candidate in enumerate(names):
            if candidate not in chosen:
                continue
            predicted = window.probabilities(place)
            for kind, name, rows in every:
                known = rows & ~np.isnan(predicted)
                if (count := int(known.sum())) >= LEAST:
                    whom = about.rows(known)
                    measures = self.judge(predicted[known], labels[known], whom)
                    if kind == ARM:
                        resampling = Resampling(whom.customers, [self.seed, window.parts[-1].boundary])
                        measures |= _interval(resampling, predicted[known], labels[known], measures.get("roc_auc"))
                        measures |= _rate(resampling, labels[known])
                    found.append(SegmentMeasures(candidate, kind, name, count, measures))
        return found

    def judge(self, probabilities: Probabilities, labels: Outcomes, about: LabelContext | None = None) -> Measures:
        """Return every measure that the labels allow; rows without a prediction (NaN) are left out."""
        known = ~np.isnan(probabilities)
        p, y = probabilities[known], labels[known]
        if len(y) == 0:
            return {}
        found = measure(p, y) | confusion(p, y, self.policy.threshold(self.target))
        top = lift(p, y)
        if top is not None:
            found["lift_top_decile"] = top
        if about is not None and self.target == "churn":
            found |= profit(p, y, about.spend_per_day[known], self.policy)
        return found


def _beside(predicted: Probabilities, rival: Probabilities, labels: Outcomes) -> Measures:
    """Return the champion's measures on the rows of a candidate that spoke for some of the champion's rows only."""
    rows = ~np.isnan(predicted)
    shared = rows & ~np.isnan(rival)
    if not shared.any() or (~np.isnan(rival)).sum() == shared.sum():
        return {}
    measures = measure(rival[shared], labels[shared])
    metrics = {f"champion_{name}": measures[name] for name in BESIDE if name in measures}
    return {"labels": int(rows.sum()), **metrics}


def _rate(resampling: Resampling, labels: Outcomes) -> Measures:
    """Return the bounds of the base rate."""
    rate = float(labels.mean())
    low, high = resampling.interval(rate, (labels - rate) / len(labels))
    return {"base_rate_low": low, "base_rate_high": high}


def _interval(resampling: Resampling, probabilities: Probabilities, labels: Outcomes, area: float | None) -> Measures:
    """Return the bounds of the ROC-AUC; empty where it is undefined. Rows without a prediction do not count."""
    if area is None:
        return {}
    known = ~np.isnan(probabilities)
    moves = influence(probabilities[known], labels[known])
    if moves is None:
        return {}
    whole = np.zeros(len(labels))
    whole[known] = moves
    low, high = resampling.interval(area, whole)
    return {"roc_auc_low": low, "roc_auc_high": high}

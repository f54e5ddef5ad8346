"""The latest matured predictions of a target: what rolling measures, calibration and the champion rule look at."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from online_ml.evaluation.segments import LabelContext
from online_ml.types import Float32Array, Outcomes

LABELS = 20_000
"""Labels in the window: enough for an AUC within half a point, few enough to follow a change."""
BOUNDARIES = 400
"""Boundaries in the window at most: a small shop forgets after about a year."""


@dataclass(frozen=True, eq=False)
class MaturedPredictions:
    """Predictions of one target whose labels matured at one boundary. Never changed once made."""

    boundary: int
    labels: Outcomes
    """Shape (n,), 0 or 1."""
    logits: Float32Array
    """Shape (candidates, n): uncalibrated, as predicted at the snapshot."""
    probabilities: Float32Array
    """Shape (candidates + 1, n): calibrated then; the last row is what was served, NaN where nothing was."""
    about: LabelContext | None = None
    """Whom the rows are about; None where that is not known (a table that is evaluated)."""


class Window:
    """The latest boundaries' labels: whole boundaries, as few as hold `LABELS` of them."""

    def __init__(self) -> None:
        self.parts: deque[MaturedPredictions] = deque()
        self.size = 0

    def add(self, part: MaturedPredictions) -> None:
        """Append a boundary's labels and drop boundaries that are no longer needed."""
        self.parts.append(part)
        self.size += len(part.labels)
        while self.size - len(self.parts[0].labels) >= LABELS or len(self.parts) > BOUNDARIES:
            self.size -= len(self.parts.popleft().labels)

    def labels(self) -> Outcomes:
        """Return labels, oldest first, shape (size,)."""
        return np.concatenate([part.labels for part in self.parts]) if self.parts else np.empty(0, np.uint8)

    def probabilities(self, candidate: int) -> Float32Array:
        """Return a candidate's calibrated probabilities, shape (size,)."""
        return np.concatenate([part.probabilities[candidate] for part in self.parts])

    def about(self) -> LabelContext | None:
        """Return whom the rows are about, in the order of the labels; None unless it is known of all."""
        known = [part.about for part in self.parts if part.about is not None]
        return LabelContext.joined(known) if known and len(known) == len(self.parts) else None

"""The latest matured predictions of a target: what rolling measures, calibration and the champion rule look at."""

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from online_ml.evaluation.segments import LabelContext
from online_ml.types import Outcomes

LABELS = 20_000
"""Labels in the window: enough for an AUC within half a point, few enough to follow a change."""
BOUNDARIES = 400
"""Boundaries in the window at most: a small shop forgets after about a year."""
MIN_BOUNDARIES = 3
"""Boundaries in the window at least, however many labels each has: the champion rule asks for so many."""


@dataclass(frozen=True, eq=False)
class MaturedPredictions:
    """Predictions of one target whose labels matured at one boundary. Never changed once made."""

    boundary: int
    labels: Outcomes
    """Shape (n,), 0 or 1."""
    logits: npt.NDArray[np.float32]
    """Shape (candidates, n): uncalibrated, as predicted at the snapshot."""
    probabilities: npt.NDArray[np.float32]
    """Shape (candidates + 1, n): calibrated then; the last row is what was served, NaN where nothing was."""
    context: LabelContext | None = None
    """Customers of the rows; None where they are not known (a table that is evaluated)."""


class Window:
    """The latest boundaries' labels: whole boundaries, as few as hold `LABELS` of them, but `MIN_BOUNDARIES`."""

    def __init__(self) -> None:
        self.parts: deque[MaturedPredictions] = deque()
        self.size = 0

    def add(self, part: MaturedPredictions) -> None:
        """Append a boundary's labels and drop boundaries that are no longer needed."""
        self.parts.append(part)
        self.size += len(part.labels)
        while len(self.parts) > BOUNDARIES or (
            len(self.parts) > MIN_BOUNDARIES and self.size - len(self.parts[0].labels) >= LABELS
        ):
            self.size -= len(self.parts.popleft().labels)

    def labels(self) -> Outcomes:
        """Return labels, oldest first, shape (size,)."""
        return np.concatenate([part.labels for part in self.parts]) if self.parts else np.empty(0, np.uint8)

    def probabilities(self, candidate: int) -> npt.NDArray[np.float32]:
        """Return a candidate's calibrated probabilities, shape (size,)."""
        return np.concatenate([part.probabilities[candidate] for part in self.parts])

    def context(self) -> LabelContext | None:
        """Return the customers of the rows, in the order of the labels; None unless they are known for all."""
        known = [part.context for part in self.parts if part.context is not None]
        return LabelContext.joined(known) if known and len(known) == len(self.parts) else None

"""River's classifiers over the rows of a matrix, one row at a time: that is how its trees learn."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from river.base import Classifier

from online_ml.candidates.base import Floats, Inputs

UNKNOWN = 0.5
"""P(1) while nothing has been learned."""


class RowModel:
    """A River classifier of labels 0 and 1.

    Parameters
    ----------
    classifier
        Its features are the places of the inputs: whole numbers, whose order no process changes.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier: Any = classifier

    def predict(self, inputs: Inputs) -> Floats:
        """Return P(1) of each row, shape (n,)."""
        said = [self._classifier.predict_proba_one(row) for row in _rows(inputs)]
        # A forest none of whose trees has earned a vote yet gives no class a chance: it knows nothing.
        chances = [(one.get(0, 0.0), one.get(1, 0.0)) for one in said]
        return np.array([one / (none + one) if none + one > 0 else UNKNOWN for none, one in chances], dtype=np.float64)

    def learn(self, inputs: Inputs, labels: npt.NDArray[np.uint8]) -> None:
        """Learn the rows in their order."""
        for row, label in zip(_rows(inputs), labels.tolist(), strict=True):
            self._classifier.learn_one(row, label)


def _rows(inputs: Inputs) -> Iterator[dict[int, float]]:
    return (dict(enumerate(row)) for row in inputs.tolist())

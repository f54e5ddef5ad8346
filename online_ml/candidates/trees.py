"""River's trees, a row at a time: a Hoeffding adaptive tree and an adaptive random forest.

They cost 0.2 and 1.5 milliseconds a label where the linear models cost microseconds, and there is no form in which they
could be published that loading would not execute. So they do not serve: they are judged beside the others on tables
(`ebb evaluate`), learn at most `LEARNED` rows, evenly spread, and say how many they left out.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from river import forest, tree

from online_ml.candidates.base import Floats

LEARNED = 4_000
"""Rows learned at most: some ten seconds of a forest."""


class RowLearner:
    """A River classifier over the rows of a matrix.

    Parameters
    ----------
    name
        `tree` or `forest`.
    rows
        Rows to come, so that it can be said beforehand which of them are learned.
    seed
        Seed of the forest's samples and of the tree's.
    """

    def __init__(self, name: str, *, rows: int, seed: int) -> None:
        self.name = name
        self.skipped = 0
        """Rows that came to be learned and were not."""
        self._model: Any = (
            forest.ARFClassifier(n_models=10, seed=seed)
            if name == "forest"
            else tree.HoeffdingAdaptiveTreeClassifier(grace_period=100, seed=seed)
        )
        self._step = max(-(-rows // LEARNED), 1)
        self._seen = 0

    def predict(self, inputs: Floats) -> Floats:
        """Return P(1) of each row, shape (n,); 0.5 while nothing is known."""
        said = [self._model.predict_proba_one(dict(enumerate(row))) for row in inputs.tolist()]
        return np.array([one.get(1, 0.0) if one else 0.5 for one in said], dtype=np.float64)

    def learn(self, inputs: Floats, labels: npt.NDArray[np.uint8]) -> None:
        """Learn rows, or every so many of them if the table is long."""
        for row, label in zip(inputs.tolist(), labels.tolist(), strict=True):
            if self._seen % self._step == 0:
                self._model.learn_one(dict(enumerate(row)), label)
            else:
                self.skipped += 1
            self._seen += 1

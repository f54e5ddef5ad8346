"""Slow models as candidates: River classifiers, row by row, judged on a sample and renewed from time to time."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from river.base import Classifier

from online_ml.candidates.base import ColumnSelector
from online_ml.scoring.scorer import JUDGED
from online_ml.types import Floats, Inputs, Outcomes

UNKNOWN = 0.5
"""P(1) while nothing has been learned."""
CERTAIN = 0.005
"""A leaf of few labels predicts 0 or 1; its probability is kept this far from them."""


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
        predicted = [self._classifier.predict_proba_one(row) for row in _rows(inputs)]
        # A forest none of whose trees has earned a vote yet gives no class a chance: it knows nothing.
        chances = [(one.get(0, 0.0), one.get(1, 0.0)) for one in predicted]
        return np.array([one / (none + one) if none + one > 0 else UNKNOWN for none, one in chances], dtype=np.float64)

    def learn(self, inputs: Inputs, labels: Outcomes) -> None:
        """Learn the rows in their order."""
        for row, label in zip(_rows(inputs), labels.tolist(), strict=True):
            self._classifier.learn_one(row, label)


def _rows(inputs: Inputs) -> Iterator[dict[int, float]]:
    return (dict(enumerate(row)) for row in inputs.tolist())


class RenewingModel:
    """A row model and its successor, which learns beside it until it takes its place.

    Parameters
    ----------
    name
        Name of the candidate.
    inputs
        Names of the inputs it sees, out of `online_ml.scoring.inputs.INPUTS`.
    make
        Returns an untaught model, each time the same.
    """

    servable = False

    def __init__(self, name: str, inputs: Sequence[str], make: Callable[[], RowModel]) -> None:
        self.name = name
        self.inputs = list(inputs)
        self._chosen = ColumnSelector(inputs)
        self._make = make
        self._elder = make()
        self._younger: RowModel | None = None

    def logits(self, inputs: Inputs) -> Floats:
        """Return uncalibrated logits; see `Candidate.logits`."""
        chances = np.clip(self._elder.predict(self._chosen.of(inputs)), CERTAIN, 1 - CERTAIN)
        logits: Floats = np.log(chances / (1 - chances))
        return logits

    def learn_many(self, inputs: Inputs, labels: Outcomes) -> None:
        """Learn row by row; see `Candidate.learn_many`."""
        chosen = self._chosen.of(inputs)
        self._elder.learn(chosen, labels)
        if self._younger is not None:
            self._younger.learn(chosen, labels)

    def renew(self) -> None:
        """Replace the model by its successor; see `SampledCandidate.renew`."""
        if self._younger is not None:
            self._elder = self._younger
        self._younger = self._make()

    def payload(self, calibration: tuple[float, float]) -> dict[str, Any]:
        """Return how it is to be read: not at all, it is judged only."""
        return {"kind": JUDGED, "inputs": self.inputs, "calibration": [float(value) for value in calibration]}

"""A slow model as a candidate: judged beside the others on a sample, renewed from time to time, never served."""

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from river.base import Classifier
from river.base.typing import ClfTarget, FeatureName

from online_ml.candidates.columns import ColumnSelector
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
        Its features are named by the positions of the inputs: integers, whose order is the same in every process.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier: Any = classifier

    def predict(self, inputs: Inputs) -> Floats:
        """Return P(1) of each row, shape (n,)."""
        return np.array([self.predict_row(row) for row in _rows(inputs)], dtype=np.float64)

    def learn(self, inputs: Inputs, labels: Outcomes) -> None:
        """Learn the rows in their order."""
        for row, label in zip(_rows(inputs), labels.tolist(), strict=True):
            self.learn_row(row, label)

    def predict_row(self, row: dict[Any, Any]) -> float:
        """Return P(1) of features as River takes them."""
        predicted = self._classifier.predict_proba_one(row)
        none, one = predicted.get(0, 0.0), predicted.get(1, 0.0)
        # A forest none of whose trees has earned a vote yet gives no class a chance: it knows nothing.
        return float(one / (none + one)) if none + one > 0 else UNKNOWN

    def learn_row(self, row: dict[Any, Any], label: int) -> None:
        """Learn features as River takes them, and their label, 0 or 1."""
        self._classifier.learn_one(row, label)


def _rows(inputs: Inputs) -> Iterator[dict[int, float]]:
    return (dict(enumerate(row)) for row in inputs.tolist())


class RenewingModel(Classifier):
    """A row model and its successor, which learns beside it until it takes its place.

    It is a River estimator of labels that are true or false (1 or 0): rows by name teach it what the same rows in a
    matrix would.

    Parameters
    ----------
    inputs
        Names of the inputs it sees. What is missing of them counts as 0, other names are ignored. None: River's model
        sees what comes, and there is no matrix to learn from.
    seed
        Of all that is random in it.
    """

    name: ClassVar[str]
    """Name of the candidate."""
    servable = False

    def __init__(self, inputs: Sequence[str] | None = None, seed: int = 7) -> None:
        self.seed = seed
        self.inputs = None if inputs is None else list(inputs)
        self._columns = ColumnSelector(inputs)
        self._current = self._untrained()
        self._successor: RowModel | None = None

    @abc.abstractmethod
    def _untrained(self) -> RowModel:
        """Return an untrained model, the same each time."""

    def logits(self, inputs: Inputs) -> Floats:
        """Return uncalibrated logits; see `Candidate.logits`."""
        chances = np.clip(self._current.predict(self._columns.of(inputs)), CERTAIN, 1 - CERTAIN)
        logits: Floats = np.log(chances / (1 - chances))
        return logits

    def learn_matrix(self, inputs: Inputs, labels: Outcomes) -> None:
        """Learn row by row; see `Candidate.learn_matrix`."""
        chosen = self._columns.of(inputs)
        for model in self._models():
            model.learn(chosen, labels)

    def learn_one(self, x: Mapping[FeatureName, Any], y: ClfTarget) -> None:
        """Learn one row, inputs by name, and its label."""
        row = self._columns.numbered(x)
        for model in self._models():
            model.learn_row(row, int(bool(y)))

    def predict_proba_one(
        self,
        x: Mapping[FeatureName, Any],
        **kwargs: Any,  # noqa: ARG002 - River's signature
    ) -> dict[ClfTarget, float]:
        """Return the probability of False and of True."""
        chance = min(max(self._current.predict_row(self._columns.numbered(x)), CERTAIN), 1 - CERTAIN)
        return {False: 1 - chance, True: chance}

    def renew(self) -> None:
        """Replace the model by its successor; see `SampledCandidate.renew`."""
        if self._successor is not None:
            self._current = self._successor
        self._successor = self._untrained()

    def payload(self, calibration: tuple[float, float]) -> dict[str, Any]:
        """Return a payload that marks the model as judged only: no form of it can score."""
        return {
            "kind": JUDGED,
            "inputs": self._columns.names,
            "calibration": [float(value) for value in calibration],
        }

    def _models(self) -> Iterator[RowModel]:
        yield self._current
        if self._successor is not None:
            yield self._successor

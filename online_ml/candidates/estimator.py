"""One model, two faces: matrices for the learner, which has them anyway, and River's dictionaries and data frames."""

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from river import base
from river.base.typing import ClfTarget, FeatureName

from online_ml.candidates.columns import ColumnSelector
from online_ml.scoring.scorer import sigmoid
from online_ml.types import Floats, Inputs, Outcomes


class MatrixClassifier(base.MiniBatchClassifier):
    """A River estimator of labels that are true or false (1 or 0), whose model is one of matrices.

    Both faces learn the same: a data frame is one batch, as a matrix of these rows is; `learn_one` is a batch of one
    row.

    Parameters
    ----------
    inputs
        Names of the inputs it sees. What is missing of them counts as 0, other names are ignored. None: every name that
        it meets in learning, which is as if it had been there from the start and 0. Then there is no matrix to learn
        from, and `state` names nothing that could be restored.
    """

    def __init__(self, inputs: Sequence[str] | None) -> None:
        self.inputs = None if inputs is None else list(inputs)
        self._columns = ColumnSelector(inputs)

    @abc.abstractmethod
    def _learn(self, chosen: Inputs, labels: Outcomes) -> None:
        """Learn a batch of its own columns, shape (n, k), n ≥ 1."""

    @abc.abstractmethod
    def _logits(self, chosen: Inputs) -> Floats:
        """Return the logits of its own columns, shape (n,)."""

    @abc.abstractmethod
    def _widen(self, count: int) -> None:
        """Make room for so many more columns, which have been 0 until now."""

    def logits(self, inputs: Inputs) -> Floats:
        """Return uncalibrated logits, shape (n,), of a design matrix of shape (n, `len(INPUTS)`)."""
        return self._logits(self._columns.of(inputs))

    def learn_matrix(self, inputs: Inputs, labels: Outcomes) -> None:
        """Learn a batch: a design matrix of shape (n, `len(INPUTS)`), labels 0 or 1 of shape (n,), n ≥ 1."""
        self._learn(self._columns.of(inputs), labels)

    def learn_one(self, x: Mapping[FeatureName, Any], y: ClfTarget) -> None:
        """Learn one row, inputs by name, and its label."""
        self._meet(x)
        self._learn(self._columns.row(x), np.array([bool(y)], dtype=np.uint8))

    def learn_many(self, X: pd.DataFrame, y: "pd.Series[Any]") -> None:
        """Learn a batch, one column an input, and its labels; an empty one teaches nothing."""
        if len(X):
            self._meet(X.columns)
            self._learn(self._columns.rows(X), y.to_numpy().astype(np.bool_).astype(np.uint8))

    def predict_proba_one(
        self,
        x: Mapping[FeatureName, Any],
        **kwargs: Any,  # noqa: ARG002 - River's signature
    ) -> dict[ClfTarget, float]:
        """Return the probability of False and of True."""
        chance = float(sigmoid(self._logits(self._columns.row(x)))[0])
        return {False: 1 - chance, True: chance}

    def predict_proba_many(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the probabilities of False and of True, one column each, with the rows' index."""
        chance = sigmoid(self._logits(self._columns.rows(X)))
        return pd.DataFrame({False: 1 - chance, True: chance}, index=X.index)

    def _meet(self, names: Iterable[FeatureName]) -> None:
        if count := self._columns.meet(names):
            self._widen(count)

    def _require_named(self) -> None:
        if not self._columns.named:
            message = "a state is restored by position, and this model's inputs are not named"
            raise ValueError(message)

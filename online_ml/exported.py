"""What `ebb models export` wrote, as a River estimator: `DesignInputs() | load_estimator("churn.logistic.json")`.

Reading it executes nothing: it is JSON with a checksum, read by the code that the workers score with.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
from river import base
from river.base.typing import FeatureName

from ebb.contracts.features import NAMES
from ebb.contracts.models import ModelSnapshot
from ebb.errors import CorruptError, SchemaMismatchError, SourceError
from online_ml.candidates.columns import ColumnSelector
from online_ml.candidates.estimator import MatrixClassifier
from online_ml.candidates.logistic import INTERCEPT_RIDGE, RIDGE
from online_ml.candidates.newton import Newton
from online_ml.scoring.inputs import INPUTS, POSITION, design
from online_ml.scoring.scorer import JUDGED, load
from online_ml.types import Floats, Inputs, Outcomes

PULL = 100.0
"""Half-way between the export and what is learned here after a hundred independent labels at an input of 2: the first
dozen move it little, a thousand decide."""
LARGEST = float(np.finfo(np.float32).max)
EXPORT = "Write it by `ebb models export NAME --output FILE` and leave it as it is."


class DesignInputs(base.MiniBatchTransformer):
    """The inputs of Ebb's models (`online_ml.scoring.inputs.INPUTS`), out of features by name (docs/features.md).

    A feature that is missing or no finite number counts as 0; other names are ignored. It learns nothing.
    """

    def transform_one(self, x: Mapping[FeatureName, Any]) -> dict[FeatureName, Any]:
        """Return the inputs of one customer by name."""
        [row] = self._inputs(ColumnSelector(NAMES).row(x)).tolist()
        return {item.name: value for item, value in zip(INPUTS, row, strict=True)}

    def transform_many(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the inputs of customers, a row each, one column an input."""
        inputs = self._inputs(ColumnSelector(NAMES).rows(X))
        return pd.DataFrame(inputs, columns=[item.name for item in INPUTS], index=X.index)

    @staticmethod
    def _inputs(features: Floats) -> Floats:
        # In double, as the learner has them: a worker sums in single precision, and errs by some 1e-5 of a logit.
        return design(np.clip(features, -LARGEST, LARGEST).astype(np.float32)).astype(np.float64)


class ExportedLogistic(MatrixClassifier):
    """Logistic regression that starts from weights which are given, and is drawn back to them.

    Until it learns, it predicts what the weights say. An export holds weights and not how sure they are: the curvature
    of what they were learned from stays in the learner. So it cannot learn on as the learner would. It answers another
    question: which weights explain the labels learned here, if the exported ones are believed as firmly as `pull` says?
    They are the minimum of the labels' log-loss plus the sum of `pull / 2 * (weight - exported weight) ** 2`, by the
    recursion of `online_ml.candidates.newton`. Nothing fades, every label counts as an independent one, and the
    calibration is part of the weights.

    Parameters
    ----------
    inputs
        Names of the inputs; see `MatrixClassifier`.
    weights
        Change of the calibrated logit per unit of each input, as many as inputs.
    intercept
        Calibrated logit where all inputs are 0.
    pull
        Strength with which each weight is drawn to the one given, in units of curvature, above 0: 100 is as strong as
        a hundred independent labels at an input of 2. The intercept is drawn a twentieth as strongly, as in the
        learner.

    Raises
    ------
    ValueError
        If there is not one weight for each input.
    """

    def __init__(
        self,
        inputs: Sequence[str] | None = None,
        weights: Sequence[float] = (),
        intercept: float = 0.0,
        *,
        pull: float = PULL,
    ) -> None:
        super().__init__(inputs)
        if len(weights) != len(self._columns.names):
            message = f"{len(weights)} weights do not fit {len(self._columns.names)} inputs"
            raise ValueError(message)
        self.weights = list(weights)
        self.intercept = intercept
        self.pull = pull
        strengths = [pull] * len(self.weights) + [pull * INTERCEPT_RIDGE / RIDGE]
        self._model = Newton([*self.weights, intercept], strengths)

    def _logits(self, chosen: Inputs) -> Floats:
        weights = self._model.weights
        logits: Floats = chosen @ weights[:-1] + weights[-1]
        return logits

    def _learn(self, chosen: Inputs, labels: Outcomes) -> None:
        self._model.learn(np.column_stack([chosen, np.ones(len(chosen))]).astype(np.float64), labels)

    def _widen(self, count: int) -> None:
        self._model.widen(count, self.pull)

    def _unit_test_skips(self) -> set[str]:
        # A batch is one step, as in `Logistic`.
        return {"check_learn_many_matches_learn_one"}


def load_estimator(source: str | os.PathLike[str] | Mapping[str, Any], *, pull: float = PULL) -> ExportedLogistic:
    """Read what `ebb models export` wrote, as a River estimator that predicts what a worker would score.

    Its features are the inputs of Ebb's models; `DesignInputs` makes them of a customer's features. See
    `ExportedLogistic` for what it means to learn on.

    Parameters
    ----------
    source
        Path of the file, or what is in it as a dictionary.
    pull
        See `ExportedLogistic`.

    Raises
    ------
    SourceError
        If the file cannot be read.
    CorruptError
        If it is no model that was exported, or its checksum is wrong.
    SchemaMismatchError
        If it was learned from other features, or is one that cannot score (`tree`, `forest`).
    """
    named = "The model given" if isinstance(source, Mapping) else f"The model in {os.fspath(source)}"
    try:
        body = orjson.dumps(dict(source)) if isinstance(source, Mapping) else Path(source).read_bytes()
    except OSError as error:
        what = f"{named} cannot be read: {error.strerror}."
        raise SourceError(what, EXPORT) from error
    except TypeError as error:
        what = f"{named} holds what JSON has no form for: {error}."
        raise CorruptError(what, EXPORT) from error
    try:
        snapshot = ModelSnapshot.decode(body)
    except CorruptError as error:
        what = f"{named} is none that was exported, or was changed since: {error.what}"
        raise CorruptError(what, EXPORT) from error
    except SchemaMismatchError as error:
        what = f"{named} does not fit: {error.what}"
        raise SchemaMismatchError(what, "Export one that this version of Ebb has learned.") from error
    if snapshot.payload.get("kind") == JUDGED:
        what = f"{named}, {snapshot.name}, is judged beside the others and has no form in which it could score."
        raise SchemaMismatchError(what, f"Export one that can, such as {snapshot.target}.logistic.")
    try:
        scorer = load(snapshot)
    except SchemaMismatchError as error:
        what = f"{named} cannot score: {error.what}"
        raise SchemaMismatchError(what, "Load it by the version of Ebb that exported it.") from error
    names = list(snapshot.payload["inputs"])
    weights = scorer.weights[[POSITION[name] for name in names]].tolist()
    bias = scorer.intercept - float(scorer.reference @ scorer.weights)
    return ExportedLogistic(names, weights, bias, pull=pull)

"""A linear model over the design matrix: written as plain JSON (`payload`), loaded from a snapshot, ready to score."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ebb.contracts.models import ModelSnapshot, Target
from ebb.errors import SchemaMismatchError
from online_ml.scoring.inputs import GROUP_OF_INPUT, GROUPS, INPUTS, POSITION, design
from online_ml.types import Float32Array, Floats, Inputs

LOGIT_LIMIT = 30.0
"""Probabilities keep clear of 0 and 1 by e-30: their logarithms stay finite."""
CHUNK_ROWS = 1_024
"""Rows scored at a time: their inputs (0.4 MB) stay in the processor's cache, which halves the time a row takes."""
JUDGED = "judged"
"""Kind of the payload of a model that is judged beside the others and has no form in which it could score."""


def sigmoid(logit: Floats) -> Floats:
    """Return 1 / (1 + exp(-logit)), clipped where it would equal 0 or 1 in floating point."""
    bounded = np.clip(logit, -LOGIT_LIMIT, LOGIT_LIMIT)
    result: Floats = 1.0 / (1.0 + np.exp(-bounded))
    return result


@dataclass(frozen=True, eq=False)
class Scorer:
    """A frozen model: features in, calibrated probability out. Safe to share between threads.

    The calibrated logit is `inputs @ weights + bias`, the calibration and the standardisation folded in. Measured from
    the population's mean inputs (`reference`), the same number is `intercept` plus the contributions of the groups.
    """

    name: str
    candidate: str
    target: Target
    version: int
    weights: Floats
    """Shape (`len(INPUTS)`,); 0 where the model does not look."""
    reference: Floats
    """Shape (`len(INPUTS)`,): mean inputs of the population learned from."""
    intercept: float
    """Calibrated logit of a customer at the reference."""

    def logit(self, inputs: Inputs) -> Floats:
        """Return calibrated logits, shape (n,), of a design matrix of shape (n, `len(INPUTS)`).

        Summed in the inputs' own precision: single precision errs by some 1e-5 of a logit and takes a thirtieth of the
        time that widening the matrix would.
        """
        bias = self.intercept - float(self.reference @ self.weights)
        return (inputs @ self.weights.astype(inputs.dtype)).astype(np.float64) + bias

    def score(self, inputs: Inputs) -> Floats:
        """Return calibrated probabilities, shape (n,), of a design matrix of shape (n, `len(INPUTS)`)."""
        return sigmoid(self.logit(inputs))

    def predict(self, features: Float32Array) -> Floats:
        """Return calibrated probabilities, shape (n,), of features of shape (n, `features.WIDTH`)."""
        return np.concatenate([self.score(design(rows)) for rows in _chunks(features)])

    def contributions(self, inputs: Inputs) -> Floats:
        """Return each group's share of the calibrated logit, shape (n, `len(GROUPS)`), of a design matrix.

        A share is measured from the reference; `intercept` plus the sum of the shares is the calibrated logit.
        """
        by_group = np.zeros((len(INPUTS), len(GROUPS)))
        by_group[np.arange(len(INPUTS)), GROUP_OF_INPUT] = self.weights
        shares: Floats = (inputs @ by_group.astype(inputs.dtype)).astype(np.float64) - self.reference @ by_group
        return shares

    @classmethod
    def from_payload(cls, payload: dict[str, Any], *, name: str, candidate: str, target: Target, version: int) -> Self:
        """Build a scorer from a payload made by `payload`.

        Raises
        ------
        SchemaMismatchError
            If the payload names an input that this code does not compute, or its lengths differ.
        """
        try:
            names = list(payload["inputs"])
            weights, mean, scale = (np.asarray(payload[key], dtype=np.float64) for key in ("weights", "mean", "scale"))
            slope, offset = (float(value) for value in payload["calibration"])
            intercept = float(payload["intercept"])
        except (KeyError, TypeError, ValueError) as error:
            what = f"The payload of model {name} version {version} is not a linear model: {error!r}."
            raise SchemaMismatchError(what, "The model in use stays.") from error
        unknown = [item for item in names if item not in POSITION]
        if unknown or not len(names) == len(weights) == len(mean) == len(scale):
            what = f"Model {name} version {version} does not fit the inputs of this code (unknown: {unknown[:3]})."
            raise SchemaMismatchError(what, "The model in use stays.")
        finite = all(np.isfinite(part).all() for part in (weights, mean, scale, [slope, offset, intercept]))
        if not finite or (scale <= 0).any():
            what = f"Model {name} version {version} holds numbers that cannot score."
            raise SchemaMismatchError(what, "The model in use stays.")
        where = [POSITION[item] for item in names]
        full, reference = np.zeros(len(INPUTS)), np.zeros(len(INPUTS))
        full[where] = slope * weights / scale
        reference[where] = mean
        return cls(name, candidate, target, version, full, reference, slope * intercept + offset)


def _chunks(features: Float32Array) -> list[Float32Array]:
    return [features[start : start + CHUNK_ROWS] for start in range(0, max(len(features), 1), CHUNK_ROWS)]


def payload(
    names: Sequence[str],
    *,
    weights: Floats,
    mean: Floats,
    scale: Floats,
    intercept: float,
    calibration: tuple[float, float] = (1.0, 0.0),
) -> dict[str, Any]:
    """Return a linear model as plain JSON.

    The uncalibrated logit is `((inputs - mean) / scale) @ weights + intercept`; `calibration` holds the slope and the
    offset of the line that makes it the calibrated one.
    """
    return {
        "kind": "linear",
        "inputs": list(names),
        "weights": [float(value) for value in weights],
        "mean": [float(value) for value in mean],
        "scale": [float(value) for value in scale],
        "intercept": float(intercept),
        "calibration": [float(value) for value in calibration],
    }


def load(snapshot: ModelSnapshot) -> Scorer:
    """Return the scorer that a decoded (hence verified) snapshot describes; nothing in it is executed.

    Raises
    ------
    SchemaMismatchError
        If this code does not know the payload's kind, or the payload does not fit.
    """
    kind = snapshot.payload.get("kind")
    if kind == JUDGED:
        what = f"Model {snapshot.name} is judged beside the others and has no form in which it could score."
        raise SchemaMismatchError(what, "The model in use stays.")
    if kind != "linear":
        what = f"Model {snapshot.name} version {snapshot.version} is of kind {kind!r}; this code scores kind 'linear'."
        raise SchemaMismatchError(what, "The model in use stays; upgrade this process to use the new one.")
    return Scorer.from_payload(
        snapshot.payload,
        name=snapshot.name,
        candidate=snapshot.candidate,
        target=snapshot.target,
        version=snapshot.version,
    )

"""Score with a linear model over the design matrix: the payload that is published, and the scorer made of it.

The calibrated probability of inputs x is

    sigmoid(slope * (((x - mean) / scale) @ weights + intercept) + offset)

with the calibration's `slope` and `offset` (Platt 1999; learned in `online_ml.learning.calibration`). `Scorer` is the
same function with calibration and standardisation folded into its weights. A linear model's contributions are exact:
they are its additive terms, measured from the population's mean inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ebb.contracts.models import ModelSnapshot, Target
from ebb.errors import SchemaMismatchError
from online_ml.scoring.inputs import GROUP_OF_INPUT, GROUPS, INPUTS, POSITION, design
from online_ml.types import Floats, Inputs

LOGIT_LIMIT = 30.0
"""Logits are clipped here, so that probabilities differ from 0 and 1 by e^-30 and their logarithms stay finite."""
WEIGHT_LIMIT = 1e9
"""No weight of the folded model is beyond it: inputs are within 441, so no score can overflow, or be no number."""
LINEAR = "linear"
"""Kind of the payload that this module scores."""
JUDGED = "judged"
"""Kind of the payload of a model that is judged beside the others and has no form in which it could score."""
CHUNK_ROWS = 1_024
"""Rows scored at a time: their inputs (0.4 MB) stay in the processor's cache, which halves the time a row takes."""


def sigmoid(logit: Floats) -> Floats:
    """Return 1 / (1 + exp(-logit)), the logit clipped to plus or minus `LOGIT_LIMIT`; shape as given."""
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
    """`<target>.<candidate>`."""
    candidate: str
    target: Target
    version: int
    """Version of the snapshot; 0 for the cold-start score."""
    weights: Floats
    """Shape (`len(INPUTS)`,): change of the calibrated logit per unit of each input; 0 for inputs not used."""
    reference: Floats
    """Shape (`len(INPUTS)`,): mean inputs of the population learned from; 0 for inputs not used."""
    intercept: float
    """Calibrated logit of a customer at the reference."""

    def logit(self, inputs: Inputs) -> Floats:
        """Return calibrated logits.

        Summed in the inputs' own precision: single precision errs by some 1e-5 of a logit and takes a thirtieth of the
        time that converting the matrix to double would.

        Parameters
        ----------
        inputs
            Design matrix, shape (n, `len(INPUTS)`), as `design` returns it.

        Returns
        -------
        ndarray
            Shape (n,), not clipped.
        """
        bias = self.intercept - float(self.reference @ self.weights)
        return (inputs @ self.weights.astype(inputs.dtype)).astype(np.float64) + bias

    def score(self, inputs: Inputs) -> Floats:
        """Return calibrated probabilities, shape (n,), of a design matrix of shape (n, `len(INPUTS)`)."""
        return sigmoid(self.logit(inputs))

    def predict(self, features: npt.NDArray[np.float32]) -> Floats:
        """Return calibrated probabilities of features; computes the design matrix `CHUNK_ROWS` rows at a time.

        Parameters
        ----------
        features
            Shape (n, `features.WIDTH`), n ≥ 0, in the units of the catalogue.

        Returns
        -------
        ndarray
            Shape (n,), strictly between 0 and 1.

        Raises
        ------
        ValueError
            If the features have another shape.
        """
        return np.concatenate([self.score(design(rows)) for rows in _chunks(features)])

    def contributions(self, inputs: Inputs) -> Floats:
        """Return each group's contribution to the calibrated logit.

        A contribution is the sum of weight times (input - reference) over the inputs of the group, so `intercept` plus
        the contributions of all groups is the calibrated logit.

        Parameters
        ----------
        inputs
            Design matrix, shape (n, `len(INPUTS)`).

        Returns
        -------
        ndarray
            Shape (n, `len(GROUPS)`), columns in the order of `GROUPS`.
        """
        by_group = np.zeros((len(INPUTS), len(GROUPS)))
        by_group[np.arange(len(INPUTS)), GROUP_OF_INPUT] = self.weights
        contributions: Floats = (inputs @ by_group.astype(inputs.dtype)).astype(np.float64) - self.reference @ by_group
        return contributions

    @classmethod
    def from_payload(cls, payload: dict[str, Any], *, name: str, candidate: str, target: Target, version: int) -> Self:
        """Build a scorer from what the function `payload` returns.

        Raises
        ------
        SchemaMismatchError
            If a field is missing or of another type, an input is one that this code does not compute, lengths differ, a
            number is not finite, a scale is not above 0, or a weight or the intercept of the folded model is beyond
            `WEIGHT_LIMIT`.
        """
        try:
            names = [str(name) for name in payload["inputs"]]
            weights, mean, scale = (
                np.array([float(value) for value in payload[key]], np.float64) for key in ("weights", "mean", "scale")
            )
            slope, offset = (float(value) for value in payload["calibration"])
            intercept = float(payload["intercept"])
        except (KeyError, TypeError, ValueError) as error:
            what = f"The payload of model {name} version {version} is not a linear model: {error!r}."
            raise SchemaMismatchError(what, "The model in use stays.") from error
        unknown = [item for item in names if item not in POSITION]
        if unknown or not len(names) == len(weights) == len(mean) == len(scale):
            what = f"Model {name} version {version} does not fit the inputs of this code (unknown: {unknown[:3]})."
            raise SchemaMismatchError(what, "The model in use stays.")
        where = [POSITION[item] for item in names]
        full, reference = np.zeros(len(INPUTS)), np.zeros(len(INPUTS))
        with np.errstate(all="ignore"):  # what comes of it is looked at below
            full[where] = slope * weights / scale
        reference[where] = mean
        folded = slope * intercept + offset
        bounded = all((np.abs(part) <= WEIGHT_LIMIT).all() for part in (full, reference, np.array(folded)))
        if not bounded or not (scale > 0).all() or len(set(where)) < len(where):
            what = f"Model {name} version {version} holds numbers that cannot score."
            raise SchemaMismatchError(what, "The model in use stays.")
        return cls(name, candidate, target, version, full, reference, folded)


def _chunks(features: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
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
    """Return a linear model as plain JSON: the payload of a snapshot of kind `linear`.

    Parameters
    ----------
    names
        Inputs it uses, out of `online_ml.scoring.inputs.INPUTS`; k of them, in any order.
    weights
        Shape (k,), over the standardised inputs.
    mean, scale
        Shape (k,): the uncalibrated logit is `((inputs - mean) / scale) @ weights + intercept`. Scales are above 0.
    intercept
        Uncalibrated logit at the mean inputs.
    calibration
        Slope and offset that make the uncalibrated logit the calibrated one.
    """
    return {
        "kind": LINEAR,
        "inputs": list(names),
        "weights": [float(value) for value in weights],
        "mean": [float(value) for value in mean],
        "scale": [float(value) for value in scale],
        "intercept": float(intercept),
        "calibration": [float(value) for value in calibration],
    }


def load(snapshot: ModelSnapshot) -> Scorer:
    """Return the scorer that a snapshot describes; nothing in the snapshot is executed.

    Parameters
    ----------
    snapshot
        As `ModelSnapshot.decode` returns it: that verifies checksum and feature schema, this function does not.

    Raises
    ------
    SchemaMismatchError
        If this code does not know the payload's kind, or the payload does not fit (see `Scorer.from_payload`).
    """
    kind = snapshot.payload.get("kind")
    if kind == JUDGED:
        what = f"Model {snapshot.name} is judged beside the others and has no form in which it could score."
        raise SchemaMismatchError(what, "The model in use stays.")
    if kind != LINEAR:
        what = (
            f"Model {snapshot.name} version {snapshot.version} is of kind {kind!r}; this code scores kind {LINEAR!r}."
        )
        raise SchemaMismatchError(what, "The model in use stays; upgrade this process to use the new one.")
    return Scorer.from_payload(
        snapshot.payload,
        name=snapshot.name,
        candidate=snapshot.candidate,
        target=snapshot.target,
        version=snapshot.version,
    )

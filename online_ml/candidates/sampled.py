"""A slow model as a candidate: judged beside the others on a sample, begun anew from time to time, never served."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from online_ml.candidates.base import Floats, Inputs
from online_ml.candidates.chosen import Chosen
from online_ml.candidates.rows import RowModel
from online_ml.scoring import JUDGED

CERTAIN = 0.005
"""A leaf of few labels says 0 or 1; its logit is taken this far from them."""


class Anew:
    """A row model and its successor, which learns beside it until it takes its place.

    Parameters
    ----------
    name
        Name of the candidate.
    inputs
        Names of the inputs it sees, out of `online_ml.transforms.INPUTS`.
    make
        Returns an untaught model, each time the same.
    """

    servable = False

    def __init__(self, name: str, inputs: Sequence[str], make: Callable[[], RowModel]) -> None:
        self.name = name
        self.inputs = list(inputs)
        self._chosen = Chosen(inputs)
        self._make = make
        self._elder = make()
        self._younger: RowModel | None = None

    def logits(self, inputs: Inputs) -> Floats:
        """Return uncalibrated logits; see `Candidate.logits`."""
        chances = np.clip(self._elder.predict(self._chosen.of(inputs)), CERTAIN, 1 - CERTAIN)
        logits: Floats = np.log(chances / (1 - chances))
        return logits

    def learn_many(self, inputs: Inputs, labels: npt.NDArray[np.uint8]) -> None:
        """Learn row by row; see `Candidate.learn_many`."""
        chosen = self._chosen.of(inputs)
        self._elder.learn(chosen, labels)
        if self._younger is not None:
            self._younger.learn(chosen, labels)

    def renew(self) -> None:
        """Let the successor take over; see `Sampled.renew`."""
        if self._younger is not None:
            self._elder = self._younger
        self._younger = self._make()

    def payload(self, calibration: tuple[float, float]) -> dict[str, Any]:
        """Return how it is to be read: not at all, it is judged only."""
        return {"kind": JUDGED, "inputs": self.inputs, "calibration": [float(value) for value in calibration]}

"""What every candidate offers, and the state it is saved by."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Inputs = npt.NDArray[np.floating[Any]]
"""Design matrix in any precision, shape (n, `len(INPUTS)`)."""
State = dict[str, npt.NDArray[Any]]
"""Plain numeric arrays by name: what a checkpoint holds; nothing in it is executed."""


class Candidate(Protocol):
    """A model that predicts a logit from the design matrix and learns from matured labels."""

    @property
    def name(self) -> str:
        """Name within its target (`logistic`, `recency`, …)."""
        ...

    @property
    def servable(self) -> bool:
        """False for a yardstick that gives every customer the same score and must never become champion."""
        ...

    def logits(self, inputs: Inputs) -> Floats:
        """Return uncalibrated logits, shape (n,), of inputs of shape (n, `len(INPUTS)`)."""
        ...

    def age(self, days: float) -> None:
        """Let event time pass, before the labels that mature at its end are learned: what fades, fades here."""
        ...

    def learn_many(self, inputs: Inputs, labels: npt.NDArray[np.uint8]) -> None:
        """Learn a batch, labels 0 or 1 of shape (n,), n ≥ 1."""
        ...

    def payload(self, calibration: tuple[float, float]) -> dict[str, Any]:
        """Return what `online_ml.scoring.load` needs to predict the same, with the calibration's slope and offset."""
        ...

    def state(self) -> State:
        """Return everything that learning changes, as arrays that later learning does not touch."""
        ...

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Become what `state` describes; learning goes on bit for bit as if it had never stopped."""
        ...

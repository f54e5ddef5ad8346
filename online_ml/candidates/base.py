"""Protocols of the candidates, which learn every label or a sample of them, and how each selects its inputs."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from online_ml.scoring.inputs import POSITION
from online_ml.types import AnyArray, Floats, Inputs, Outcomes, State


class Candidate(Protocol):
    """A model that predicts a logit from the design matrix and learns from matured labels."""

    @property
    def name(self) -> str:
        """Name within its target (`logistic`, `recency`, …)."""
        ...

    @property
    def servable(self) -> bool:
        """Whether it may become champion.

        Not a yardstick that gives every customer the same score, nor a model that no form publishes which loading would
        not execute.
        """
        ...

    def logits(self, inputs: Inputs) -> Floats:
        """Return uncalibrated logits, shape (n,), of inputs of shape (n, `len(INPUTS)`)."""
        ...

    def learn_many(self, inputs: Inputs, labels: Outcomes) -> None:
        """Learn a batch, labels 0 or 1 of shape (n,), n ≥ 1."""
        ...

    def payload(self, calibration: tuple[float, float]) -> dict[str, Any]:
        """Return what is published of it, with the calibration's slope and offset.

        If it is servable, that is all that `online_ml.scoring.scorer.load` needs to predict the same.
        """
        ...


class FullCandidate(Candidate, Protocol):
    """A candidate that learns every label, speaks for every customer, and is saved as arrays."""

    def age(self, days: float) -> None:
        """Let event time pass, before the labels that mature at its end are learned: what fades, fades here."""
        ...

    def state(self) -> State:
        """Return everything that learning changes, as arrays that later learning does not touch."""
        ...

    def restore(self, state: Mapping[str, AnyArray]) -> None:
        """Load `state`; learning continues bit for bit as if it had never stopped."""
        ...


class SampledCandidate(Candidate, Protocol):
    """A candidate too slow for every label: it learns a sample of them and speaks for a sample of the customers.

    It is saved as the labels that it has learned (`online_ml.learning.sample`): trained again in their
    order, it must become the same bit for bit, in any process. So that they stay few, it is renewed from time to time.
    """

    def renew(self) -> None:
        """Predict from now on as a model that has learned only the labels since the last call, and drop those before.

        The first call changes no prediction: it only marks the point from which the next one counts.
        """
        ...


class ColumnSelector:
    """The columns of named inputs.

    Parameters
    ----------
    names
        Out of `online_ml.scoring.inputs.INPUTS`; if they are all of them, in that order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._columns = np.array([POSITION[name] for name in names], dtype=np.intp)

    def of(self, inputs: Inputs) -> Inputs:
        """Return these columns of a design matrix: the matrix itself if they are all."""
        return inputs if len(self._columns) == inputs.shape[1] else inputs[:, self._columns]

"""The protocols of candidates: those that learn every label, and those that learn a sample.

They are what the learner needs, which has matrices. Every candidate is a River estimator besides: it learns from
dictionaries and data frames what it would learn from a matrix of the same rows (`online_ml.candidates.estimator`).
"""

from typing import Any, Protocol

from online_ml.types import Floats, Inputs, Outcomes, SavedState, State


class Candidate(Protocol):
    """A model that predicts a logit from the design matrix and learns from matured labels."""

    @property
    def name(self) -> str:
        """Name within its target (`logistic`, `recency`, …)."""
        ...

    @property
    def servable(self) -> bool:
        """Whether it may become champion.

        False for a baseline that gives every customer the same score, and for a model that could only be published in
        a form whose loading executes code.
        """
        ...

    def logits(self, inputs: Inputs) -> Floats:
        """Return uncalibrated logits, shape (n,), of inputs of shape (n, `len(INPUTS)`)."""
        ...

    def learn_matrix(self, inputs: Inputs, labels: Outcomes) -> None:
        """Learn a batch: inputs of shape (n, `len(INPUTS)`), labels 0 or 1 of shape (n,), n ≥ 1."""
        ...

    def payload(self, calibration: tuple[float, float]) -> dict[str, Any]:
        """Return what is published of it, with the calibration's slope and offset.

        If it is servable, that is all that `online_ml.scoring.scorer.load` needs to predict the same.
        """
        ...


class FullCandidate(Candidate, Protocol):
    """A candidate that learns every label, predicts every customer, and is saved as arrays."""

    def age(self, days: float) -> None:
        """Let `days` of event time pass, before the labels that mature at their end are learned: forgetting is here."""
        ...

    def state(self) -> State:
        """Return everything that learning changes, as arrays that later learning does not touch."""
        ...

    def restore(self, state: SavedState) -> None:
        """Load `state`; learning continues bit for bit as if it had never stopped."""
        ...


class SampledCandidate(Candidate, Protocol):
    """A candidate too slow for every label: it learns a sample of them and predicts a sample of the customers.

    It is saved as the labels that it has learned (`online_ml.learning.sample`): trained again in their
    order, it must become the same bit for bit, in any process. So that they stay few, it is renewed from time to time.
    """

    def renew(self) -> None:
        """Predict from now on as a model that has learned only the labels since the last call, and drop those before.

        The first call changes no prediction: it only marks the point from which the next one counts.
        """
        ...

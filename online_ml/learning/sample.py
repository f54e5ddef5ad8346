"""The sample that the slow candidates learn and predict: drawn by boundary, and kept so that it can be learned again.

River's trees take hundreds of microseconds a label, and no form publishes one that loading would not execute. So they
learn `limit` labels of a boundary at most and predict `PREDICTED_PER_LABEL` times as many customers, both drawn by
seed and boundary: the sample follows from the topic alone, as all in the fold does. Their state is not the tree but the
labels they were trained on, plain arrays; a restart trains them again, in order. So that they stay few, a candidate is
renewed from the latest `GENERATION` labels: its successor learns them beside it and replaces it when it has them all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from online_ml.candidates import SampledCandidate
from online_ml.scoring.inputs import design
from online_ml.types import Outcomes

GENERATION = 2_000
"""Labels that a candidate has learned when it starts to predict; it has twice as many when it is replaced. A
restart learns six thousand rows at most, some 2.5 seconds per target."""
PREDICTED_PER_LABEL = 6
"""Customers predicted at a snapshot for each label learned at a boundary: a prediction costs a tenth of a label."""
_SALT = 53
"""Sets the draw of customers apart from the order of labels, which has the same seed and boundary."""


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """The labels of one boundary that the slow candidates learn. Never changed once made."""

    boundary: int
    inputs: npt.NDArray[np.float32]
    """Shape (n, `len(INPUTS)`): the design matrix at the snapshots."""
    labels: Outcomes


class Sample:
    """The slow candidates of one target and their training batches.

    Parameters
    ----------
    candidates
        Untrained ones.
    limit
        Labels of a boundary that they learn at most.
    """

    def __init__(self, candidates: Sequence[SampledCandidate], limit: int) -> None:
        self.candidates = list(candidates)
        self.limit = limit
        self.learned = 0
        """Labels learned, ever."""
        self.left_out = 0
        """Labels that matured meanwhile and were not learned."""
        self._former: list[TrainingBatch] = []
        """Training batches from before the successors began."""
        self._latest: list[TrainingBatch] = []

    @property
    def batches(self) -> list[TrainingBatch]:
        """All training batches, oldest first: they determine the candidates."""
        return [*self._former, *self._latest]

    def split(self, labels: int) -> tuple[int, int]:
        """Return how many of a boundary's labels are learned, and how many are left out."""
        learned = min(labels, self.limit) if self.candidates else 0
        return learned, labels - learned

    def follow(
        self,
        boundary: int,
        order: npt.NDArray[np.intp],
        features: npt.NDArray[np.float32],
        labels: Outcomes,
    ) -> None:
        """Learn as many of a boundary's labels as `limit` allows, the first by `order`.

        Parameters
        ----------
        features
            Shape (n, `ebb.contracts.features.WIDTH`), at the snapshots.
        """
        some, left_out = self.split(len(order))
        if some:
            rows = order[:some]
            batch = TrainingBatch(boundary, np.ascontiguousarray(design(features[rows])), labels[rows])
            self.learn(batch, left_out=left_out)

    def learn(self, batch: TrainingBatch, *, left_out: int) -> None:
        """Learn a boundary's training batch, and count the labels left out of it."""
        self.learned += len(batch.labels)
        self.left_out += left_out
        self._train(batch)

    def restore(self, counts: npt.NDArray[np.int64], batches: Iterable[TrainingBatch]) -> None:
        """Train untrained candidates on the batches kept, oldest first: they become bit for bit what they were."""
        self.learned, self.left_out = (int(value) for value in counts)
        for batch in batches:
            self._train(batch)

    def _train(self, batch: TrainingBatch) -> None:
        for candidate in self.candidates:
            candidate.learn_matrix(batch.inputs, batch.labels)
        self._latest.append(batch)
        # When to renew follows from the batches kept, so that training again renews at the same point.
        if sum(len(one.labels) for one in self._latest) >= GENERATION:
            for candidate in self.candidates:
                candidate.renew()
            self._former, self._latest = self._latest, []


def draw_sample(sizes: Sequence[int], limit: int, *, seed: int, boundary: int) -> list[npt.NDArray[np.intp]]:
    """Draw the rows of a boundary's chunks that the slow candidates predict, in rising order.

    Parameters
    ----------
    sizes
        Rows of each chunk.
    limit
        Labels of a boundary that they learn at most.
    """
    total = sum(sizes)
    rows = np.arange(total)
    if total > limit * PREDICTED_PER_LABEL:
        rng = np.random.default_rng([seed, boundary, _SALT])
        rows = np.sort(rng.choice(total, limit * PREDICTED_PER_LABEL, replace=False))
    found, start = [], 0
    for size in sizes:
        here = rows[(rows >= start) & (rows < start + size)]
        found.append(here - start)
        start += size
    return found

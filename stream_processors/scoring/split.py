"""Assign a model to each customer: the champion, or in a split a challenger for a fixed share of them."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np

from ebb.contracts.models import TARGETS, Target
from online_ml.scoring.scorer import Scorer
from stream_processors.native.hashing import mixed
from stream_processors.types import AnyArray, Flags, Hashes, RowIndices

ARM_SALTS: dict[Target, int] = {target: zlib.crc32(f"arm of {target}".encode()) for target in TARGETS}
"""Keep the share of one target independent of another's, and of the customers that a snapshot samples."""


@dataclass(frozen=True)
class Split:
    """A challenger that scores a fixed share of the customers in the champion's place."""

    challenger: Scorer
    share: float
    """Above 0, below 1."""

    def takes(self, hashes: Hashes) -> Flags:
        """Return which customers it scores, by the hashes of their ids (`hash_ids`)."""
        taken = mixed(hashes, ARM_SALTS[self.challenger.target]) < np.uint64(int(self.share * 2**64))
        return np.asarray(taken)


class ServingModels(Protocol):
    """The models that score: one per target, replaced while running; two where customers are split."""

    @property
    def churn(self) -> Scorer:
        """Scores the risk of leaving."""
        ...

    @property
    def purchase(self) -> Scorer:
        """Scores the chance of a purchase."""
        ...

    @property
    def splits(self) -> Mapping[Target, Split]:
        """The targets whose customers are split."""
        ...


@dataclass(frozen=True)
class Assignment:
    """Which model scores each of some customers, for one target."""

    champion: Scorer
    split: Split | None
    taken: Flags
    """Shape (n,): customers whom the challenger of the split scores."""

    @classmethod
    def of(cls, models: ServingModels, target: Target, hashes: Hashes) -> Self:
        """Assign models to customers whose ids have these hashes, shape (n,)."""
        champion = models.churn if target == "churn" else models.purchase
        split = models.splits.get(target)
        return cls(champion, split, np.zeros(len(hashes), np.bool_) if split is None else split.takes(hashes))

    def apply(self, score: Callable[[Scorer, RowIndices | slice], AnyArray]) -> AnyArray:
        """Call `score` with each model and the indices of its customers; return the results in order, shape (n,)."""
        if self.split is None:
            return score(self.champion, slice(None))
        results = None
        for scorer, own in ((self.champion, ~self.taken), (self.split.challenger, self.taken)):
            rows = np.flatnonzero(own)
            if len(rows):
                part = score(scorer, rows)
                results = np.empty(len(own), part.dtype) if results is None else results
                results[rows] = part
        return score(self.champion, slice(None)) if results is None else results

    def rows(self, chosen: AnyArray) -> Self:
        """Return the assignment of some of the customers."""
        return replace(self, taken=self.taken[chosen])

    @property
    def models(self) -> list[Scorer]:
        """The champion, and in a split the challenger; `taken` is the index into them."""
        return [self.champion] if self.split is None else [self.champion, self.split.challenger]

    def names(self) -> list[str] | None:
        """Return the candidate of each customer's model; None if customers are not split."""
        if self.split is None:
            return None
        # By the name of the model: a frozen version must not pass for its candidate, which goes on learning.
        names = np.array([model.name.partition(".")[2] for model in self.models])
        return [str(name) for name in names[self.taken.astype(np.intp)]]

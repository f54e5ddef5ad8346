"""Synthetic blocks whose labels follow a known law: what the learner's tests feed it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ebb.contracts.examples import Block, Close, Labels, Snapshot, customers_digest
from ebb.contracts.features import INDEX, WIDTH
from ebb.contracts.models import label_definition

FIRST_DAY = 20_000
Arrays = npt.NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """Customers whose chance to leave rises with the logarithm of their silence.

    Parameters
    ----------
    shuffled
        Labels drawn at their base rate, blind to the features: nothing can be learned.
    """

    partitions: int = 2
    days: int = 12
    rows: int = 40
    """Customers per partition and snapshot; chunked in two."""
    churn_horizon: int = 3
    purchase_horizon: int = 2
    seed: int = 0
    shuffled: bool = False

    def features(self, partition: int, day: int) -> npt.NDArray[np.float32]:
        """Return plausible features of a partition's customers on a day, shape (rows, WIDTH)."""
        rng = np.random.default_rng([self.seed, partition, day])
        found = rng.gamma(1.0, 4.0, (self.rows, WIDTH))
        found[:, INDEX["tenure_days"]] = found[:, INDEX["recency_days"]] + rng.gamma(2.0, 40.0, self.rows)
        return found.astype(np.float32)

    def chance(self, target: str, partition: int, day: int) -> Arrays:
        """Return the true probability of the label, shape (rows,)."""
        silence = np.log1p(self.features(partition, day)[:, INDEX["recency_days"]].astype(np.float64))
        logit = 2.0 * (silence - 1.4) * (1 if target == "churn" else -1)
        return 1 / (1 + np.exp(-logit))

    def labels(self, target: str, partition: int, day: int) -> npt.NDArray[np.uint8]:
        """Return what becomes of a snapshot's customers, shape (rows,)."""
        rng = np.random.default_rng([self.seed, partition, day, len(target)])
        chance = np.full(self.rows, 0.5) if self.shuffled else self.chance(target, partition, day)
        return (rng.random(self.rows) < chance).astype(np.uint8)

    def horizon(self, target: str) -> int:
        """Return a target's horizon in days."""
        return self.churn_horizon if target == "churn" else self.purchase_horizon

    def partition(self, number: int) -> Iterator[Block]:
        """Yield the blocks of a partition in the order in which a worker writes them."""
        for day in range(FIRST_DAY, FIRST_DAY + self.days):
            labels = [
                self.labelled(number, day, target, taken)
                for target in ("churn", "purchase")
                if (taken := day - self.horizon(target)) >= FIRST_DAY
            ]
            yield from labels
            features = self.features(number, day)
            cut = self.rows // 2
            for chunk, part in enumerate((slice(0, cut), slice(cut, None))):
                yield self.snapshot(number, day, chunk, features, part)
            yield Close(number, day, chunks=2, labels=len(labels))

    def labelled(self, number: int, day: int, target: str, taken: int) -> Labels:
        """Return the labels of a snapshot that mature on a day."""
        rule = "silence" if target == "churn" else target
        definition = label_definition(rule, self.horizon(target))
        customers = customers_digest([f"c{number}-{row}" for row in range(self.rows)])
        return Labels(number, day, target, taken, self.labels(target, number, taken), definition, customers)

    def snapshot(self, number: int, day: int, chunk: int, features: npt.NDArray[np.float32], part: slice) -> Snapshot:
        """Return one chunk; every other customer was served a score of 0.25."""
        rows = range(self.rows)[part]
        served = np.where(np.array(rows) % 2, 0.25, np.nan).astype(np.float32)
        return Snapshot(
            number,
            day,
            chunk,
            pa.array([f"c{number}-{row}" for row in rows], pa.utf8()),
            pa.array(["DE" if row % 3 else None for row in rows], pa.utf8()),
            pa.nulls(len(rows), pa.utf8()),
            features[part],
            served,
            served,
        )

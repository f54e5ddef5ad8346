"""Baselines on a recorded log: recency alone, event count alone, and gradient boosting trained in batches.

Nothing here shares code with Ebb's features or labels: all of it is computed from the list of events, so that an error
in Ebb would show as pairs or labels that differ.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
TRAINING_SNAPSHOTS = 40
FROZEN_SNAPSHOTS = 12


@dataclass(frozen=True)
class Events:
    """A log in order of time, as columns of equal length."""

    customer: Ints
    """Index of the customer in `names`."""
    day: Floats
    """Days since 1970, with their fraction."""
    kind: Ints
    value: Floats
    names: list[str]


@dataclass(frozen=True)
class Snapshot:
    """Customers active in the look-back before the beginning of a day, with their features then and their labels."""

    customers: Ints
    table: Floats
    """Shape (customers, columns)."""
    churned: npt.NDArray[np.uint8]
    """1: no event in the horizon."""
    recency: Floats
    count: Floats
    """Events in the look-back."""


class Baselines:
    """Snapshots of a log and the models trained on them.

    Parameters
    ----------
    horizon, lookback
        Days.
    """

    def __init__(self, events: Events, *, horizon: int, lookback: int) -> None:
        self._events = events
        self._horizon = horizon
        self._lookback = lookback
        self._kinds = int(events.kind.max()) + 1
        self._snapshots: dict[int, Snapshot] = {}

    def snapshot(self, day: int) -> Snapshot:
        """Return the snapshot at the beginning of a day; the table holds nothing of that day."""
        if day not in self._snapshots:
            self._snapshots[day] = self._take(day)
        return self._snapshots[day]

    def boosting(self, day: int, *, snapshots: int, every: int) -> HistGradientBoostingClassifier:
        """Train on the latest snapshots whose labels are known at the beginning of a day."""
        latest = day - self._horizon
        days = [latest - step * every for step in range(snapshots)]
        used = [self.snapshot(earlier) for earlier in days if earlier > self._events.day[0]]
        model = HistGradientBoostingClassifier(
            max_iter=100,
            learning_rate=0.05,
            max_leaf_nodes=15,
            min_samples_leaf=50,
            l2_regularization=1.0,
            random_state=0,
        )
        return model.fit(
            np.concatenate([taken.table for taken in used]), np.concatenate([taken.churned for taken in used])
        )

    def _take(self, day: int) -> Snapshot:
        events, size = self._events, len(self._events.names)
        now, later = np.searchsorted(events.day, [day, day + self._horizon])
        customer, when = events.customer[:now], events.day[:now]
        first, last = np.full(size, np.inf), np.full(size, -np.inf)
        np.minimum.at(first, customer, when)
        np.maximum.at(last, customer, when)
        present = np.flatnonzero(last >= day - self._lookback)

        def since(days: float) -> npt.NDArray[np.bool_]:
            return when >= day - days

        def count(chosen: npt.NDArray[np.bool_] | slice, weights: Floats | None = None) -> Floats:
            counted = np.bincount(customer[chosen], None if weights is None else weights[chosen], size)
            return counted.astype(np.float64)

        span = self._lookback
        every = slice(None)
        counts = [count(since(span / part)) for part in (8, 4, 2, 1)]
        pairs = np.unique(np.column_stack([customer, np.floor(when).astype(np.int64)]), axis=0)
        active = np.bincount(pairs[:, 0], minlength=size)
        recent = np.bincount(pairs[pairs[:, 1] >= day - span, 0], minlength=size)
        gap = np.where(active > 1, (last - first) / np.maximum(active - 1, 1), 0)
        silent = day - last
        ratio = np.divide(silent, gap, out=np.full(size, np.nan), where=gap > 0)
        columns = [silent, day - first, *counts, count(every), active, recent, gap, ratio]
        columns += [(counts[2] + 1) / (counts[3] - counts[2] + 1)]
        columns += [count(every, events.value[:now]), count(since(span), events.value[:now])]
        columns += [count(events.kind[:now] == kind) for kind in range(self._kinds)]
        returned = np.zeros(size, bool)
        returned[events.customer[now:later]] = True
        churned = (~returned[present]).astype(np.uint8)
        return Snapshot(present, np.column_stack(columns)[present], churned, silent[present], counts[3][present])

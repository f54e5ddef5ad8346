"""The opponents on a recorded log: silence alone, volume alone, and gradient boosting trained in batches.

Nothing here shares code with Ebb's features or labels: all of it is computed from the list of events, so that an error
of ours would show as pairs or labels that differ.
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
    """Place of the customer in `names`."""
    day: Floats
    """Days since 1970, with their fraction."""
    kind: Ints
    value: Floats
    names: list[str]


@dataclass(frozen=True)
class Snapshot:
    """Customers active in the look-back before a day's beginning, what is known of them then, what became of them."""

    customers: Ints
    table: Floats
    """Shape (customers, columns)."""
    gone: npt.NDArray[np.uint8]
    """1: no event in the horizon."""
    recency: Floats
    count: Floats
    """Events in the look-back."""


class Opponents:
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
        self._made: dict[int, Snapshot] = {}

    def snapshot(self, day: int) -> Snapshot:
        """Return the snapshot at the beginning of a day; nothing that happened on it is in the table."""
        if day not in self._made:
            self._made[day] = self._take(day)
        return self._made[day]

    def boosting(self, day: int, *, snapshots: int, every: int) -> HistGradientBoostingClassifier:
        """Train on the latest snapshots whose labels are known at the beginning of a day."""
        latest = day - self._horizon
        days = [latest - place * every for place in range(snapshots)]
        used = [self.snapshot(one) for one in days if one > self._events.day[0]]
        model = HistGradientBoostingClassifier(
            max_iter=100,
            learning_rate=0.05,
            max_leaf_nodes=15,
            min_samples_leaf=50,
            l2_regularization=1.0,
            random_state=0,
        )
        return model.fit(np.concatenate([one.table for one in used]), np.concatenate([one.gone for one in used]))

    def _take(self, day: int) -> Snapshot:
        events, size = self._events, len(self._events.names)
        now, later = np.searchsorted(events.day, [day, day + self._horizon])
        who, when = events.customer[:now], events.day[:now]
        first, last = np.full(size, np.inf), np.full(size, -np.inf)
        np.minimum.at(first, who, when)
        np.maximum.at(last, who, when)
        present = np.flatnonzero(last >= day - self._lookback)

        def since(days: float) -> npt.NDArray[np.bool_]:
            return when >= day - days

        def count(chosen: npt.NDArray[np.bool_] | slice, weights: Floats | None = None) -> Floats:
            found = np.bincount(who[chosen], None if weights is None else weights[chosen], size)
            return found.astype(np.float64)

        span = self._lookback
        every = slice(None)
        counts = [count(since(span / part)) for part in (8, 4, 2, 1)]
        pairs = np.unique(np.column_stack([who, np.floor(when).astype(np.int64)]), axis=0)
        active = np.bincount(pairs[:, 0], minlength=size)
        lately = np.bincount(pairs[pairs[:, 1] >= day - span, 0], minlength=size)
        gap = np.where(active > 1, (last - first) / np.maximum(active - 1, 1), 0)
        silent = day - last
        ratio = np.divide(silent, gap, out=np.full(size, np.nan), where=gap > 0)
        columns = [silent, day - first, *counts, count(every), active, lately, gap, ratio]
        columns += [(counts[2] + 1) / (counts[3] - counts[2] + 1)]
        columns += [count(every, events.value[:now]), count(since(span), events.value[:now])]
        columns += [count(events.kind[:now] == kind) for kind in range(self._kinds)]
        back = np.zeros(size, bool)
        back[events.customer[now:later]] = True
        gone = (~back[present]).astype(np.uint8)
        return Snapshot(present, np.column_stack(columns)[present], gone, silent[present], counts[3][present])

"""Snapshots and labels of a partition: what it publishes when it closes a day boundary."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ebb.contracts.examples import SNAPSHOT_ROWS, WITHDRAWN, Block, Close, Labels, Snapshot, customers_digest
from ebb.contracts.features import EventKind
from ebb.contracts.models import Target
from ebb.contracts.topics import MAX_MESSAGE_BYTES
from ebb.settings import LabelSettings
from stream_processors.native.hashing import mixed
from stream_processors.state.bitmaps import bitmap_count, bitmap_flags
from stream_processors.state.contradictions import Late, Published, count_contradicted
from stream_processors.state.customers import CustomerState
from stream_processors.state.features import describe_at_boundary
from stream_processors.state.table import BITMAP_DAYS, DAY_MS
from stream_processors.state.touch import Touch
from stream_processors.types import Float32Array, RowIndices

ROW_BYTES = 256
"""Bytes of a row of a block beside its texts, amply."""
BLOCK_BYTES = MAX_MESSAGE_BYTES // 2
ERASED = -1
"""Row of a snapshot's customer who was erased since."""


@dataclass(frozen=True)
class BoundaryResult:
    """A boundary that one partition closed: its snapshot and the labels that matured."""

    partition: int
    boundary: int
    labels: list[Labels] = field(default_factory=list)
    rows: RowIndices = field(default_factory=lambda: np.empty(0, np.intp))
    """Rows snapshotted, in the order of the snapshot."""
    features: Float32Array = field(default_factory=lambda: np.empty((0, 0), np.float32))
    ids: list[str] = field(default_factory=list)
    countries: list[str | None] = field(default_factory=list)
    channels: list[str | None] = field(default_factory=list)

    def blocks(
        self,
        served_churn: Float32Array,
        served_purchase: Float32Array,
        arms: Mapping[Target, list[str]] | None = None,
    ) -> list[Block]:
        """Return the blocks to write, in order.

        Parameters
        ----------
        served_churn, served_purchase
            Predictions of the models in use for the snapshot's rows, shape (rows,).
        arms
            Candidate that predicted each row, of the targets whose customers are split.
        """
        blocks: list[Block] = list(self.labels)
        parts = self._parts()
        ids, countries, channels = (pa.array(texts, pa.utf8()) for texts in (self.ids, self.countries, self.channels))
        assigned = {target: pa.array(names, pa.utf8()) for target, names in (arms or {}).items()}
        for chunk, part in enumerate(parts):
            blocks.append(
                Snapshot(
                    self.partition,
                    self.boundary,
                    chunk,
                    ids[part],
                    countries[part],
                    channels[part],
                    self.features[part],
                    served_churn[part],
                    served_purchase[part],
                    {target: names[part] for target, names in assigned.items()},
                )
            )
        blocks.append(Close(self.partition, self.boundary, chunks=len(parts), labels=len(self.labels)))
        return blocks

    def _parts(self) -> list[slice]:
        """Cut the snapshot into blocks of a bounded number of rows, and of bytes, which ids and texts decide."""
        if not len(self.rows):
            return []
        texts = [
            4 * (len(one) + len(country or "") + len(channel or ""))
            for one, country, channel in zip(self.ids, self.countries, self.channels, strict=True)
        ]
        ends = np.concatenate([[0], np.cumsum(np.array(texts) + ROW_BYTES)])
        starts = [0]
        while (start := starts[-1]) < len(texts):
            stop = int(np.searchsorted(ends, ends[start] + BLOCK_BYTES, side="right")) - 1
            starts.append(min(max(stop, start + 1), start + SNAPSHOT_ROWS, len(texts)))
        return [slice(start, stop) for start, stop in pairwise(starts)]


def _have_left(state: CustomerState, rows: RowIndices) -> npt.NDArray[np.bool_]:
    """Return which customers have cancelled on the day of their last activity or later, before the last boundary."""
    found = np.zeros(len(rows), np.bool_)
    marked = np.flatnonzero(state.table["cancel_days"][rows].any(axis=1))
    if len(marked) and state.closed is not None:
        oldest = state.opened - BITMAP_DAYS + 1
        flags = bitmap_flags(state.table["cancel_days"][rows[marked]], state.opened)[:, : state.closed - oldest]
        newest = oldest + flags.shape[1] - 1 - flags[:, ::-1].argmax(axis=1)
        found[marked] = flags.any(axis=1) & (newest >= state.table["last_active_day"][rows[marked]])
    return found


class Labeller:
    """Takes snapshots at boundaries and reads their labels from the bitmaps when they have matured.

    Both classes of a label mature at the end of its horizon, never before, or early negatives would bias the rate; and
    some days later, so that events which come late are in it.

    Parameters
    ----------
    partition
        Number of the partition.
    settings
        Horizons, delay of labels, look-back, definition of churn, sampling.
    """

    def __init__(self, partition: int, settings: LabelSettings) -> None:
        self.partition = partition
        self.lookback_days = settings.lookback_days
        self.pending: dict[int, RowIndices] = {}
        """Rows of each snapshot that has a label to come, by boundary, in the order of the snapshot."""
        self.changed: set[int] = set()
        """Snapshots with a row withdrawn since the last checkpoint."""
        self.definitions = settings.label_definitions
        """By target, what its label is."""
        self.labelled_from: dict[Target, int] = {}
        """By target, the first snapshot that may still get a label."""
        self._horizons: dict[Target, int] = {
            "churn": settings.horizon_days,
            "purchase": settings.purchase_horizon_days,
        }
        self._delay = settings.label_delay_days
        self._every = settings.snapshot_every_days
        self._limit = settings.snapshot_limit
        self._by_cancellation = settings.churn_label == "cancel"
        self._minor = settings.minor_units

    def close_boundary(self, state: CustomerState, boundary: int) -> BoundaryResult:
        """Return the snapshot and the matured labels of the boundary that `state` has just closed."""
        labels: list[Labels] = []
        for target, horizon in self._horizons.items():
            # One a boundary; several after the delay was made shorter, none for some after it was made longer.
            due, begin = boundary - horizon - self._delay, self.labelled_from.get(target, 0)
            mature = sorted(taken for taken in self.pending if begin <= taken <= due)
            labels += [self._labels(state, target, taken, boundary) for taken in mature]
            self.labelled_from[target] = max(begin, due + 1)
        for taken in [taken for taken in self.pending if taken < min(self.labelled_from.values())]:
            del self.pending[taken]
        if boundary % self._every:
            return BoundaryResult(self.partition, boundary, labels)
        rows = self._population(state, boundary)
        if len(rows) == 0:
            return BoundaryResult(self.partition, boundary, labels)
        self.pending[boundary] = rows
        return BoundaryResult(
            self.partition,
            boundary,
            labels,
            rows,
            describe_at_boundary(state, rows, minor_units=self._minor),
            state.ids.take(rows),
            state.countries.of(state.table["country"][rows]),
            state.channels.of(state.table["channel"][rows]),
        )

    def redefine(self, former: Mapping[Target, str], closed: int) -> list[Target]:
        """Leave the snapshots that were taken for another label without one; return the targets of which that is so.

        The models that predict at a snapshot predict what its label was meant to be.

        Parameters
        ----------
        former
            By target, what its label was when the pending snapshots were taken.
        closed
            The last boundary closed.
        """
        changed: list[Target] = [one for one, definition in former.items() if definition != self.definitions[one]]
        for target, horizon in self._horizons.items():
            # Where it is not known, labels did not wait.
            self.labelled_from.setdefault(target, closed - horizon + 1)
        self.labelled_from |= dict.fromkeys(changed, closed + 1)
        return changed

    def withdraw(self, row: int) -> tuple[list[int], list[int]]:
        """Remove a row from the snapshots that wait for labels; return their boundaries and its index in each."""
        boundaries, places = [], []
        for boundary, rows in self.pending.items():
            for place in np.flatnonzero(rows == row).tolist():
                rows = self.pending[boundary] = rows.copy()  # noqa: PLW2901 - the snapshot's own rows stay
                rows[place] = ERASED
                boundaries.append(boundary)
                places.append(place)
                self.changed.add(boundary)
        return boundaries, places

    def contradicted(self, state: CustomerState, late: Touch) -> int:
        """Count the labels already published that events of closed days contradict.

        Called before those events are counted.
        """
        days = late.times // DAY_MS
        return sum(
            count_contradicted(
                state.table["active_days"],
                state.table[column],
                Late(late.rows, days, counted, late.kinds != EventKind.CANCEL),
                Published(horizon, self.lookback_days, self._every, last, state.opened),
            )
            for target, horizon in self._horizons.items()
            for last in [(state.closed or 0) - horizon - self._delay]
            for column, counted in [self._what_counts(target, late)]
        )

    def _what_counts(self, target: Target, touch: Touch) -> tuple[str, npt.NDArray[np.bool_]]:
        """Return the bitmap that a target's label reads, and which events set its bits."""
        if target == "purchase":
            return "purchase_days", touch.kinds == EventKind.PURCHASE
        if self._by_cancellation:
            return "cancel_days", touch.kinds == EventKind.CANCEL
        return "active_days", touch.kinds != EventKind.CANCEL

    def _population(self, state: CustomerState, boundary: int) -> RowIndices:
        """Return the customers active in the look-back before the boundary, or a stable sample if they are too many.

        Where churn is a cancellation, without those who have cancelled and have not been active since.
        """
        last = state.table["last_seen"]
        rows = np.flatnonzero(last >= (boundary - self.lookback_days) * DAY_MS)
        if self._by_cancellation:
            rows = rows[~_have_left(state, rows)]
        if len(rows) <= self._limit:
            return rows
        keys = mixed(state.table["id_hash"][rows], boundary)
        return np.sort(rows[np.argpartition(keys, self._limit)[: self._limit]])

    def _labels(self, state: CustomerState, target: Target, snapshot: int, boundary: int) -> Labels:
        rows = self.pending[snapshot]
        return Labels(
            self.partition,
            boundary,
            target,
            snapshot,
            self._label(state, target, snapshot),
            self.definitions[target],
            customers_digest(state.ids.take(rows[rows != ERASED])),
        )

    def _label(self, state: CustomerState, target: Target, snapshot: int) -> npt.NDArray[np.uint8]:
        rows = self.pending[snapshot]
        last = snapshot + self._horizons[target] - 1

        def days(column: str) -> npt.NDArray[np.uint8]:
            return bitmap_count(state.table[column][rows], snapshot, last)

        if target == "purchase":
            label = days("purchase_days") > 0
        elif self._by_cancellation:
            label = days("cancel_days") > 0
        else:
            label = days("active_days") == 0
        found: npt.NDArray[np.uint8] = np.where(rows == ERASED, WITHDRAWN, label).astype(np.uint8)
        return found

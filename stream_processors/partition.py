"""One assigned partition at work: batches become state, scores, alerts, blocks and rows for ClickHouse."""

import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from faust.types import EventT

from ebb.contracts import examples as blocks
from ebb.contracts.activity import TICK_HEADER
from ebb.contracts.erasures import ErasurePart, ErasurePartReport, key_of, partition_of
from ebb.contracts.models import TARGETS, Target
from ebb.contracts.scores import BANDS
from ebb.kafka.producer import Publisher
from ebb.metrics import CUSTOMERS, CUSTOMERS_BY_BAND, DEAD_LETTERS, EVENTS, WATERMARK
from ebb.settings import Settings
from stream_processors.batch import TICK, Batch, DeadLetter, ErasureRecord
from stream_processors.checkpoint import PartitionCapture, new, own, restore
from stream_processors.scoring.split import Assignment, ServingModels
from stream_processors.sink import (
    Accepted,
    Sink,
    feature_columns,
    refusal_columns,
)
from stream_processors.state.customers import DAY_MS, Rows
from stream_processors.state.engine import Erased
from stream_processors.state.features import describe
from stream_processors.state.labelling import BoundaryResult

SLICE_ROWS = 2_048
"""Customers scored in one go: some 5 ms, 20 if every one of them is told, so that no event waits long for a sweep."""


class PartitionWorker:
    """Owns one partition's engine and scoreboard. Not thread-safe; everything runs in the worker's event loop.

    Parameters
    ----------
    partition
        Number of the partition.
    publisher
        Where scores, alerts, blocks and dead letters go.
    sink
        Where rows for ClickHouse go.
    champions
        The models in use, whose word on each snapshot is kept.
    anew
        Begin without the checkpoint, at the first record that the topic still holds.

    Raises
    ------
    SchemaMismatchError, CorruptError
        If the checkpoint cannot be used.
    """

    def __init__(
        self,
        partition: int,
        settings: Settings,
        *,
        publisher: Publisher,
        sink: Sink,
        champions: ServingModels,
        anew: bool = False,
    ) -> None:
        self.partition = partition
        self._settings = settings
        self._publisher = publisher
        self._sink = sink
        self._champions = champions
        self._speed = settings.clock.speed
        self._undescribed: list[Rows] = []
        """Customers touched since their features were last kept."""
        self._unscored: list[Rows] = []
        self.writer = own(settings, partition)
        """Writes its checkpoints. Made before they are read, so that nobody else adds to them any more."""
        begin = new if anew else restore
        self.engine, self.board, self._checkpointer = begin(settings, partition)
        self.moved_at = time.time()
        """Wall time at which an event or a tick last moved the partition's time."""
        self.produced_at = self.moved_at
        """Wall time at which the last record processed was produced."""
        self.behind = True
        """Whether records wait to be processed: meanwhile the clock must not move time on."""
        self.unacked: list[EventT[Any]] = []
        """Polls processed since the last capture; they are acked once that is durable."""
        self._erased: list[tuple[ErasureRecord, int, bool]] = []
        """Customers forgotten since the last capture: event time (ms) of it, and whether no event had come before."""
        self._reporting: list[tuple[ErasureRecord, int, bool]] = []
        self.released = False
        """Whether the partition was given up, or another worker was found to have it: nothing more is done for it."""

    def process(self, batch: Batch) -> None:
        """Apply one poll: its events, and between them the records by which customers are forgotten."""
        for part, erasing in batch.parts():
            self._apply(part)
            if erasing is not None and (erased := self.engine.erase(erasing)) is not None:
                self._forget(erasing, erased)

    def due(self) -> Rows:
        """Return, once, the rows of the customers whom events have touched: distinct and ascending."""
        taken, self._unscored = self._unscored, []
        return _together(taken)

    def waiting(self) -> int:
        """Return how many customers whom events have touched are not scored yet, at most."""
        return min(sum(map(len, self._unscored)), len(self.engine.state))

    def _forget(self, erasing: ErasureRecord, erased: Erased) -> None:
        """Withdraw what was told of a customer who was forgotten; the next checkpoint reports it."""
        topics, state = self._settings.topics, self.engine.state
        if erased.row is not None:
            self.board.forget(erased.row)
        self._publisher.send(topics.scores, key=erasing.customer_id, value=None, partition=self.partition)
        self._erased.append((erasing, self.now(), state.closed is None))
        if state.closed is not None:
            snapshots, places = np.array(erased.snapshots, np.int32), np.array(erased.places, np.int32)
            block = blocks.Withdraw(self.partition, state.closed + 1, erasing.erasure_id, snapshots, places)
            self._publisher.send(topics.examples, key=None, value=blocks.encode(block), partition=self.partition)

    def report_erased(self) -> None:
        """Report the customers whom the last capture no longer holds; rows of theirs must have been inserted before.

        Called before that capture is written: what dies between the two is done, and reported, again.
        """
        taken, self._reporting = self._reporting, []
        for erasing, event_time, timeless in taken:
            at = datetime.now(UTC)
            details = {"partition": self.partition, "offset": erasing.offset, "event_time_ms": event_time}
            reports = {ErasurePart.WORKER: ErasurePartReport(at=at, customer_id=erasing.customer_id, details=details)}
            if timeless:  # a partition without events has no boundary by which the learner could come to know
                reports[ErasurePart.LEARNER] = ErasurePartReport(at=at, details={"rows": 0})
            for part, report in reports.items():
                self._publisher.send(
                    self._settings.topics.erasures,
                    key=key_of(erasing.erasure_id, part),
                    value=report.model_dump_json().encode(),
                    partition=partition_of(erasing.erasure_id, self._settings.partitions),
                )

    def _apply(self, batch: Batch) -> None:
        """Apply events: state, dead letters, blocks of the boundaries crossed."""
        offset = self.engine.offset
        newest = self.engine.newest
        effects = self.engine.process(batch)
        self.produced_at = batch.produced_at
        now = time.time()
        if self.engine.newest != newest:
            self.moved_at = now
        self._refuse([item for item in batch.refused if item.record.offset > offset])
        for crossing in effects.crossings:
            self._cross(crossing)
        if effects.accepted.any():
            self._sink.add_events(Accepted(batch, effects.accepted, effects.late, self.partition, now))
        if len(effects.touched):
            self._undescribed.append(effects.touched)
            self._unscored.append(effects.touched)
        late = int(effects.late.sum())
        EVENTS.labels("accepted").inc(int(effects.accepted.sum()) - late)
        EVENTS.labels("late").inc(late)
        EVENTS.labels("duplicate").inc(effects.duplicates)
        EVENTS.labels("tick").inc(int((batch.kinds == TICK).sum()))
        label = str(self.partition)
        CUSTOMERS.labels(label).set(len(self.engine.state.ids) - self.engine.state.ids.gone)
        if (watermark := self.engine.watermark) is not None:
            WATERMARK.labels(label).set(watermark / 1000)

    def now(self) -> int:
        """Event time at which scores are due, ms: the newest event's, moved on by the clock while none comes.

        Silence ages a customer only if time goes on without events; a replay, whose time is its log's, does not move.
        """
        newest = self.engine.newest or 0  # before the first event there is nobody to score
        if not newest or self.behind or not self._settings.idle_after_seconds:
            return newest
        return newest + int((time.time() - self.moved_at) * self._speed * 1000)

    def sweep_ranges(self) -> list[Rows]:
        """Cut all customers into the slices of a sweep."""
        total = len(self.engine.state)
        return [np.arange(start, min(start + SLICE_ROWS, total)) for start in range(0, total, SLICE_ROWS)]

    def count_bands(self) -> None:
        """Bring the gauge of customers by band up to date."""
        counts = np.bincount(self.board.table["band"] + 1, minlength=len(BANDS) + 1)
        for position, band in enumerate(BANDS, 1):
            CUSTOMERS_BY_BAND.labels(str(self.partition), band.value).set(int(counts[position]))

    def touched_ranges(self) -> list[Rows]:
        """Cut the customers touched since this was last asked into slices, to describe one after another."""
        taken, self._undescribed = self._undescribed, []
        rows = _together(taken)
        return [rows[start : start + SLICE_ROWS] for start in range(0, len(rows), SLICE_ROWS)]

    def keep_features(self, rows: Rows) -> None:
        """Put the features of some customers, as of now, among the rows for ClickHouse."""
        rows = self.engine.state.somebodys(rows)
        if (now := self.engine.newest) is not None and len(rows):
            features = describe(self.engine.state, rows, now, minor_units=self._settings.minor_units)
            ids = self.engine.state.ids.take(rows)
            self._sink.add("features", feature_columns(ids, features, now, time.time()))

    def capture(self) -> PartitionCapture | None:
        """Copy what changed since the last checkpoint."""
        self._reporting += self._erased
        self._erased = []
        return self._checkpointer.capture(self.engine, self.board)

    def tick(self, newest_anywhere: int | None) -> None:
        """Move an idle partition's time on by a record of its own, so that its labels mature and its state follows.

        Parameters
        ----------
        newest_anywhere
            Newest event time among the worker's partitions, ms: where a partition that never had an event begins.
        """
        idle = time.time() - self.moved_at
        base = self.engine.newest if self.engine.newest is not None else newest_anywhere
        if base is None or not self._settings.idle_after_seconds or idle < self._settings.idle_after_seconds:
            return
        target = base + int(idle * self._speed * 1000)
        if self.engine.newest is not None and target // DAY_MS == self.engine.newest // DAY_MS:
            return
        self._publisher.send(
            self._settings.topics.activity,
            key=None,
            value=b"",
            partition=self.partition,
            headers=[(TICK_HEADER, str(target // 1000).encode())],
        )
        self.moved_at = time.time()

    def _cross(self, crossing: BoundaryResult) -> None:
        rows = crossing.rows
        self.board.table.grow(len(self.engine.state))
        self.board.remember(crossing.boundary)
        served: dict[Target, npt.NDArray[np.float32]] = {}
        split: dict[Target, list[str]] = {}
        hashes = self.engine.state.table["id_hash"][rows]
        for target in TARGETS if len(rows) else ():
            arms = Assignment.of(self._champions, target, hashes)
            served[target] = arms.say(lambda model, who: model.predict(crossing.features[who])).astype(np.float32)
            if names := arms.names():
                split[target] = names
        if len(rows):
            as_of = crossing.boundary * DAY_MS
            self._sink.add("features", feature_columns(crossing.ids, crossing.features, as_of, time.time()))
        nobody = np.empty(0, np.float32)
        for block in crossing.blocks(served.get("churn", nobody), served.get("purchase", nobody), split):
            self._publisher.send(
                self._settings.topics.examples, key=None, value=blocks.encode(block), partition=self.partition
            )

    def _refuse(self, refused: list[DeadLetter]) -> None:
        for item in refused:
            record = item.record
            headers = [
                ("reason", item.reason),
                ("detail", item.detail[:500]),
                ("stage", "decode"),
                ("topic", self._settings.topics.activity),
                ("partition", str(self.partition)),
                ("offset", str(record.offset)),
            ]
            self._publisher.send(
                self._settings.topics.dead_letters,
                key=record.key,
                value=record.value,
                headers=[*record.headers, *((name, text.encode()) for name, text in headers)],
            )
            EVENTS.labels("dead_letter").inc()
            DEAD_LETTERS.labels(item.reason).inc()
        if refused:
            self._sink.add(
                "dead_letters", refusal_columns(refused, self._settings.topics.activity, self.partition, time.time())
            )


def _together(parts: list[Rows]) -> Rows:
    """Return the rows of any of these, distinct and ascending; each of them is that already."""
    if len(parts) > 1:
        return np.unique(np.concatenate(parts))
    return parts[0] if parts else np.empty(0, np.intp)

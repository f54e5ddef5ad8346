"""One assigned partition: batches become state, blocks of examples, dead letters and rows for ClickHouse."""

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from faust.types import EventT

from ebb.contracts import examples as blocks
from ebb.contracts.activity import TICK_HEADER
from ebb.contracts.erasures import ERASED_AT_MS, ErasurePart, ErasurePartReport, key_of, partition_of
from ebb.contracts.models import TARGETS, Target
from ebb.contracts.scores import BANDS
from ebb.kafka.fenced_writer import FencedWriter
from ebb.kafka.producer import Publisher
from ebb.metrics import CONTRADICTED, CUSTOMERS, CUSTOMERS_BY_BAND, DEAD_LETTERS, DELAYED, EVENTS, WATERMARK
from ebb.settings import Settings
from stream_processors.batch import TICK, Batch, DeadLetter, ErasureRecord
from stream_processors.checkpoint import ActivityTopic, PartitionCapture, new, restore
from stream_processors.dead_letters import dead_letter_columns, dead_letter_record
from stream_processors.intake_clock import IntakeClock
from stream_processors.scoring.publisher import SLICE_ROWS, ScorePublisher
from stream_processors.scoring.split import Assignment, ServingModels
from stream_processors.scoring.updates import ScoringRequest
from stream_processors.sink import Accepted, Sink, feature_columns
from stream_processors.state.engine import Erased
from stream_processors.state.features import describe
from stream_processors.state.labelling import BoundaryResult
from stream_processors.state.table import DAY_MS
from stream_processors.types import Float32Array, RowIndices


@dataclass(frozen=True)
class _ErasedCustomer:
    """A customer erased by a record of the partition, to be reported with the next checkpoint."""

    record: ErasureRecord
    event_time_ms: int
    wall_ms: int
    """Of this process: data made before are of the customer erased, data made after of whoever comes back."""
    timeless: bool
    """Whether no event had come before it."""


class PartitionWorker:
    """Owns one partition's engine and score history. Not thread-safe; everything runs in the worker's event loop.

    Parameters
    ----------
    partition
        Number of the partition.
    publisher
        Receives blocks, dead letters, ticks and reports.
    sink
        Receives rows for ClickHouse.
    models
        The models in use; their predictions are kept with each snapshot.
    scores
        Where a paced replay has customers scored when a day closes; None: others ask for scores, by events and sweeps.
    intake
        The event time of the whole intake, shared by the worker's partitions.
    topic
        The activity topic as it is, to which a checkpoint must belong; None: not asked.
    from_scratch
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
        models: ServingModels,
        intake: IntakeClock,
        scores: ScorePublisher | None = None,
        topic: ActivityTopic | None = None,
        from_scratch: bool = False,
    ) -> None:
        self.partition = partition
        self._settings = settings
        self._publisher = publisher
        self._sink = sink
        self._models = models
        self._scores = scores
        self._clock = settings.clock
        self._undescribed: list[RowIndices] = []
        """Rows touched since their features were last kept."""
        self._unscored: list[RowIndices] = []
        self.writer = FencedWriter(settings, settings.topics.state, partition)
        """Writes its checkpoints. Opened before they are read, so that the former owner can add no more."""
        begin = new if from_scratch else restore
        self.engine, self.history, self._checkpointer = begin(settings, partition, topic)
        self._intake = intake
        self._ticked_to = 0
        """Event time (ms) of the last tick sent, which may not have been read yet."""
        if self.engine.newest is not None:
            intake.observe(self.engine.newest, self.engine.moved_at, has_event=False)
            if self.engine.event_at:
                intake.observe(self.engine.newest, self.engine.event_at)
        self.produced_at = time.time()
        """Wall time at which the last record processed was produced."""
        self.has_backlog = True
        """Whether records wait to be processed: meanwhile the clock must not move time on."""
        self.unacked: list[EventT[Any]] = []
        """Batches processed since the last capture; they are acked once that is durable."""
        self._erased: list[_ErasedCustomer] = []
        """Customers erased since the last capture."""
        self._reporting: list[_ErasedCustomer] = []
        self.revoked = False
        """Whether a rebalance revoked the partition, or another worker was found to own it: nothing more is done."""

    def process(self, batch: Batch) -> None:
        """Apply a batch: its events, and between them the records by which customers are erased."""
        for part, erasing in batch.parts():
            for piece in [part] if self._scores is None else part.days():
                self._apply(piece)
            if erasing is not None and (erased := self.engine.erase(erasing)) is not None:
                self._withdraw(erasing, erased)

    def request(self, rows: RowIndices, *, force: bool = False) -> ScoringRequest:
        """Ask for scores of some customers as of now; `force` publishes them even if they did not move."""
        engine = self.engine
        return ScoringRequest(engine.state, rows, self.now(), self.history, force, self.partition, engine.touch)

    def touched_request(self) -> ScoringRequest:
        """Ask, once, for scores of the customers whom events have touched.

        Without a backlog they are published at once, moved or not, so that they are seen to be of now.
        """
        return self.request(self._take_unscored(), force=not self.has_backlog)

    def waiting(self) -> int:
        """Return how many customers whom events have touched are not scored yet, at most."""
        return min(sum(map(len, self._unscored)), len(self.engine.state))

    def _withdraw(self, erasing: ErasureRecord, erased: Erased) -> None:
        """Withdraw what was published about an erased customer; the next checkpoint reports it."""
        topics, state = self._settings.topics, self.engine.state
        if erased.row is not None:
            self.history.erase(erased.row)
        self._publisher.send(topics.scores, key=erasing.customer_id, value=None, partition=self.partition)
        wall_ms = math.ceil(time.time() * 1_000)
        self._erased.append(_ErasedCustomer(erasing, self.now(), wall_ms, timeless=state.closed is None))
        if state.closed is not None:
            snapshots, places = np.array(erased.snapshots, np.int32), np.array(erased.places, np.int32)
            block = blocks.Withdraw(self.partition, state.closed + 1, erasing.erasure_id, snapshots, places)
            self._publisher.send(topics.examples, key=None, value=blocks.encode(block), partition=self.partition)

    def report_erased(self) -> None:
        """Report the erased customers whom the last capture no longer holds; rows of theirs must be inserted before.

        Called before that capture is written: if the process dies between the two, it is done and reported again.
        """
        reporting, self._reporting = self._reporting, []
        for erased in reporting:
            at, erasing = datetime.now(UTC), erased.record
            details = {"partition": self.partition, "offset": erasing.offset, "event_time_ms": erased.event_time_ms}
            details[ERASED_AT_MS] = erased.wall_ms
            reports = {ErasurePart.WORKER: ErasurePartReport(at=at, customer_id=erasing.customer_id, details=details)}
            if erased.timeless:  # a partition without events closes no boundary through which the learner would report
                reports[ErasurePart.LEARNER] = ErasurePartReport(at=at, details={"rows": 0})
            for part, report in reports.items():
                self._publisher.send(
                    self._settings.topics.erasures,
                    key=key_of(erasing.erasure_id, part),
                    value=report.model_dump_json().encode(),
                    partition=partition_of(erasing.erasure_id, self._settings.partitions),
                )

    def _apply(self, batch: Batch) -> None:
        """Apply events: state, dead letters, blocks of the boundaries closed."""
        offset = self.engine.offset
        effects = self.engine.process(batch)
        self.produced_at = batch.produced_at
        now = time.time()
        if self.engine.newest is not None:
            self._intake.observe(self.engine.newest, batch.produced_at, has_event=bool(effects.accepted.any()))
        self._dead_letter([letter for letter in batch.refused if letter.record.offset > offset])
        if len(effects.touched):
            self._undescribed.append(effects.touched)
            self._unscored.append(effects.touched)
        for result in effects.boundaries:
            self._publish_boundary(result)
        if effects.accepted.any():
            self._sink.add_events(Accepted(batch, effects.accepted, effects.late, self.partition, now))
        late = int(effects.late.sum())
        EVENTS.labels("accepted").inc(int(effects.accepted.sum()) - late)
        EVENTS.labels("late").inc(late)
        DELAYED.inc(effects.delayed)
        CONTRADICTED.inc(effects.contradicted)
        EVENTS.labels("duplicate").inc(effects.duplicates)
        EVENTS.labels("tick").inc(int((batch.kinds == TICK).sum()))
        label = str(self.partition)
        CUSTOMERS.labels(label).set(len(self.engine.state.ids) - self.engine.state.ids.erased_count)
        if (watermark := self.engine.watermark) is not None:
            WATERMARK.labels(label).set(watermark / 1000)

    def _take_unscored(self) -> RowIndices:
        touched, self._unscored = self._unscored, []
        return _union(touched)

    def _score_day(self, scores: ScorePublisher) -> None:
        """Score all customers as of the end of the day that has just closed; publish those of who acted in any case."""
        scores.publish([self.request(self._take_unscored(), force=True)], cause="event")
        for rows in self.sweep_ranges():
            scores.publish([self.request(rows)], cause="sweep")
        self.count_bands()

    def now(self) -> int:
        """Event time at which scores are due, ms: the newest event's, moved on with the intake while none comes.

        Silence ages a customer only if time goes on without events; a replay, whose time is its log's, does not move.
        """
        newest = self.engine.newest or 0  # before the first event there is no customer to score
        if not newest or self.has_backlog or not self._settings.idle_after_seconds:
            return newest
        return max(newest, self._due(time.time()) or 0)

    def sweep_ranges(self) -> list[RowIndices]:
        """Cut all customers into the slices of a sweep."""
        total = len(self.engine.state)
        return [np.arange(start, min(start + SLICE_ROWS, total)) for start in range(0, total, SLICE_ROWS)]

    def count_bands(self) -> None:
        """Bring the gauge of customers by band up to date."""
        counts = np.bincount(self.history.table["band"] + 1, minlength=len(BANDS) + 1)
        for position, band in enumerate(BANDS, 1):
            CUSTOMERS_BY_BAND.labels(str(self.partition), band.value).set(int(counts[position]))

    def touched_ranges(self) -> list[RowIndices]:
        """Cut the customers touched since the last call into slices, to compute their features one after another."""
        touched, self._undescribed = self._undescribed, []
        rows = _union(touched)
        return [rows[start : start + SLICE_ROWS] for start in range(0, len(rows), SLICE_ROWS)]

    def keep_features(self, rows: RowIndices) -> None:
        """Add the features of some customers, as of now, to the rows for ClickHouse."""
        rows = self.engine.state.live_rows(rows)
        if (now := self.engine.newest) is not None and len(rows):
            features = describe(self.engine.state, rows, now, minor_units=self._settings.minor_units)
            ids = self.engine.state.ids.take(rows)
            self._sink.add("features", feature_columns(ids, features, now, time.time()))

    def capture(self) -> PartitionCapture | None:
        """Copy what changed since the last checkpoint."""
        self._reporting += self._erased
        self._erased = []
        return self._checkpointer.capture(self.engine, self.history)

    def tick(self) -> None:
        """Move an idle partition's time on by a record of its own, so that its labels mature and its state follows.

        Sent when the intake's time closes a day that the partition still has open, never ahead of the clock.
        """
        wall = time.time()
        target, patience = self._due(wall), self._settings.idle_after_seconds
        if target is None or not patience or wall - self.engine.moved_at < patience:
            return
        reached = max(self.engine.newest or 0, self._ticked_to)
        if self.engine.closes(target) <= (self.engine.closes(reached) if reached else 0):
            return
        self._publisher.send(
            self._settings.topics.activity,
            key=None,
            value=b"",
            partition=self.partition,
            headers=[(TICK_HEADER, str(target // 1000).encode())],
        )
        self._ticked_to = target

    def _due(self, wall: float) -> int | None:
        """Return the intake's event time in whole seconds, ms; None before the first event."""
        intake = self._intake.now(wall)
        return None if intake is None else min(intake, int(self._clock.at(wall) * 1000)) // 1000 * 1000

    def _publish_boundary(self, result: BoundaryResult) -> None:
        """Publish the snapshot of a boundary with the serving models' predictions, and the labels that matured."""
        rows = result.rows
        served: dict[Target, Float32Array] = {}
        split: dict[Target, list[str]] = {}
        hashes = self.engine.state.table["id_hash"][rows]
        for target in TARGETS if len(rows) else ():
            models = Assignment.of(self._models, target, hashes)
            served[target] = models.apply(lambda model, who: model.predict(result.features[who])).astype(np.float32)
            if names := models.names():
                split[target] = names
        if len(rows):
            as_of = result.boundary * DAY_MS
            self._sink.add("features", feature_columns(result.ids, result.features, as_of, time.time()))
        none = np.empty(0, np.float32)
        for block in result.blocks(served.get("churn", none), served.get("purchase", none), split):
            self._publisher.send(
                self._settings.topics.examples, key=None, value=blocks.encode(block), partition=self.partition
            )
        self.history.table.grow(len(self.engine.state))
        if self._scores is not None:
            self._score_day(self._scores)
        self.history.remember(result.boundary)

    def _dead_letter(self, letters: list[DeadLetter]) -> None:
        """Send records that cannot be accepted to the dead-letter topic, bytes untouched, reason in the headers."""
        for letter in letters:
            key, value, headers = dead_letter_record(letter, self._settings.topics.activity, self.partition)
            self._publisher.send(self._settings.topics.dead_letters, key=key, value=value, headers=headers)
            EVENTS.labels("dead_letter").inc()
            DEAD_LETTERS.labels(letter.reason).inc()
        if letters:
            columns = dead_letter_columns(letters, self._settings.topics.activity, self.partition, time.time())
            self._sink.add("dead_letters", columns)


def _union(parts: list[RowIndices]) -> RowIndices:
    """Return the rows of all parts, distinct and ascending, as each part is already."""
    if len(parts) > 1:
        return np.unique(np.concatenate(parts))
    return parts[0] if parts else np.empty(0, np.intp)

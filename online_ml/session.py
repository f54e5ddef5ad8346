"""The learner at work: records in, durable effects out, in an order that no crash can spoil.

Effects are made durable in this order: rows in ClickHouse, models on `ebb.models`, the checkpoint; only then may the
records be acked. A crash anywhere repeats the work since the last checkpoint, and repeating it writes the same rows
under the same keys and the same versions of the same models.
"""

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from clickhouse.store import Store
from ebb.clock import DAY
from ebb.contracts.erasures import ErasurePart, ErasurePartReport, key_of, partition_of
from ebb.contracts.examples import REQUEST_PARTITION, ChampionRequest, Close, decode, is_request
from ebb.contracts.models import FROZEN, PUBLISHED, SERVED, ModelSnapshot, PublishedThrough, Target
from ebb.errors import CorruptError, SchemaMismatchError
from ebb.kafka.admin import end_offsets
from ebb.kafka.fenced_writer import FencedRecord, FencedWriter
from ebb.log import get_logger
from ebb.metrics import BLOCKS_REFUSED, LEARN_SECONDS, LEARNER_CLOSED, MODELS_WITHHELD
from ebb.settings import Settings
from online_ml import registry, reporting
from online_ml.candidates import PREFERRED
from online_ml.checkpoint import OWNER, LearnerCheckpointer
from online_ml.evaluation.decisions import Policy
from online_ml.evaluation.validation import Validator
from online_ml.learning.learner import Learner, Step
from online_ml.learning.target import TargetLearner

log = get_logger(__name__)

ROLLING_SHARE = 0.05
"""Rolling measures are taken again when this share of the window is new: they are the costly ones."""
LEFT_OUT_EVERY = 30
"""Boundaries between two log lines about what the trees leave out."""


@dataclass
class LearnerEffects:
    """Effects of the boundaries since the last checkpoint, not durable yet."""

    outcomes: list[pa.Table] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    """Rows of `promotions`."""
    expected: list[dict[str, Any]] = field(default_factory=list)
    drift: list[dict[str, Any]] = field(default_factory=list)
    models: list[ModelSnapshot] = field(default_factory=list)
    """Published at boundaries of a paced replay, and not in table `models` yet."""
    decided: set[Target] = field(default_factory=set)
    """Targets about which a request was decided."""
    withdrawn: dict[str, int] = field(default_factory=dict)
    """Erasure → number of rows dropped."""
    steps: int = 0

    @property
    def rows(self) -> int:
        """Rows of outcomes held."""
        return sum(table.num_rows for table in self.outcomes)


class LearnerSession:
    """A learner between two restarts. Not safe for several threads: one call at a time.

    Parameters
    ----------
    settings
        Topics, database, partitions.
    store
        Where rows go.
    writer
        Writes models and checkpoints; it owns the learner's topic until another learner makes one.

    Raises
    ------
    FencedError
        If another learner owns the topic now. `make_durable` raises it too.
    """

    def __init__(self, settings: Settings, *, store: Store, writer: FencedWriter) -> None:
        self.settings = settings
        self._store = store
        self._writer = writer
        self._claim()  # from here on the former owner can add nothing to what is read next
        self._checkpointer = LearnerCheckpointer(settings)
        try:
            self.learner = self._checkpointer.restore()
        except (SchemaMismatchError, CorruptError) as error:
            log.error("checkpoint cannot be used", reason=error.what, hint=error.hint)
            self.learner = Learner(settings)
        if self.learner.boundary is None:
            for target, version in registry.last_versions(settings, store).items():
                self.learner.targets[target].begun_at = version
        self.positions = dict(self.learner.progress.offsets)
        """By partition, the last offset taken in."""
        self.durable = dict(self.learner.progress.offsets)
        """By partition, the offset up to which a checkpoint includes the records: those may be acked."""
        self.effects = LearnerEffects()
        self._policy = Policy.of(settings)
        self._validators = {target: Validator(target, self._policy, settings.seed) for target in self.learner.targets}
        self._measured: dict[Target, tuple[int, dict[str, dict[str, float]]]] = {}
        """By target, the version measured last and its rolling measures: they are the costly ones."""
        self.released = False
        """Set when the partitions are gone: another session's checkpoints count from then on."""
        self._decided: set[Target] = set()
        """Targets about which a request was decided, and whose models are not published since."""
        self._ends = end_offsets(settings, settings.topics.examples, range(settings.partitions))
        """Where the topic ended when the session began: before that, models are those of a past day."""
        self._changed: set[Target] = {t for t, lt in self.learner.targets.items() if lt.boundaries}
        self._unpublished: set[Target] = set()
        """Targets that have learned since they were last published; only a paced replay asks."""
        self._withheld: dict[str, int] = {}
        """By model, the version last withheld: said once."""
        self._unmeasured: dict[Target, int] = dict.fromkeys(self.learner.targets, 0)
        self._refusing: set[tuple[Target, str]] = set()
        """Targets whose last label blocks did not fit, and why: said once."""
        self._left_out_logged_at: dict[Target, int] = {}
        log.info("learner starts", boundary=self.learner.boundary, offsets=self.positions)

    @property
    def caught_up(self) -> bool:
        """Whether everything that was on the topic when the session began has been taken in."""
        return all(self.position(partition) >= end - 1 for partition, end in self._ends.items())

    def position(self, partition: int) -> int:
        """Return the last offset of a partition that was taken in; -1 before any."""
        return self.positions.get(partition, -1)

    def take(self, partition: int, offset: int, body: bytes | None) -> bool:
        """Take in the next record of a partition; return True if a boundary may now be complete.

        A record that is no block, or a block for other features, is logged, counted, noted in `dead_letters` with its
        partition and offset (its bytes stay on the examples topic), and passed over: one bad record must not stop
        learning for good.
        """
        if offset <= self.position(partition):
            return False
        if offset > self.position(partition) + 1:
            log.error("blocks are missing", partition=partition, first=self.position(partition) + 1, next=offset)
        self.positions[partition] = offset
        try:
            if is_request(body or b""):
                return self._add_request(partition, offset, body or b"")
            block = decode(body or b"")
            if block.partition != partition or partition >= self.settings.partitions:
                what = f"A block of partition {block.partition} is in partition {partition} of the examples topic."
                raise CorruptError(what)
        except (CorruptError, SchemaMismatchError) as error:
            self._refuse(partition, offset, len(body or b""), error)
            return False
        self.learner.add(block, offset)
        if not isinstance(block, Close):
            return False
        LEARNER_CLOSED.labels(str(partition)).set(block.boundary * DAY)
        return True

    def _add_request(self, partition: int, offset: int, body: bytes) -> bool:
        request = ChampionRequest.decode(body)
        if partition != REQUEST_PARTITION:
            what = f"A request is in partition {partition} of the examples topic."
            raise CorruptError(what, f"Requests belong in partition {REQUEST_PARTITION}, where they have one order.")
        return self.learner.requests.add(request, offset, self.learner.progress)

    def _refuse(self, partition: int, offset: int, size: int, error: CorruptError | SchemaMismatchError) -> None:
        reason = "schema" if isinstance(error, SchemaMismatchError) else "corrupt"
        log.error("block passed over", partition=partition, offset=offset, reason=error.what, hint=error.hint)
        BLOCKS_REFUSED.labels(reason).inc()
        self.effects.refused.append(
            {
                "topic": self.settings.topics.examples,
                "partition": partition,
                "offset": offset,
                "stage": "learner",
                "reason": reason,
                "detail": str(error),
                "size": size,
                "seen_at": datetime.now(UTC),
                "customer_id": "",
            }
        )

    def advance(self) -> Step | None:
        """Learn the next boundary that all partitions have closed; None if there is none.

        In a paced replay, which waits for it, publish what was learned, before anything is measured of it.

        Raises
        ------
        UnavailableError, FencedError
            In a paced replay, as `make_durable`.
        """
        began = time.perf_counter()
        step = self.learner.advance()
        decisions = self.learner.requests.collect()
        self.effects.changes += registry.request_rows(decisions)
        self.effects.decided |= {decision.request.target for decision in decisions}
        if step is None:
            return None
        if self.settings.paced:
            self._unpublished |= {judged.target for judged in step.judged}
            self._publish()
        for judged in step.judged:
            learned = self.learner.targets[judged.target]
            self.effects.outcomes.append(reporting.outcome_rows(judged, learned.names))
            self.effects.metrics += reporting.day_metrics(judged, learned, self._validators[judged.target])
            self._changed.add(judged.target)
            self._unmeasured[judged.target] += len(judged.part.labels)
            if self._unmeasured[judged.target] >= ROLLING_SHARE * learned.window.size:
                self._unmeasured[judged.target] = 0
                self.effects.metrics += reporting.rolling_metrics(learned, self._rolling(judged.target))
        self.effects.changes += registry.rule_rows(step, self.learner)
        self.effects.expected += reporting.expected_rows(step, self.learner, self._policy)
        self.effects.drift += reporting.drift_rows(step, self.learner)
        for target, change in step.changes.items():
            log.warning("the champion's error changed", target=target, since=change.since, shift=round(change.shift, 4))
        for target, former, champion in step.promotions:
            log.info("new champion", target=target, champion=champion, former=former, boundary=step.boundary)
        reporting.count_step(step, self.learner)
        self._log_refused(step)
        self._log_left_out(step)
        self.effects.withdrawn |= step.withdrawn
        self.effects.steps += 1
        LEARN_SECONDS.observe(time.perf_counter() - began)
        return step

    def _log_refused(self, step: Step) -> None:
        for (target, reason), blocks in step.refused.items():
            BLOCKS_REFUSED.labels(reason).inc(blocks)
            if (target, reason) not in self._refusing:
                log.error(
                    "labels do not fit their snapshots and are left out",
                    target=target,
                    reason=reason,
                    boundary=step.boundary,
                    blocks=blocks,
                    hint="After a change of the label or of a worker's state this ends when the horizon has passed.",
                )
        if self._refusing and not step.refused and step.judged:
            log.info("labels fit their snapshots again", boundary=step.boundary)
        if step.refused or step.judged:
            self._refusing = set(step.refused)

    def _log_left_out(self, step: Step) -> None:
        for judged in step.judged:
            target, sample = judged.target, self.learner.targets[judged.target].sample
            _, left_out = sample.split(len(judged.part.labels))
            due = self._left_out_logged_at.get(target, step.boundary - LEFT_OUT_EVERY) + LEFT_OUT_EVERY <= step.boundary
            if sample.candidates and left_out and due:
                self._left_out_logged_at[target] = step.boundary
                log.info(
                    "trees cannot follow and learn a sample",
                    target=target,
                    learned=sample.learned,
                    left_out=sample.left_out,
                    hint="Raise EBB_TREE_LABELS, the labels learned per boundary, if this process has time to spare.",
                )

    @property
    def pending(self) -> bool:
        """True if something is done that is not durable or not published yet."""
        unpublished = self._changed and self.caught_up
        return bool(self.effects.steps or self.effects.refused or self.effects.decided or unpublished)

    def _rolling(self, target: Target) -> dict[str, dict[str, float]]:
        learned = self.learner.targets[target]
        version, found = self._measured.get(target, (-1, {}))
        if version != learned.version:
            found = self._validators[target].rolling(learned.window, learned.names, champion=learned.champion)
            self._measured[target] = learned.version, found
        return found

    def _followed(self, learned: TargetLearner) -> set[str]:
        """Return the candidates whose accuracy is reported by segment: what serves or would, and what was served."""
        return {self.learner.requests.serving(learned) or PREFERRED, SERVED}

    def _publish(self) -> None:
        """Publish the models of the boundary learned last, and that all through it are, in one transaction.

        The log goes on when it reads that. `make_durable` publishes the last ones again, with all that is measured of
        them.
        """
        if not self.caught_up:
            return
        models, requests = list[ModelSnapshot](), self.learner.requests
        for target in sorted(self._unpublished):
            learned = self.learner.targets[target]
            _, rolling = self._measured.get(target, (-1, {}))
            config = registry.model_config(target, self.settings)
            models += self._fit(learned, registry.snapshots(learned, rolling, requests, config))
        self._writer.write({}, [*self._model_records(models, set()), *self._published_record()])
        self.effects.models += models
        self._unpublished.clear()

    def make_durable(self) -> int:
        """Make all effects durable; returns the bytes of the checkpoint. Blocks while ClickHouse is away.

        Raises
        ------
        UnavailableError
            If Kafka does not take the records, or ClickHouse is away while the process stops. The session must not be
            used further: a new one takes up from the last checkpoint.
        FencedError
            If another learner owns the topic now.
        """
        self._claim()
        effects, self.effects = self.effects, LearnerEffects()
        requests = self.learner.requests
        models, segments = list[ModelSnapshot](), []
        self._changed |= effects.decided
        # What begins anew must not publish, under old numbers, models that have hardly learned.
        publishing = set(self._changed) if self.caught_up else set[Target]()
        self._decided |= effects.decided
        for target in sorted(publishing):
            learned = self.learner.targets[target]
            rolling = self._rolling(target)
            effects.metrics += reporting.rolling_metrics(learned, rolling)
            by_segment = self._validators[target].by_segment(learned.window, learned.names, self._followed(learned))
            segments.append(reporting.segment_rows(learned, by_segment))
            metrics = registry.with_arms(rolling, by_segment)
            made = registry.snapshots(learned, metrics, requests, registry.model_config(target, self.settings))
            models += self._fit(learned, made)
            reporting.show_rolling(learned, rolling)
            reporting.show_segments(learned, by_segment, requests.serving(learned))
            registry.show_models(learned, requests)
        if effects.outcomes:
            self._store.insert("outcomes", pa.concat_tables(effects.outcomes))
        for name, rows in (
            ("model_metrics", effects.metrics),
            ("dead_letters", effects.refused),
            ("expected_metrics", effects.expected),
            ("drift", effects.drift),
        ):
            self._store.insert(name, reporting.table(name, rows))
        reporting.show_changes(self.learner)
        if models:
            self._store.insert("segment_metrics", pa.concat_tables(segments))
        if versions := effects.models + models:
            self._store.insert("models", registry.model_rows(versions))
        if records := [
            *self._model_records(models, publishing),
            *self._published_record(),
            *self._erasure_records(effects),
        ]:
            self._writer.write({}, records)
        # The requester of a champion waits for this row, which means that the champion it names is published.
        self._store.insert("promotions", reporting.table("promotions", effects.changes))
        self._changed -= publishing
        self._unpublished -= publishing
        self._decided -= publishing
        if self.released or not (effects.steps or effects.decided):
            return 0
        capture = self._checkpointer.capture(self.learner)
        self._writer.write(capture.records)
        self.durable = capture.offsets
        return capture.size

    def _fit(self, learned: TargetLearner, made: list[ModelSnapshot]) -> list[ModelSnapshot]:
        """Return the models that are fit to be published: none if that which serves is not, so that the roles agree.

        What is not published leaves the version before in use.
        """
        unfit = [
            model
            for model in made
            if model.candidate in learned.unfit and model.name == f"{model.target}.{model.candidate}"
        ]
        for model in unfit:
            if self._withheld.get(model.name) == model.version:
                continue
            self._withheld[model.name] = model.version
            MODELS_WITHHELD.labels(model.target, model.candidate).inc()
            log.error(
                "model withheld: it knows less of the newest labels than the prior rate",
                model=model.name,
                version=model.version,
                role=model.role,
                hint="The version published before stays in use; `ebb models promote` has another candidate serve.",
            )
        if any(model.role == "champion" or model.share for model in unfit):
            return []
        return [model for model in made if model not in unfit]

    def _claim(self) -> None:
        """Prove that this learner still owns its topic, before anything is written that is not fenced itself."""
        self._writer.write({OWNER: f"{socket.gethostname()} {os.getpid()}".encode()})

    def _model_records(self, models: list[ModelSnapshot], publishing: set[Target]) -> Iterator[FencedRecord]:
        topic, requests = self.settings.topics.models, self.learner.requests
        for model in models:
            yield FencedRecord(topic, 0, model.name, model.encode())
        for target in sorted(publishing):
            for name in registry.absent_names(self.learner.targets[target]):
                yield FencedRecord(topic, 0, name, None)
        for target in sorted(self._decided & publishing):
            if requests.serving(self.learner.targets[target]) != FROZEN:
                yield FencedRecord(topic, 0, registry.held_name(target), None)

    def _published_record(self) -> Iterator[FencedRecord]:
        """Yield what a paced replay waits for; behind the models, so that whoever reads it has read them."""
        boundary = self.learner.boundary
        if self.settings.paced and boundary is not None and self.caught_up:
            yield FencedRecord(self.settings.topics.models, 0, PUBLISHED, PublishedThrough(boundary=boundary).encode())

    def _erasure_records(self, effects: LearnerEffects) -> Iterator[FencedRecord]:
        # Before the checkpoint: if the process dies between the two, it is done and published again.
        for erasure_id, withdrawn in effects.withdrawn.items():
            report = ErasurePartReport(at=datetime.now(UTC), details={"rows": withdrawn})
            yield FencedRecord(
                self.settings.topics.erasures,
                partition_of(erasure_id, self.settings.partitions),
                key_of(erasure_id, ErasurePart.LEARNER),
                report.model_dump_json().encode(),
            )

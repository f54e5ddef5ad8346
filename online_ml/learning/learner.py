"""The learner: a deterministic fold over `ebb.examples`.

For each boundary, once every partition has closed it: all its labels first (judge the predictions made at their
snapshots, then learn), then its snapshots (predict with every candidate, keep). So no prediction knows a label that
matured at or after its own moment, and the outcome follows from the topic's contents alone, whatever the timing.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ebb.contracts.examples import WITHDRAWN, Block, Labels, customers_digest
from ebb.contracts.models import TARGETS, Target
from ebb.log import get_logger
from ebb.settings import MAX_LABEL_DELAY_DAYS, Settings
from online_ml.evaluation.segments import UNSPLIT, LabelContext
from online_ml.evaluation.window import MaturedPredictions
from online_ml.learning.alignment import BoundaryAligner, BoundaryBlocks
from online_ml.learning.champion_requests import Requests
from online_ml.learning.drift import DriftChange, DriftMonitor
from online_ml.learning.pending import Pending, PendingStore
from online_ml.learning.sample import draw_sample
from online_ml.learning.target import TargetLearner
from online_ml.scoring.inputs import design
from online_ml.types import Outcomes

log = get_logger(__name__)

RefusalReason = Literal["customers", "definition"]
"""Labels are of other customers than their snapshot (or it is not known), or of another rule or horizon."""


@dataclass(frozen=True, eq=False)
class MaturedLabels:
    """The labels of one target that matured at a boundary, with the customers and snapshots that they belong to."""

    target: Target
    part: MaturedPredictions
    customer_ids: list[str]
    countries: list[str | None]
    channels: list[str | None]
    snapshot_days: npt.NDArray[np.int32]
    """Shape (n,): day number of each row's snapshot."""
    features: npt.NDArray[np.float32]
    """Shape (n, `features.WIDTH`), at the snapshot."""


@dataclass
class Step:
    """What processing one boundary did."""

    boundary: int
    judged: list[MaturedLabels] = field(default_factory=list)
    promotions: list[tuple[Target, str | None, str]] = field(default_factory=list)
    """Target, former champion, new champion."""
    taken: list[Pending] = field(default_factory=list)
    """Snapshots predicted and kept."""
    changes: dict[Target, DriftChange] = field(default_factory=dict)
    """Changes of the error found now."""
    withdrawn: dict[str, int] = field(default_factory=dict)
    """Erasure → number of rows dropped."""
    refused: Counter[tuple[Target, RefusalReason]] = field(default_factory=Counter)
    """Number of label blocks that do not fit their snapshot, by target and why."""


class Learner:
    """Learns all targets from the blocks of all partitions.

    Parameters
    ----------
    settings
        Partitions, horizons, seed, how much the slow candidates learn.
    """

    def __init__(self, settings: Settings) -> None:
        self.horizons: dict[Target, int] = {
            "churn": settings.horizon_days,
            "purchase": settings.purchase_horizon_days,
        }
        self.label_delay_days = settings.label_delay_days
        self._definitions = settings.label_definitions
        self.progress = BoundaryAligner(settings.partitions)
        self.pending = PendingStore()
        self.requests = Requests()
        self.targets = {
            target: TargetLearner(
                target,
                settings.seed,
                horizon_days=self.horizons[target],
                every_days=settings.snapshot_every_days,
                tree_labels=settings.tree_labels,
            )
            for target in TARGETS
        }
        self._seed, self._tree_labels = settings.seed, settings.tree_labels
        self.drift = DriftMonitor(settings.seed, self.horizons, pace=settings.drift_pace)
        self.boundary: int | None = None
        """Last boundary processed."""

    def add(self, block: Block, offset: int) -> bool:
        """Add a block; return False if it was seen before."""
        return self.progress.add(block, offset)

    def advance(self) -> Step | None:
        """Process the earliest boundary that every partition has closed; None if there is none yet."""
        self.requests.apply(self.progress, self.targets, self.boundary)
        boundary = self.progress.next_complete()
        if boundary is None:
            return None
        bundles = self.progress.take(boundary)
        for bundle in bundles:
            if not bundle.complete:
                log.error(
                    "a partition's boundary lacks blocks; what is there is used",
                    partition=bundle.partition,
                    boundary=boundary,
                    snapshots=len(bundle.snapshots),
                    labels=len(bundle.labels),
                    close=bundle.close,
                )
        step = Step(boundary)
        for target in TARGETS:
            self._mature(target, bundles, step)
        for block in (block for bundle in bundles for _, block in sorted(bundle.withdrawn.items())):
            step.withdrawn[block.erasure_id] = self.pending.withdraw(block)
        self.pending.drop(boundary - max(self.horizons.values()) - MAX_LABEL_DELAY_DAYS)
        self._predict(bundles, step)
        self.boundary = boundary
        self.requests.apply(self.progress, self.targets, self.boundary)
        return step

    def _mature(self, target: Target, bundles: list[BoundaryBlocks], step: Step) -> None:
        found: list[tuple[Pending, Outcomes]] = []
        for bundle in bundles:
            for (name, taken_at), block in sorted(bundle.labels.items()):
                if name != target:
                    continue
                chunks = self.pending.of(taken_at, bundle.partition)
                self.pending.label(target, bundle.partition, taken_at)
                if (reason := self._misfit(target, block, chunks)) is not None:
                    step.refused[target, reason] += 1
                    continue
                start = 0
                for chunk in chunks:
                    stop = start + len(chunk.snapshot.customer_ids)
                    found.append((chunk, block.labels[start:stop]))
                    start = stop
        judged = _gather(target, step.boundary, found)
        if judged is None:
            return
        learner = self.targets[target]
        features = judged.features
        before = learner.champion
        self._watch(judged, step)
        learner.mature(judged.part, features)
        step.judged.append(judged)
        if learner.champion is not None and learner.champion != before:
            step.promotions.append((target, before, learner.champion))

    def _misfit(self, target: Target, block: Labels, chunks: list[Pending]) -> RefusalReason | None:
        """Return why labels are not those of a snapshot; None if they are, as far as they tell."""
        # Labels from before they were named came when their horizon had passed.
        unnamed = not block.definition and block.boundary - block.snapshot_boundary == self.horizons[target]
        if not unnamed and block.definition != self._definitions[target]:
            return "definition"
        ids = _joined([chunk.snapshot.customer_ids for chunk in chunks])
        if len(ids) != len(block.labels):
            return "customers"
        kept = ids.filter(pa.array(block.labels != WITHDRAWN)).to_pylist()
        return "customers" if block.customers and block.customers != customers_digest(kept) else None

    def _watch(self, judged: MaturedLabels, step: Step) -> None:
        """Look for a change of the champion's error; if it rose, set the faster pace of `drift_pace` for a while."""
        learner = self.targets[judged.target]
        if learner.champion is not None:
            change = self.drift.judge(judged.target, judged.part, learner.names.index(learner.champion))
            if change is not None:
                step.changes[judged.target] = change
        learner.pace = self.drift.pace(judged.target, step.boundary)

    def _predict(self, bundles: list[BoundaryBlocks], step: Step) -> None:
        snapshots = [
            snapshot
            for bundle in bundles
            for _, snapshot in sorted(bundle.snapshots.items())
            if len(snapshot.customer_ids)
        ]
        sizes = [len(snapshot.customer_ids) for snapshot in snapshots]
        some = draw_sample(sizes, self._tree_labels, seed=self._seed, boundary=step.boundary)
        for snapshot, rows in zip(snapshots, some, strict=True):
            inputs = design(snapshot.features)
            served = {"churn": snapshot.served_churn, "purchase": snapshot.served_purchase}
            made = {t: learner.predict(inputs, served[t], rows) for t, learner in self.targets.items()}
            chunk = Pending(snapshot, {t: m[0] for t, m in made.items()}, {t: m[1] for t, m in made.items()})
            self.pending.add(chunk)
            step.taken.append(chunk)
        if step.taken:
            self.drift.snapshot(
                np.concatenate([chunk.snapshot.features for chunk in step.taken]),
                {
                    target: np.concatenate([chunk.probabilities[target][place] for chunk in step.taken])
                    for target, learner in self.targets.items()
                    if learner.champion is not None
                    for place in [learner.names.index(learner.champion)]
                },
            )

    def labels_pending(self, target: Target) -> int:
        """Return how many snapshot rows still wait for the label of a target."""
        return self.pending.rows_waiting(target)

    def digest(self) -> str:
        """Return a hash of all that was learned: equal digests mean the same models, records and pending predictions.

        How far each partition was read beyond the last boundary is no part of it.
        """
        found = hashlib.sha256(
            repr((self.boundary, sorted(self.progress.taken.items()), self.requests.state())).encode()
        )
        for learner in self.targets.values():
            for key, array in sorted(learner.state().items()):
                found.update(f"{key}{array.dtype}{array.shape}".encode())
                found.update(np.ascontiguousarray(array).tobytes())
            for part in learner.window.parts:
                found.update(repr(part.boundary).encode())
                for array in (part.labels, part.logits, part.probabilities):
                    found.update(np.ascontiguousarray(array).tobytes())
            for batch in learner.sample.batches:
                found.update(repr(batch.boundary).encode())
                for array in (batch.inputs, batch.labels):
                    found.update(np.ascontiguousarray(array).tobytes())
        for key, array in sorted(self.drift.state().items()):
            found.update(f"{key}{array.dtype}{array.shape}".encode())
            found.update(np.ascontiguousarray(array).tobytes())
        for chunk in self.pending:
            found.update(repr((chunk.key, chunk.snapshot.customer_ids.to_pylist())).encode())
            for target in TARGETS:
                found.update(np.ascontiguousarray(chunk.logits[target]).tobytes())
                found.update(np.ascontiguousarray(chunk.probabilities[target]).tobytes())
        return found.hexdigest()


def _gather(target: Target, boundary: int, found: list[tuple[Pending, Outcomes]]) -> MaturedLabels | None:
    """Bring the rows of several chunks together, those of withdrawn customers left out; None if no row is left."""
    kept = [(chunk, labels, np.flatnonzero(labels != WITHDRAWN)) for chunk, labels in found]
    if not any(len(rows) for _, _, rows in kept):
        return None
    ids, countries, channels = (
        _joined([getattr(chunk.snapshot, name).take(pa.array(rows)) for chunk, _, rows in kept]).to_pylist()
        for name in ("customer_ids", "countries", "channels")
    )
    arms = [
        arm
        for chunk, _, rows in kept
        for arm in (
            chunk.snapshot.arms[target].take(pa.array(rows)).to_pylist()
            if target in chunk.snapshot.arms
            else [UNSPLIT] * len(rows)
        )
    ]
    features = np.concatenate([chunk.snapshot.features[rows] for chunk, _, rows in kept])
    part = MaturedPredictions(
        boundary,
        np.concatenate([labels[rows] for _, labels, rows in kept]),
        np.concatenate([chunk.logits[target][:, rows] for chunk, _, rows in kept], axis=1),
        np.concatenate([chunk.probabilities[target][:, rows] for chunk, _, rows in kept], axis=1),
        LabelContext.of(ids, countries, channels, features, arms),
    )
    days = np.concatenate([np.full(len(rows), c.snapshot.boundary, dtype=np.int32) for c, _, rows in kept])
    return MaturedLabels(target, part, ids, countries, channels, days, features)


def _joined(texts: list[pa.StringArray]) -> pa.StringArray:
    return pa.concat_arrays([pa.array([], pa.utf8()), *texts])

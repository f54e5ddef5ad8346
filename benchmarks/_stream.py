"""The real engine and learner in one process, without a broker: from events in order of time to judged predictions."""

import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ebb.clock import DAY
from ebb.contracts.activity import TICK_HEADER
from ebb.contracts.examples import Labels
from ebb.contracts.models import Target
from ebb.settings import Settings
from online_ml.learning.learner import Learner, Step
from stream_processors.batch import Headers, Record
from stream_processors.ingest.decoder import Decoder
from stream_processors.state.engine import Engine
from stream_processors.state.labelling import BoundaryResult

Floats = npt.NDArray[np.float64]
Labelled = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Judged:
    """One target's labels of one snapshot, with every candidate's predictions at it."""

    day: int
    """Day number of the snapshot."""
    customers: list[str]
    labels: Labelled
    predictions: dict[str, npt.NDArray[np.float32]]
    """By name of candidate: calibrated probability, NaN where it made none."""
    champion: str | None
    """The champion when the snapshot was taken."""
    learned: int
    """Labels learned when the snapshot was taken."""

    @property
    def champion_predictions(self) -> npt.NDArray[np.float32]:
        """Predictions of the champion at the time; NaN before there was one."""
        return self.predictions[self.champion] if self.champion else np.full(len(self.labels), np.nan, np.float32)


@dataclass
class Stream:
    """The engines of all partitions and the learner.

    Parameters
    ----------
    settings
        Partitions, horizons, look-back.
    target
        The target whose labels are kept.
    shuffled
        Seed by which the labels of each snapshot are permuted among its customers: the null control.
    """

    settings: Settings
    target: Target = "churn"
    shuffled: int | None = None
    learning: bool = True
    """False: only features and labels are computed."""
    keep_features: bool = False
    then: Callable[[Step], None] | None = None
    """Called with each boundary that was learned."""
    judged: list[Judged] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = self.settings.partitions
        self.learner = Learner(self.settings)
        self.snapshots: dict[int, dict[str, npt.NDArray[np.float32]]] = {}
        """By day, features by customer; filled if `keep_features`."""
        self._engines = [Engine(number, self.settings) for number in range(count)]
        self._decoder = Decoder(self.settings)
        self._queues: list[list[Record]] = [[] for _ in range(count)]
        self._offsets = [0] * count
        self._blocks = [0] * count
        self._at: dict[int, tuple[str | None, int]] = {}
        self._now = int(time.time() * 1000)

    def send(self, customer_id: str, body: bytes) -> None:
        """Append an event to the queue of its partition."""
        number = zlib.crc32(customer_id.encode()) % len(self._queues)
        self._queues[number].append(self._record(number, customer_id.encode(), body, ()))

    def tick(self, day: int) -> None:
        """Tick the beginning of a day to every partition, then process and learn all events until then."""
        for number in range(len(self._queues)):
            header = (TICK_HEADER, str(day * DAY).encode())
            self._queues[number].append(self._record(number, None, b"", (header,)))
        for number, queue in enumerate(self._queues):
            for result in self._engines[number].process(self._decoder.decode(queue)).boundaries:
                self._write(result)
            queue.clear()
        while (step := self.learner.advance()) is not None:
            self._take(step)

    def _record(self, number: int, key: bytes | None, body: bytes, headers: Headers) -> Record:
        self._offsets[number] += 1
        return Record(self._offsets[number] - 1, self._now, key, body, headers)

    def _write(self, result: BoundaryResult) -> None:
        unserved = np.full(len(result.rows), np.nan, np.float32)
        if self.keep_features:
            kept = self.snapshots.setdefault(result.boundary, {})
            kept.update(zip(result.ids, result.features, strict=True))
        if not self.learning:
            return
        for block in result.blocks(unserved, unserved):
            added = block
            if self.shuffled is not None and isinstance(block, Labels):
                rng = np.random.default_rng([self.shuffled, block.boundary, block.partition, len(block.target)])
                added = replace(block, labels=rng.permutation(block.labels))
            self.learner.add(added, self._blocks[result.partition])
            self._blocks[result.partition] += 1

    def _take(self, step: Step) -> None:
        learned = self.learner.targets[self.target]
        for judged in step.judged:
            if judged.target != self.target:
                continue
            day = int(judged.snapshot_days[0])
            champion, examples = self._at.pop(day, (None, 0))
            self.judged.append(
                Judged(
                    day,
                    judged.customer_ids,
                    judged.part.labels,
                    dict(zip(learned.names, judged.part.probabilities, strict=True)),
                    champion,
                    examples,
                )
            )
        self._at[step.boundary] = (learned.champion, learned.examples)
        if self.then is not None:
            self.then(step)


def after(judged: Iterable[Judged], labels: int) -> list[Judged]:
    """Return the snapshots taken when at least so many labels had been learned and there was a champion."""
    return [snapshot for snapshot in judged if snapshot.learned >= labels and snapshot.champion is not None]


def pooled(judged: Sequence[Judged], name: str | None = None) -> tuple[Floats, Labelled]:
    """Return probabilities and labels of several snapshots: of one candidate, or of the champion at the time."""
    predictions = [snapshot.champion_predictions if name is None else snapshot.predictions[name] for snapshot in judged]
    labels = np.concatenate([snapshot.labels for snapshot in judged])
    return np.concatenate(predictions).astype(np.float64), labels

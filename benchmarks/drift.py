"""After the world has changed: in how many labels is the model back, beside one that does not adapt?

The simulator's customers change their ways on a known day. The stream engine and the learner run over its events in
this process, as they would behind Kafka, and predictions are judged by the simulator's own law: a model is back when
its ROC-AUC lies within `MARGIN` of the oracle's over the same labels, those of the latest `DAYS` label dates, and stays
there on nine label dates of ten.

Three models see the same blocks: one frozen at the shift, one that goes on learning as ever, and one that moreover
learns `PACE` times as fast for a while when it finds its errors risen (`EBB_DRIFT_PACE`, which is 1 unless set).
"""

import json
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ebb.blocks import Block
from ebb.clock import DAY
from ebb.events import TICK_HEADER
from ebb.settings import Settings
from online_ml.learner import Judged, Learner
from online_ml.measures import ece, log_losses, roc_auc
from online_ml.registry import snapshots
from online_ml.scoring import Scorer, load
from producers.records import records
from producers.shifts import Shift, Shifts
from producers.simulation import Simulation, World
from stream_processors.decode import Decoder
from stream_processors.engine import Engine

CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "3000"))
KIND = os.environ.get("BENCH_SHIFT", "price")
SHIFT_DAY = int(os.environ.get("BENCH_SHIFT_DAY", "100"))
DAYS_AFTER = int(os.environ.get("BENCH_DAYS_AFTER", "80"))
FIRST_DAY = 20_000
MARGIN = 0.02
PACE = int(os.environ.get("BENCH_PACE", "4"))
DAYS = 5
"""Label dates that are judged together: one alone holds too few leavers for an AUC within a point."""
STEADY = 0.9
Floats = npt.NDArray[np.float64]


@dataclass
class Record:
    """What the decoder reads of a record of the activity topic."""

    offset: int
    key: bytes | None
    value: bytes
    timestamp: int
    headers: Sequence[tuple[str, bytes]] = ()
    topic: str = "ebb.activity"
    partition: int = 0


@dataclass
class Course:
    """One model's predictions against what came of them, over the latest label dates."""

    gaps: list[float] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    excess: list[float] = field(default_factory=list)
    """Mean log-loss above the oracle's."""
    _latest: deque[tuple[npt.NDArray[np.floating], Floats, npt.NDArray[np.uint8]]] = field(
        default_factory=lambda: deque(maxlen=DAYS)
    )

    def add(self, said: npt.NDArray[np.floating], best: Floats, labels: npt.NDArray[np.uint8]) -> None:
        """Judge a label date together with those before."""
        self._latest.append((said, best, labels))
        p, oracle, y = (np.concatenate(part) for part in zip(*self._latest, strict=True))
        mine, theirs = roc_auc(p, y), roc_auc(oracle, y)
        self.gaps.append(float("nan") if mine is None or theirs is None else theirs - mine)
        self.labels.append(len(labels))
        self.errors.append(ece(p, y))
        self.excess.append(float(log_losses(p, y).mean() - log_losses(oracle, y).mean()))

    def back_after(self, since: int, distance: list[float]) -> int | None:
        """Return the labels from a label date on until the distance to the oracle is small and stays; None if never."""
        near = np.array(distance[since:]) <= MARGIN
        for place in np.flatnonzero(near).tolist():
            if near[place:].mean() >= STEADY:
                return sum(self.labels[since : since + place])
        return None


def main() -> None:
    """Measure and print."""
    settings = Settings(partitions=1, dedupe_events=0, future_tolerance_seconds=1e12)
    horizon = settings.horizon_days
    adapting, reacting = Learner(settings), Learner(settings.model_copy(update={"drift_pace": PACE}))
    courses = {"frozen": Course(), "adapting": Course(), "reacting": Course()}
    kept: dict[int, Mapping[str, float]] = {}
    frozen: Scorer | None = None
    found: list[int] = []
    base: list[float] = []
    offset = 0
    for boundary, truth, blocks in _days(settings):
        kept[boundary] = truth
        for block in blocks:
            adapting.offer(block, offset)
            reacting.offer(block, offset)
            offset += 1
        while (step := reacting.advance()) is not None:
            other = adapting.advance()
            if "churn" in step.changes and step.boundary >= FIRST_DAY + SHIFT_DAY:
                found.append(step.boundary - FIRST_DAY - SHIFT_DAY)
            if step.boundary == FIRST_DAY + SHIFT_DAY:
                frozen = _champion(reacting)
            for judged, same in zip(step.judged, other.judged if other else [], strict=True):
                if judged.target != "churn" or reacting.targets["churn"].champion is None:
                    continue
                now = _said(judged, reacting)
                if np.isnan(now).any():
                    continue  # predicted before the first label was learned
                best = np.array([kept[step.boundary - horizon][name] for name in judged.customer_ids])
                labels = judged.part.labels
                courses["reacting"].add(now, best, labels)
                courses["adapting"].add(_said(same, adapting), best, labels)
                courses["frozen"].add(now if frozen is None else frozen.predict(judged.features), best, labels)
                base.append(float(labels.mean()))
    _tell(courses, found, base, horizon)


def _days(settings: Settings) -> Iterator[tuple[int, dict[str, float], list[Block]]]:
    """Yield each boundary with the oracle's chance of silence by customer and the blocks that its crossing brings."""
    world = World(7, CUSTOMERS, FIRST_DAY, shifts=Shifts([Shift(SHIFT_DAY, KIND)]))
    simulation, engine, decoder = Simulation(world), Engine(0, settings), Decoder(settings)
    offset = 0
    for _ in range(SHIFT_DAY + DAYS_AFTER):
        boundary = simulation.day
        truth = simulation.truth(horizon=settings.horizon_days, lookback=settings.lookback_days)
        law = {f"c{n:07d}": p for n, p in zip(truth.number.tolist(), truth.silence.tolist(), strict=True)}
        late = int(boundary * DAY + settings.allowed_lateness_seconds)
        batch = [Record(offset, None, b"", late * 1000, [(TICK_HEADER, str(late).encode())])]
        offset += 1
        blocks: list[Block] = []
        for crossing in engine.process(decoder.decode(batch)).crossings:
            nothing = np.full(len(crossing.rows), np.nan, np.float32)
            blocks += crossing.blocks(nothing, nothing)
        yield boundary, law, blocks
        day = [
            Record(offset + place, one.customer_id.encode(), one.body, int(one.time * 1000))
            for place, one in enumerate(records(simulation.step(), world.tag))
            if one.time >= late - DAY
        ]
        offset += len(day)
        if day:
            engine.process(decoder.decode(day))


def _champion(learner: Learner) -> Scorer:
    models = snapshots(learner.targets["churn"], {}, learner.requests, {})
    return load(models[-1])


def _said(judged: Judged, learner: Learner) -> npt.NDArray[np.floating]:
    learned = learner.targets["churn"]
    said: npt.NDArray[np.floating] = judged.part.probabilities[learned.names.index(str(learned.champion))]
    return said


def _tell(courses: dict[str, Course], found: list[int], base: list[float], horizon: int) -> None:
    after = len(base) - (DAYS_AFTER - horizon)
    print(f"{CUSTOMERS:,} customers; {KIND} on day {SHIFT_DAY}; its first labels mature {horizon} days later")
    print(f"base rate {np.mean(base[:after]):.3f} before, {np.mean(base[after:]):.3f} after")
    print(f"error found changed after days: {found or 'never'}")
    head = f"{'':10} {'AUC gap before':>14} {'worst after':>11} {'last':>7}"
    print(f"{head} {'excess log-loss':>15} {'worst ECE':>9}")
    figures: dict[str, object] = {"shift": KIND, "found_after_days": found[0] if found else None}
    for name, course in courses.items():
        told = {
            "labels_until_back": course.back_after(after, course.gaps),
            "labels_until_back_log_loss": course.back_after(after, course.excess),
            "gap_before": round(float(np.mean(course.gaps[after - 20 : after])), 4),
            "worst_gap": round(max(course.gaps[after:]), 4),
            "last_gap": round(course.gaps[-1], 4),
            "excess_log_loss": round(float(np.mean(course.excess[after:])), 4),
            "worst_ece": round(max(course.errors[after:]), 4),
        }
        print(
            f"{name:10} {told['gap_before']:14.4f} {told['worst_gap']:11.4f} {told['last_gap']:7.4f}"
            f" {told['excess_log_loss']:15.4f} {told['worst_ece']:9.4f}"
        )
        by = _labels(told["labels_until_back"]), _labels(told["labels_until_back_log_loss"])
        print(f"{'':10} back by AUC {by[0]}, by log-loss {by[1]}")
        figures |= {f"{key}_{name}": value for key, value in told.items()}
    print(json.dumps(figures))


def _labels(count: float | None) -> str:
    return "never" if count is None else f"after {count:,}"


if __name__ == "__main__":
    main()

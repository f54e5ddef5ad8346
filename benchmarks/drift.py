"""Recovery from drift: after how many labels is the model good again, beside one that does not adapt?

The simulator's customers change their behaviour on a known day. The stream engine and the learner process its events
in this process, as they would behind Kafka. Models are judged by week of their predictions, on the same rows, beside
the oracle (knows all traits) and the observer (knows the world's law, including the change, and the events; see
`benchmarks._observer`).

No score made from activity comes within `MARGIN` of the oracle, before the change or after, so two times are measured:
when the gap to the *oracle* is within `MARGIN` of its value before the change, and when the gap to the *observer* is
within `MARGIN`, in ROC-AUC and in log-loss. A model has recovered in a week if that holds in nine of ten weeks from
then on. Labels are those of the new world that were learned when the first such week began.
"""

import json
import os
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmarks._simulated import FIRST_DAY, Simulated, simulate
from benchmarks._stream import Judged, Stream
from online_ml.evaluation.metrics import log_losses, roc_auc
from online_ml.registry import snapshots
from online_ml.scoring.scorer import Scorer, load
from producers.simulator.shifts import Shift, Shifts
from producers.simulator.world import World

CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "4000"))
KINDS = os.environ.get("BENCH_SHIFT", "price,holiday,habit").split(",")
SHIFT_DAY = int(os.environ.get("BENCH_SHIFT_DAY", "98"))
DAYS_AFTER = int(os.environ.get("BENCH_DAYS_AFTER", "98"))
MARGIN = 0.02
PACE = int(os.environ.get("BENCH_PACE", "1"))
"""`EBB_DRIFT_PACE` of the learner."""
WEEK = 7
"""Days of predictions that are judged together: fewer have too few churners for an AUC within a point."""
BEFORE = 4
"""Weeks before the change that give the usual gap: the latest ones whose labels had matured by then."""
EVERY = 2
STEADY = 0.9
COURSES = ("frozen", "logistic", "nimble", "Ebb")
"""The champion on the day of the change, never trained again; two candidates; the champion at the time."""
Floats = npt.NDArray[np.float64]


@dataclass
class Course:
    """One score's accuracy by week; week 0 begins with the change."""

    area: dict[int, float] = field(default_factory=dict)
    loss: dict[int, float] = field(default_factory=dict)

    def add(self, week: int, predictions: Floats, labels: npt.NDArray[np.uint8]) -> None:
        """Judge a week."""
        self.area[week] = roc_auc(predictions, labels) or 0.0
        self.loss[week] = float(log_losses(predictions, labels).mean())


def main() -> None:
    """Measure and print."""
    print(json.dumps({kind: _measure(kind) for kind in KINDS}))


def _measure(kind: str) -> dict[str, dict[str, float | None]]:
    frozen: list[Scorer] = []

    def keep(day: int, stream: Stream) -> None:
        if day == FIRST_DAY + SHIFT_DAY:
            learned = stream.learner.targets["churn"]
            frozen.append(load(snapshots(learned, {}, stream.learner.requests, {})[-1]))

    world = World(7, CUSTOMERS, FIRST_DAY, shifts=Shifts([Shift(SHIFT_DAY, kind)]))
    simulated = simulate(world, days=SHIFT_DAY + DAYS_AFTER, every=EVERY, pace=PACE, then=keep)
    horizon = simulated.stream.settings.horizon_days
    courses = {name: Course() for name in ("oracle", "observer", *COURSES)}
    learned: dict[int, int] = {}
    base: dict[int, float] = {}
    usual = range(-BEFORE - horizon // WEEK, -(horizon // WEEK))
    for week in (*usual, *range(max(DAYS_AFTER - horizon, 0) // WEEK)):
        first = FIRST_DAY + SHIFT_DAY + week * WEEK
        part = [one for one in simulated.stream.judged if first <= one.day < first + WEEK]
        labels, predictions = _predictions(simulated, part, frozen[0] if week >= 0 else None)
        for name, course in courses.items():
            course.add(week, predictions[name], labels)
        new = [one for one in simulated.stream.judged if FIRST_DAY + SHIFT_DAY <= one.day <= first - horizon]
        learned[week], base[week] = sum(len(one.labels) for one in new), float(labels.mean())
    champions = {one.day: str(one.champion) for one in simulated.stream.judged}
    changes = [
        f"{champion} from day {day - FIRST_DAY - SHIFT_DAY:+d}"
        for day, champion in sorted(champions.items())
        if champion != champions.get(day - 1) and day > FIRST_DAY + SHIFT_DAY
    ]
    print(f"\n{CUSTOMERS:,} customers; {kind} on day {SHIFT_DAY}; its first labels mature {horizon} days later")
    print(f"champion at the change {champions[FIRST_DAY + SHIFT_DAY]}; {', '.join(changes) or 'unchanged after it'}")
    print(f"{'week':>6}{'labels':>9}{'churn':>7}" + "".join(f"{name:>17}" for name in courses) + "   ROC-AUC, log-loss")
    for week, count in learned.items():
        cells = "".join(f"{course.area[week]:>9.4f}{course.loss[week]:>8.4f}" for course in courses.values())
        print(f"{week:>+6}{count:>9,}{base[week]:>7.3f}{cells}")
    recoveries = {name: _recovery(courses, name, learned) for name in COURSES}
    for name, figures in recoveries.items():
        spelt = ", ".join(
            f"{key.replace('_', ' ')} {_labels(value)}" for key, value in figures.items() if "back" in key
        )
        print(f"{name:9} {spelt}")
    return recoveries


def _predictions(
    simulated: Simulated, part: list[Judged], frozen: Scorer | None
) -> tuple[npt.NDArray[np.uint8], dict[str, Floats]]:
    """Return the labels and every course's predictions of the rows that the observer predicted."""
    keys, rows = simulated.followed(part)

    def predicted(name: str | None) -> Floats:
        snapshots = [judged.champion_predictions if name is None else judged.predictions[name] for judged in part]
        return np.concatenate([p[chosen] for p, chosen in zip(snapshots, rows, strict=True)]).astype(np.float64)

    features = np.stack([simulated.stream.snapshots[day][name] for day, name in keys])
    return np.concatenate([one.labels[chosen] for one, chosen in zip(part, rows, strict=True)]), {
        "oracle": np.array([simulated.oracle[day][name] for day, name in keys]),
        "observer": np.array([simulated.observer[day][name] for day, name in keys]),
        "frozen": predicted(None) if frozen is None else frozen.predict(features),
        "logistic": predicted("logistic"),
        "nimble": predicted("nimble"),
        "Ebb": predicted(None),
    }


def _recovery(courses: dict[str, Course], name: str, learned: dict[int, int]) -> dict[str, float | None]:
    """Return a course's gaps before, at worst and at the end, and the labels until it recovered; None if never."""
    mine, oracle, observer = courses[name], courses["oracle"], courses["observer"]
    weeks, before = [week for week in learned if week >= 0], [week for week in learned if week < 0]
    gaps = {
        "oracle": {week: oracle.area[week] - mine.area[week] for week in learned},
        "observer": {week: observer.area[week] - mine.area[week] for week in learned},
        "observer_log_loss": {week: mine.loss[week] - observer.loss[week] for week in learned},
    }
    usual = {key: float(np.mean([gap[week] for week in before])) for key, gap in gaps.items()}
    limits = {"oracle": usual["oracle"] + MARGIN, "observer": MARGIN, "observer_log_loss": MARGIN}
    figures: dict[str, float | None] = {}
    for key, gap in gaps.items():
        figures |= {
            f"gap_{key}_before": round(usual[key], 4),
            f"gap_{key}_worst": round(max(gap[week] for week in weeks), 4),
            f"gap_{key}_last": round(gap[weeks[-1]], 4),
        }
        near = np.array([gap[week] <= limits[key] for week in weeks])
        back = next((index for index in np.flatnonzero(near).tolist() if near[index:].mean() >= STEADY), None)
        figures[f"back_{key}"] = None if back is None else learned[weeks[back]]
    return figures


def _labels(count: float | None) -> str:
    return "never" if count is None else f"after {count:,}" if count else "at once"


if __name__ == "__main__":
    main()

"""Simulated worlds, where the truth is known: the gap to two oracles, and two worlds without any signal.

- *Oracle*: knows every customer's hidden traits (how they tire, how easily they leave) and how tired they are.
- *Observer*: knows the law of the world, and of customers their events, as Ebb does (`benchmarks._observer`): the best
  prediction from activity.
- *Features*: the oracle's own probabilities, regressed on Ebb's features over another world of the same law: about the
  best prediction from the features. Its gap to the observer is what the features leave out; Ebb's gap to it is what the
  learner has yet to learn.

All four are judged on the same rows: every customer that the observer follows, at every `EVERY`-th snapshot.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingRegressor

from benchmarks._observer import Observer
from benchmarks._stream import Judged, Stream, after, pooled
from ebb.clock import DAY
from ebb.contracts.activity import encode_activity
from ebb.contracts.scores import utc
from ebb.settings import Settings
from online_ml.evaluation.metrics import ece, log_losses, roc_auc
from producers.simulator.population import Floats, Ints
from producers.simulator.records import records
from producers.simulator.world import Simulation, World

FIRST_DAY = 20_000
CUSTOMERS = 5_000
DAYS = 160
LABELS = 50_000
CURVE = (5_000, 20_000, 50_000, 100_000, 200_000, 400_000)
FIRST_FULL = 30
"""Days of the other world that are left out, because its customers have too little history."""
EVERY = 4
"""Days between two snapshots that the observer predicts."""
FOLLOWED = 2
"""One customer in so many is followed by the observer."""
PARTICLES = 200
"""Particles of each followed customer; four times as many rank better by 0.001 and take four times as long."""
VISIT = 0.12
"""Probability that a memoryless customer comes on a day: one in six stays away for 14 days."""
BOUND = 3.29
"""Standard errors of the two-sided interval of 99.9 %."""


@dataclass
class Simulated:
    """A world processed by engine and learner, with the oracle's probabilities by day and customer."""

    stream: Stream
    oracle: dict[int, dict[str, float]]
    observer: dict[int, dict[str, float]]
    """Of the days and customers that it predicted."""

    def followed(self, part: list[Judged]) -> tuple[list[tuple[int, str]], list[npt.NDArray[np.intp]]]:
        """Return day and customer of each row that the observer predicted, and the rows by snapshot."""
        rows = [
            np.flatnonzero([name in self.observer.get(judged.day, ()) for name in judged.customers]).astype(np.intp)
            for judged in part
        ]
        keys = [
            (judged.day, judged.customers[row]) for judged, chosen in zip(part, rows, strict=True) for row in chosen
        ]
        return keys, rows


def simulate(
    world: World,
    *,
    days: int = DAYS,
    learning: bool = True,
    every: int = EVERY,
    pace: int = 1,
    then: Callable[[int, Stream], None] | None = None,
) -> Simulated:
    """Send the days of a world through the engine, and keep the features of all snapshots.

    Parameters
    ----------
    learning
        Whether the learner learns and the observer observes.
    every
        Days between two snapshots that the observer predicts.
    pace
        How many times as fast the past fades after drift was detected (`EBB_DRIFT_PACE`).
    then
        Called with each day number once all events until that day are learned.
    """
    settings = Settings(snapshot_every_days=1, allowed_lateness_seconds=0, drift_pace=pace)
    stream = Stream(settings, learning=learning, keep_features=True)
    simulation, observer = Simulation(world), Observer(world, particles=PARTICLES, one_in=FOLLOWED)
    simulated = Simulated(stream, {}, {})
    for _ in range(days):
        truth = simulation.truth(horizon=settings.horizon_days, lookback=settings.lookback_days)
        simulated.oracle[truth.day] = _named(truth.number, truth.silence)
        if learning and truth.day % every == 0:
            followed = truth.number[observer.follows(truth.number)]
            simulated.observer[truth.day] = _named(
                followed, observer.silence(followed, truth.day, settings.horizon_days)
            )
        stream.tick(truth.day)
        if then is not None:
            then(truth.day, stream)
        day = simulation.step()
        for record in records(day, "world"):
            stream.send(record.customer_id, record.body)
        if learning:
            observer.see(day)
    stream.tick(simulation.day)
    return simulated


def _named(numbers: Ints, values: Floats) -> dict[str, float]:
    return {f"c{number:07d}": value for number, value in zip(numbers.tolist(), values.tolist(), strict=True)}


def compare() -> dict[str, object]:
    """Return the gaps to both oracles by labels learned, and print them."""
    world, other = simulate(World(7, CUSTOMERS, FIRST_DAY)), simulate(World(8, CUSTOMERS, FIRST_DAY), learning=False)
    days = range(FIRST_DAY + FIRST_FULL, FIRST_DAY + DAYS, 2)
    rows = [(other.stream.snapshots[day][name], other.oracle[day][name]) for day in days for name in other.oracle[day]]
    probabilities = np.clip(np.array([row[1] for row in rows]), 1e-4, 1 - 1e-4)
    by_features = HistGradientBoostingRegressor(
        max_iter=300, learning_rate=0.05, max_leaf_nodes=63, min_samples_leaf=100
    )
    by_features.fit(np.stack([row[0] for row in rows]), np.log(probabilities / (1 - probabilities)))
    judged = world.stream.judged
    curve: list[dict[str, float]] = []
    print(f"\nsimulator: {CUSTOMERS:,} customers, {DAYS} days; one in {FOLLOWED} judged, at every {EVERY}th snapshot")
    heads = {
        "labels learned": 16,
        "oracle": 9,
        "observer": 10,
        "features": 10,
        "Ebb": 9,
        "gap": 8,
        "to obs.": 9,
        "ECE": 8,
    }
    print("".join(f"{head:>{width}}" for head, width in heads.items()))
    for start, stop in zip(CURVE, (*CURVE[1:], 10**9), strict=True):
        part = [one for one in judged if start <= one.learned < stop and one.day in world.observer]
        if part:
            curve.append({"labels": start, **_gap(world, by_features, part)})
            print(
                "{labels:>16,.0f}{oracle:>9.4f}{observer:>10.4f}{features:>10.4f}{auc:>9.4f}{gap:>8.4f}"
                "{gap_observer:>9.4f}{ece:>8.4f}".format(**curve[-1])
            )
    whole = _gap(world, by_features, [one for one in after(judged, LABELS) if one.day in world.observer])
    predictions, labels = pooled(after(judged, CURVE[0]))
    settled = ece(predictions, labels)
    print(
        f"all after {LABELS:,} labels: gap to the oracle {whole['gap']:.4f}, "
        f"to the observer {whole['gap_observer']:.4f}, to the features {whole['features'] - whole['auc']:.4f}"
    )
    print(f"ECE of all predictions after {CURVE[0]:,} labels were learned: {settled:.4f}")
    return {
        "oracle_gap": whole["gap"],
        "observer_gap": whole["gap_observer"],
        "features_gap": whole["features"] - whole["auc"],
        "oracle_curve": [{key: round(value, 4) for key, value in point.items()} for point in curve],
        "simulator_auc": whole["auc"],
        "simulator_ece": settled,
    }


def _gap(world: Simulated, by_features: HistGradientBoostingRegressor, part: list[Judged]) -> dict[str, float]:
    """Return the ROC-AUC of all four on the same rows, and how far Ebb is behind."""
    keys, rows = world.followed(part)
    pairs = list(zip(part, rows, strict=True))
    ebb = np.concatenate([judged.champion_predictions[chosen] for judged, chosen in pairs]).astype(np.float64)
    truth = np.concatenate([judged.labels[chosen] for judged, chosen in pairs])
    features = np.stack([world.stream.snapshots[day][name] for day, name in keys])
    oracle, observer = (np.array([of[day][name] for day, name in keys]) for of in (world.oracle, world.observer))
    scores = {"oracle": oracle, "observer": observer, "features": by_features.predict(features), "auc": ebb}
    areas = {name: roc_auc(score, truth) or 0.0 for name, score in scores.items()}
    return {
        **areas,
        "gap": areas["oracle"] - areas["auc"],
        "gap_observer": areas["observer"] - areas["auc"],
        "ece": ece(ebb, truth),
        "log_loss": float(log_losses(ebb, truth).mean()),
        "log_loss_observer": float(log_losses(observer, truth).mean()),
    }


def memoryless(*, customers: int = 1_500, days: int = 100) -> Stream:
    """Send a world in which each customer comes each day with the same probability, whatever was before."""
    stream = Stream(Settings(snapshot_every_days=1, allowed_lateness_seconds=0))
    rng = np.random.default_rng(3)
    for day in range(FIRST_DAY, FIRST_DAY + days):
        stream.tick(day)
        visitors = np.flatnonzero(rng.random(customers) < VISIT)
        moments = np.sort(rng.random(len(visitors))) * (DAY - 1)
        for number, moment in zip(visitors.tolist(), moments.tolist(), strict=True):
            name = f"m{number}"
            stream.send(name, encode_activity(f"{day}-{number}", name, "view", utc(day * DAY + moment), {}))
    stream.tick(FIRST_DAY + days)
    return stream


def null(stream: Stream, *, name: str) -> tuple[float, float, float]:
    """Return the AUC within snapshots and its interval by chance alone, and print them.

    Within snapshots, so that a rate that changes with time carries no signal; over snapshots whose horizons do not
    overlap, so that labels are independent. Variance of an AUC under the null: (m + n + 1) / (12 m n) (Mann and
    Whitney 1947).
    """
    horizon = stream.settings.horizon_days
    snapshots = []
    for judged in after(stream.judged, 1_000):
        ones = int(judged.labels.sum())
        zeros = len(judged.labels) - ones
        if judged.day % horizon == 0 and min(ones, zeros) > 0:
            area = roc_auc(judged.champion_predictions.astype(np.float64), judged.labels) or 0.0
            snapshots.append((area, 12 * ones * zeros / (len(judged.labels) + 1)))
    areas, weights = np.array(snapshots).T
    area = float(areas @ weights / weights.sum())
    width = BOUND / float(np.sqrt(weights.sum()))
    print(
        f"null, {name}: AUC {area:.4f}, by chance {0.5 - width:.4f} to {0.5 + width:.4f} ({len(snapshots)} snapshots)"
    )
    return area, 0.5 - width, 0.5 + width


if __name__ == "__main__":
    print(json.dumps(compare()))

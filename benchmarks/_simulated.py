"""Where the truth is known: the gap to two oracles, and two worlds in which nothing can be known.

- *Oracle*: told every customer's hidden traits (how they tire, how easily they leave) and how tired they are.
- *Observer*: told the law of the world, and of customers what they do, as Ebb is (`benchmarks._observer`): as much as
  can be said from activity.
- *Features*: the oracle's own probabilities, regressed on Ebb's features over another world of the same law: about as
  much as can be said from the features. What it lies behind the observer, the features leave out; what Ebb lies behind
  it, the learner has yet to learn.

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
"""Days of the other world that are left out: its customers are not known yet."""
EVERY = 4
"""Days from one snapshot that the observer judges to the next."""
FOLLOWED = 2
"""One customer in so many is followed by the observer."""
PARTICLES = 200
"""Behind each of them; four times as many rank better by 0.001, and take four times as long."""
VISIT = 0.12
"""Chance that a memoryless customer comes on a day: one in six stays away for 14 days."""
BOUND = 3.29
"""Standard errors of the two-sided interval of 99.9 %."""


@dataclass
class Simulated:
    """A world that has gone through engine and learner, with the oracle's probabilities by day and customer."""

    stream: Stream
    oracle: dict[int, dict[str, float]]
    observer: dict[int, dict[str, float]]
    """Of the days and customers that it was asked about."""

    def followed(self, part: list[Judged]) -> tuple[list[tuple[int, str]], list[npt.NDArray[np.intp]]]:
        """Return the day and customer of each row of which the observer was asked, and the rows in each snapshot."""
        rows = [
            np.flatnonzero([name in self.observer.get(one.day, ()) for name in one.customers]).astype(np.intp)
            for one in part
        ]
        keys = [(one.day, one.customers[row]) for one, chosen in zip(part, rows, strict=True) for row in chosen]
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
        Days from one snapshot that the observer judges to the next.
    pace
        How many times as fast the past fades after the error was found risen (`EBB_DRIFT_PACE`).
    then
        Called with each day number when all until that day has been learned.
    """
    settings = Settings(snapshot_every_days=1, allowed_lateness_seconds=0, drift_pace=pace)
    stream = Stream(settings, learning=learning, keep_features=True)
    simulation, observer = Simulation(world), Observer(world, particles=PARTICLES, one_in=FOLLOWED)
    found = Simulated(stream, {}, {})
    for _ in range(days):
        truth = simulation.truth(horizon=settings.horizon_days, lookback=settings.lookback_days)
        found.oracle[truth.day] = _named(truth.number, truth.silence)
        if learning and truth.day % every == 0:
            followed = truth.number[observer.follows(truth.number)]
            found.observer[truth.day] = _named(followed, observer.silence(followed, truth.day, settings.horizon_days))
        stream.tick(truth.day)
        if then is not None:
            then(truth.day, stream)
        day = simulation.step()
        for record in records(day, "world"):
            stream.send(record.customer_id, record.body)
        if learning:
            observer.see(day)
    stream.tick(simulation.day)
    return found


def _named(numbers: Ints, values: Floats) -> dict[str, float]:
    return {f"c{number:07d}": value for number, value in zip(numbers.tolist(), values.tolist(), strict=True)}


def compare() -> dict[str, object]:
    """Return the gaps to both oracles by labels learned, and print them."""
    world, other = simulate(World(7, CUSTOMERS, FIRST_DAY)), simulate(World(8, CUSTOMERS, FIRST_DAY), learning=False)
    days = range(FIRST_DAY + FIRST_FULL, FIRST_DAY + DAYS, 2)
    rows = [(other.stream.snapshots[day][name], other.oracle[day][name]) for day in days for name in other.oracle[day]]
    chance = np.clip(np.array([row[1] for row in rows]), 1e-4, 1 - 1e-4)
    seen = HistGradientBoostingRegressor(max_iter=300, learning_rate=0.05, max_leaf_nodes=63, min_samples_leaf=100)
    seen.fit(np.stack([row[0] for row in rows]), np.log(chance / (1 - chance)))
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
            curve.append({"labels": start, **_gap(world, seen, part)})
            print(
                "{labels:>16,.0f}{oracle:>9.4f}{observer:>10.4f}{features:>10.4f}{auc:>9.4f}{gap:>8.4f}"
                "{gap_observer:>9.4f}{ece:>8.4f}".format(**curve[-1])
            )
    whole = _gap(world, seen, [one for one in after(judged, LABELS) if one.day in world.observer])
    told, labels = pooled(after(judged, CURVE[0]))
    settled = ece(told, labels)
    print(
        f"all after {LABELS:,} labels: gap to the oracle {whole['gap']:.4f}, "
        f"to the observer {whole['gap_observer']:.4f}, to the features {whole['features'] - whole['auc']:.4f}"
    )
    print(f"ECE of all that was told once {CURVE[0]:,} labels were learned: {settled:.4f}")
    return {
        "oracle_gap": whole["gap"],
        "observer_gap": whole["gap_observer"],
        "features_gap": whole["features"] - whole["auc"],
        "oracle_curve": [{key: round(value, 4) for key, value in point.items()} for point in curve],
        "simulator_auc": whole["auc"],
        "simulator_ece": settled,
    }


def _gap(world: Simulated, seen: HistGradientBoostingRegressor, part: list[Judged]) -> dict[str, float]:
    """Return the ROC-AUC of all four on the same rows, and how far Ebb is behind."""
    keys, rows = world.followed(part)
    told = np.concatenate([one.told[chosen] for one, chosen in zip(part, rows, strict=True)]).astype(np.float64)
    truth = np.concatenate([one.labels[chosen] for one, chosen in zip(part, rows, strict=True)])
    features = np.stack([world.stream.snapshots[day][name] for day, name in keys])
    oracle, observer = (np.array([of[day][name] for day, name in keys]) for of in (world.oracle, world.observer))
    scores = {"oracle": oracle, "observer": observer, "features": seen.predict(features), "auc": told}
    found = {name: roc_auc(score, truth) or 0.0 for name, score in scores.items()}
    return {
        **found,
        "gap": found["oracle"] - found["auc"],
        "gap_observer": found["observer"] - found["auc"],
        "ece": ece(told, truth),
        "log_loss": float(log_losses(told, truth).mean()),
        "log_loss_observer": float(log_losses(observer, truth).mean()),
    }


def memoryless(*, customers: int = 1_500, days: int = 100) -> Stream:
    """Send a world in which everybody comes each day with the same chance, whatever was before."""
    stream = Stream(Settings(snapshot_every_days=1, allowed_lateness_seconds=0))
    rng = np.random.default_rng(3)
    for day in range(FIRST_DAY, FIRST_DAY + days):
        stream.tick(day)
        come = np.flatnonzero(rng.random(customers) < VISIT)
        moments = np.sort(rng.random(len(come))) * (DAY - 1)
        for number, moment in zip(come.tolist(), moments.tolist(), strict=True):
            name = f"m{number}"
            stream.send(name, encode_activity(f"{day}-{number}", name, "view", utc(day * DAY + moment), {}))
    stream.tick(FIRST_DAY + days)
    return stream


def null(stream: Stream, *, name: str) -> tuple[float, float, float]:
    """Return the AUC within snapshots and the interval in which it lies by chance alone, and print them.

    Within, so that a rate that moves with time gives nothing away; over snapshots whose horizons do not overlap, so
    that labels are independent. Variance of an AUC under the null: (m + n + 1) / (12 m n) (Mann and Whitney 1947).
    """
    horizon = stream.settings.horizon_days
    found = []
    for one in after(stream.judged, 1_000):
        ones = int(one.labels.sum())
        zeros = len(one.labels) - ones
        if one.day % horizon == 0 and min(ones, zeros) > 0:
            area = roc_auc(one.told.astype(np.float64), one.labels) or 0.0
            found.append((area, 12 * ones * zeros / (len(one.labels) + 1)))
    areas, weights = np.array(found).T
    area = float(areas @ weights / weights.sum())
    width = BOUND / float(np.sqrt(weights.sum()))
    print(f"null, {name}: AUC {area:.4f}, by chance {0.5 - width:.4f} to {0.5 + width:.4f} ({len(found)} snapshots)")
    return area, 0.5 - width, 0.5 + width


if __name__ == "__main__":
    print(json.dumps(compare()))

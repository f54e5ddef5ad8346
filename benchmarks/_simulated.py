"""Where the truth is known: the gap to the simulator's oracle, and two worlds in which nothing can be known.

The oracle knows every customer's hidden traits (how they tire, how easily they leave), which show in what customers do
only in part; no score made from activity can reach it. So a second yardstick stands beside it: the oracle's own
probabilities, regressed on Ebb's features over another world of the same law: about the best that can be said from
what is seen.
"""

import json
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from benchmarks._stream import Judged, Stream, after, pooled
from ebb.clock import DAY
from ebb.events import encode_activity
from ebb.messages import utc
from ebb.settings import Settings
from online_ml.measures import ece, roc_auc
from producers.records import records
from producers.simulation import Simulation, World

FIRST_DAY = 20_000
CUSTOMERS = 5_000
DAYS = 160
LABELS = 50_000
CURVE = (5_000, 20_000, 50_000, 100_000, 200_000, 400_000)
FIRST_FULL = 30
"""Days of the other world that are left out: its customers are not known yet."""
VISIT = 0.12
"""Chance that a memoryless customer comes on a day: one in six stays away for 14 days."""
BOUND = 3.29
"""Standard errors of the two-sided interval of 99.9 %."""


@dataclass
class Simulated:
    """A world that has gone through engine and learner, with the oracle's probabilities by day and customer."""

    stream: Stream
    oracle: dict[int, dict[str, float]]

    def known(self, judged: list[Judged]) -> np.ndarray:
        """Return the oracle's probabilities of these snapshots' customers, in their order."""
        return np.array([self.oracle[one.day][name] for one in judged for name in one.customers])


def simulate(*, seed: int, learning: bool) -> Simulated:
    """Send the days of a world through the engine, and the learner if asked, and keep the features of all snapshots."""
    settings = Settings(snapshot_every_days=1, allowed_lateness_seconds=0)
    stream = Stream(settings, learning=learning, keep_features=True)
    simulation = Simulation(World(seed=seed, customers=CUSTOMERS, first_day=FIRST_DAY))
    oracle = {}
    for _ in range(DAYS):
        truth = simulation.truth(horizon=settings.horizon_days, lookback=settings.lookback_days)
        names = [f"c{number:07d}" for number in truth.number.tolist()]
        oracle[truth.day] = dict(zip(names, truth.silence.tolist(), strict=True))
        stream.tick(truth.day)
        for record in records(simulation.step(), "world"):
            stream.send(record.customer_id, record.body)
    stream.tick(simulation.day)
    return Simulated(stream, oracle)


def compare() -> dict[str, object]:
    """Return the gap to the oracle by labels learned, and print it."""
    world, other = simulate(seed=7, learning=True), simulate(seed=8, learning=False)
    days = range(FIRST_DAY + FIRST_FULL, FIRST_DAY + DAYS, 2)
    rows = [(other.stream.snapshots[day][name], other.oracle[day][name]) for day in days for name in other.oracle[day]]
    chance = np.clip(np.array([row[1] for row in rows]), 1e-4, 1 - 1e-4)
    seen = HistGradientBoostingRegressor(max_iter=300, learning_rate=0.05, max_leaf_nodes=63, min_samples_leaf=100)
    seen.fit(np.stack([row[0] for row in rows]), np.log(chance / (1 - chance)))
    judged = world.stream.judged
    curve: list[dict[str, float]] = []
    print(f"\nsimulator: {CUSTOMERS:,} customers, {DAYS} days")
    print(f"{'labels learned':>16}{'oracle':>9}{'seen':>9}{'Ebb':>9}{'gap':>8}{'gap seen':>10}{'ECE':>8}")
    for start, stop in zip(CURVE, (*CURVE[1:], 10**9), strict=True):
        part = [one for one in judged if start <= one.learned < stop]
        if part:
            curve.append(_gap(world, seen, part, start))
            print(
                "{labels:>16,.0f}{oracle:>9.4f}{seen:>9.4f}{auc:>9.4f}{gap:>8.4f}{gap_seen:>10.4f}{ece:>8.4f}".format(
                    **curve[-1]
                )
            )
    whole = _gap(world, seen, after(judged, LABELS), LABELS)
    told, labels = pooled(after(judged, CURVE[0]))
    settled = ece(told, labels)
    print(f"all after {LABELS:,} labels: gap {whole['gap']:.4f}, to what is seen {whole['gap_seen']:.4f}")
    print(f"ECE of all that was told once {CURVE[0]:,} labels were learned: {settled:.4f}")
    return {
        "oracle_gap": whole["gap"],
        "oracle_gap_seen": whole["gap_seen"],
        "oracle_curve": [{key: round(value, 4) for key, value in point.items()} for point in curve],
        "simulator_auc": whole["auc"],
        "simulator_ece": settled,
    }


def _gap(world: Simulated, seen: HistGradientBoostingRegressor, part: list[Judged], labels: int) -> dict[str, float]:
    told, truth = pooled(part)
    features = np.stack([world.stream.snapshots[one.day][name] for one in part for name in one.customers])
    best, possible, ours = (roc_auc(score, truth) or 0.0 for score in (world.known(part), seen.predict(features), told))
    return {
        "labels": labels,
        "oracle": best,
        "seen": possible,
        "auc": ours,
        "gap": best - ours,
        "gap_seen": possible - ours,
        "ece": ece(told, truth),
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

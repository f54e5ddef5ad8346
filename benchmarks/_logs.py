"""Ebb's progressive predictions on a recorded log beside the baselines', on the same (customer, snapshot) pairs.

Protocol: cut T at 70 % of the log's time range; test snapshots T, T + H, … whose labels the log still holds, at most
12, pooled. Days begin at midnight UTC, and a snapshot is taken at the beginning of a day: the first after T.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks._boosting import FROZEN_SNAPSHOTS, TRAINING_SNAPSHOTS, Baselines, Events
from benchmarks._stream import Stream, after, pooled
from benchmarks._trees import Trees, mean
from ebb.clock import DAY, day_of
from ebb.contracts.activity import decode_activity
from ebb.settings import Settings
from online_ml.evaluation.metrics import measure, pr_auc, roc_auc
from online_ml.learning.learner import Step
from producers.replay.presets import CUT, PRESETS
from producers.replay.rows import Row, Rows, columns_of, complete_mapping
from producers.replay.sources import read_log
from producers.replay.times import zone_named

DATA = Path(os.environ.get("EBB_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
TESTS = 12
SETTLED = 5_000
"""Labels after which calibration is judged."""


@dataclass(frozen=True)
class Recorded:
    """A log as rows to send."""

    name: str
    rows: list[Row]
    settings: Settings


def read(name: str, *, partitions: int = 8) -> Recorded:
    """Read a log by its preset, with a snapshot at each day boundary."""
    preset = PRESETS[name]
    settings = Settings(
        partitions=partitions,
        horizon_days=preset.horizon_days,
        lookback_days=preset.lookback_days,
        snapshot_every_days=1,
        tree_labels=0,  # `Trees` predicts every customer instead
        allowed_lateness_seconds=0,  # rows are sent in order of time
        kinds={**Settings().kinds, **preset.kinds},
    )
    mapping = complete_mapping(preset.mapping, [])
    rows = Rows(
        read_log(DATA / name / "events.parquet", columns_of(mapping)),
        mapping,
        zone=zone_named(preset.zone),
        latest=time.time(),
        max_bytes=settings.max_event_bytes,
    )
    return Recorded(name, [row for row in rows if isinstance(row, Row)], settings)


def stream(log: Recorded, *, shuffled: int | None = None, then: Callable[[Step], None] | None = None) -> Stream:
    """Send a log through engine and learner, with a tick at each day boundary up to the first after its end."""
    through = Stream(log.settings, shuffled=shuffled, then=then)
    day = day_of(log.rows[0].time)
    through.tick(day)
    for row in log.rows:
        while day < day_of(row.time):
            day += 1
            through.tick(day)
        through.send(row.customer_id, row.body)
    through.tick(day + 1)
    return through


def test_days(log: Recorded) -> list[int]:
    """Return the days of the protocol's test snapshots."""
    first, last = log.rows[0].time / DAY, log.rows[-1].time / DAY
    cut, horizon = math.floor(first + CUT * (last - first)) + 1, log.settings.horizon_days
    days = [cut + index * horizon for index in range(TESTS)]
    return [day for day in days if day + horizon <= math.floor(last) + 1]


def events(log: Recorded) -> Events:
    """Return a log as columns for the baselines."""
    indices: dict[str, int] = {}
    kinds: dict[str, int] = {}
    customer, when, kind, value = [], [], [], []
    for row in log.rows:
        activity, known = decode_activity(row.body, latest=row.time, max_bytes=log.settings.max_event_bytes)
        customer.append(indices.setdefault(row.customer_id, len(indices)))
        kind.append(kinds.setdefault(activity.type, len(kinds)))
        when.append(row.time / DAY)
        value.append(known.amount or 0.0)
    return Events(
        np.array(customer, np.int64),
        np.array(when),
        np.array(kind, np.int64),
        np.array(value, np.float64),
        list(indices),
    )


def compare(log: Recorded) -> dict[str, float]:
    """Return the figures of one log, by the names of the benchmark's JSON, and print them."""
    days = test_days(log)
    trees = Trees(days)
    began = time.perf_counter()
    through = stream(log, then=trees.follow)
    learning = time.perf_counter() - began - sum(trees.seconds.values())
    listed = events(log)
    horizon = log.settings.horizon_days
    baselines = Baselines(listed, horizon=horizon, lookback=log.settings.lookback_days)
    tested = sorted((judged for judged in through.judged if judged.day in days), key=lambda judged: judged.day)
    scores: dict[str, list[np.ndarray]] = {"recency": [], "count": [], "boosting frozen": [], "boosting retrained": []}
    frozen = baselines.boosting(days[0], snapshots=FROZEN_SNAPSHOTS, every=horizon)
    for judged, day in zip(tested, days, strict=True):
        taken = baselines.snapshot(day)
        names = [listed.names[index] for index in taken.customers.tolist()]
        mine = dict(zip(judged.customers, judged.labels.tolist(), strict=True))
        if mine != dict(zip(names, taken.churned.tolist(), strict=True)):
            message = f"Ebb's customers or labels of snapshot {day} of {log.name} are not those of the events"
            raise AssertionError(message)
        indices = {name: index for index, name in enumerate(names)}
        order = np.array([indices[name] for name in judged.customers])
        retrained = baselines.boosting(day, snapshots=TRAINING_SNAPSHOTS, every=max(1, round(horizon / 10)))
        for name, score in (
            ("recency", taken.recency),
            ("count", -taken.count),
            ("boosting frozen", frozen.predict_proba(taken.table)[:, 1]),
            ("boosting retrained", retrained.predict_proba(taken.table)[:, 1]),
        ):
            scores[name].append(score[order])
    predictions, labels = pooled(tested)
    settled = measure(*pooled(after(through.judged, SETTLED)))
    results = {"Ebb": measure(predictions, labels)}
    results |= {
        f"  {name}": measure(*pooled(tested, name)) for name in tested[0].predictions if name not in ("served", "prior")
    }
    for name in trees.seconds:
        of_tree = np.concatenate([trees.of(name, judged.day, judged.customers) for judged in tested])
        results[name] = measure(of_tree, labels)
        results[f"  {name} and Ebb"] = measure(mean(predictions, of_tree), labels)
    for name, parts in scores.items():
        score = np.concatenate(parts)
        ranked = {"roc_auc": roc_auc(score, labels) or 0.0, "pr_auc": pr_auc(score, labels) or 0.0}
        results[name] = measure(score, labels) if name.startswith("boosting") else ranked
    champions = ", ".join(sorted({str(judged.champion) for judged in tested}))
    print(
        f"\n{log.name}: {len(log.rows):,} events, {len(days)} test snapshots, {len(labels):,} pairs, churn "
        f"{labels.mean():.3f}; champion {champions}; "
        f"{through.learner.targets['churn'].examples:,} labels; engine and learner {learning:.0f} s"
    )
    print(f"{'':24}{'ROC-AUC':>9}{'PR-AUC':>9}{'log-loss':>10}{'ECE':>8}")
    for name, measures in results.items():
        cells = [("roc_auc", 9), ("pr_auc", 9), ("log_loss", 10), ("ece", 8)]
        shown = "".join(f"{measures[key]:>{width}.4f}" if key in measures else " " * width for key, width in cells)
        print(f"{name:24}{shown}")
    spent = ", ".join(f"{name} {milliseconds:.2f}" for name, milliseconds in trees.spent().items())
    print(f"trees learned {' or '.join(f'{count:,}' for count in trees.learned())} labels; ms a label: {spent}")
    print(f"ECE of all predictions after {SETTLED:,} labels were learned: {settled['ece']:.4f}")
    ebb = results["Ebb"]
    best = max(trees.seconds, key=lambda name: results[name]["roc_auc"])
    return {
        "auc": ebb["roc_auc"],
        "pr_auc": ebb["pr_auc"],
        "log_loss": ebb["log_loss"],
        "ece": settled["ece"],
        "ece_pairs": ebb["ece"],
        "auc_trees": results[best]["roc_auc"],
        "auc_trees_and_ebb": results[f"  {best} and Ebb"]["roc_auc"],
        "auc_recency": results["recency"]["roc_auc"],
        "auc_count": results["count"]["roc_auc"],
        "auc_boosting_frozen": results["boosting frozen"]["roc_auc"],
        "auc_boosting_retrained": results["boosting retrained"]["roc_auc"],
        "pr_auc_boosting_retrained": results["boosting retrained"]["pr_auc"],
        "log_loss_boosting_retrained": results["boosting retrained"]["log_loss"],
    }

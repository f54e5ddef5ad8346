"""Ebb's progressive predictions on a recorded log beside the opponents', on the same (customer, snapshot) pairs.

Protocol: cut T at 70 % of the log's time range; test snapshots T, T + H, … whose labels the log still holds, at most
12, pooled. Days begin at midnight UTC, and a snapshot stands at the beginning of a day: the first after T.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks._boosting import FROZEN_SNAPSHOTS, TRAINING_SNAPSHOTS, Events, Opponents
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
        tree_labels=0,  # asked about every customer instead: `Trees`
        allowed_lateness_seconds=0,  # rows are sent in order of time
        kinds={**Settings().kinds, **preset.kinds},
    )
    log = read_log(DATA / name / "events.parquet", columns_of(preset.mapping))
    rows = Rows(
        log,
        complete_mapping(preset.mapping, list(log.columns)),
        zone=zone_named(preset.zone),
        latest=time.time(),
        max_bytes=settings.max_event_bytes,
    )
    return Recorded(name, [row for row in rows if isinstance(row, Row)], settings)


def stream(log: Recorded, *, shuffled: int | None = None, then: Callable[[Step], None] | None = None) -> Stream:
    """Send a log through engine and learner, a tick at each day boundary, the last at the first after its end."""
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
    days = [cut + place * horizon for place in range(TESTS)]
    return [day for day in days if day + horizon <= math.floor(last) + 1]


def events(log: Recorded) -> Events:
    """Return a log as the opponents read it."""
    places: dict[str, int] = {}
    kinds: dict[str, int] = {}
    who, when, kind, value = [], [], [], []
    for row in log.rows:
        activity, known = decode_activity(row.body, latest=row.time, max_bytes=log.settings.max_event_bytes)
        who.append(places.setdefault(row.customer_id, len(places)))
        kind.append(kinds.setdefault(activity.type, len(kinds)))
        when.append(row.time / DAY)
        value.append(known.amount or 0.0)
    return Events(
        np.array(who, np.int64), np.array(when), np.array(kind, np.int64), np.array(value, np.float64), list(places)
    )


def compare(log: Recorded, *, say: bool = True) -> dict[str, float]:
    """Return the figures of one log, by the names of the benchmark's JSON, and print them."""
    days = test_days(log)
    trees = Trees(days)
    began = time.perf_counter()
    through = stream(log, then=trees.follow)
    learning = time.perf_counter() - began - sum(trees.seconds.values())
    listed = events(log)
    horizon = log.settings.horizon_days
    opponents = Opponents(listed, horizon=horizon, lookback=log.settings.lookback_days)
    tested = sorted((one for one in through.judged if one.day in days), key=lambda one: one.day)
    scores: dict[str, list[np.ndarray]] = {"recency": [], "count": [], "boosting frozen": [], "boosting retrained": []}
    frozen = opponents.boosting(days[0], snapshots=FROZEN_SNAPSHOTS, every=horizon)
    for one, day in zip(tested, days, strict=True):
        taken = opponents.snapshot(day)
        names = [listed.names[place] for place in taken.customers.tolist()]
        mine = dict(zip(one.customers, one.labels.tolist(), strict=True))
        if mine != dict(zip(names, taken.gone.tolist(), strict=True)):
            message = f"Ebb's customers or labels of snapshot {day} of {log.name} are not those of the events"
            raise AssertionError(message)
        places = {name: place for place, name in enumerate(names)}
        order = np.array([places[name] for name in one.customers])
        retrained = opponents.boosting(day, snapshots=TRAINING_SNAPSHOTS, every=max(1, round(horizon / 10)))
        for name, score in (
            ("recency", taken.recency),
            ("count", -taken.count),
            ("boosting frozen", frozen.predict_proba(taken.table)[:, 1]),
            ("boosting retrained", retrained.predict_proba(taken.table)[:, 1]),
        ):
            scores[name].append(score[order])
    told, labels = pooled(tested)
    settled = measure(*pooled(after(through.judged, SETTLED)))
    found = {"Ebb": measure(told, labels)}
    found |= {f"  {name}": measure(*pooled(tested, name)) for name in tested[0].said if name not in ("served", "prior")}
    for name in trees.seconds:
        leafy = np.concatenate([trees.of(name, one.day, one.customers) for one in tested])
        found[name] = measure(leafy, labels)
        found[f"  {name} and Ebb"] = measure(mean(told, leafy), labels)
    for name, parts in scores.items():
        score = np.concatenate(parts)
        ranked = {"roc_auc": roc_auc(score, labels) or 0.0, "pr_auc": pr_auc(score, labels) or 0.0}
        found[name] = measure(score, labels) if name.startswith("boosting") else ranked
    if say:
        champions = ", ".join(sorted({str(one.champion) for one in tested}))
        print(
            f"\n{log.name}: {len(log.rows):,} events, {len(days)} test snapshots, {len(labels):,} pairs, churn "
            f"{labels.mean():.3f}; champion {champions}; "
            f"{through.learner.targets['churn'].examples:,} labels; engine and learner {learning:.0f} s"
        )
        print(f"{'':24}{'ROC-AUC':>9}{'PR-AUC':>9}{'log-loss':>10}{'ECE':>8}")
        for name, measures in found.items():
            cells = [("roc_auc", 9), ("pr_auc", 9), ("log_loss", 10), ("ece", 8)]
            shown = "".join(f"{measures[key]:>{width}.4f}" if key in measures else " " * width for key, width in cells)
            print(f"{name:24}{shown}")
        spent = ", ".join(f"{name} {milliseconds:.2f}" for name, milliseconds in trees.spent().items())
        print(f"trees learned {' or '.join(f'{count:,}' for count in trees.learned())} labels; ms a label: {spent}")
        print(f"ECE of all that was told once {SETTLED:,} labels were learned: {settled['ece']:.4f}")
    ebb = found["Ebb"]
    best = max(trees.seconds, key=lambda name: found[name]["roc_auc"])
    return {
        "auc": ebb["roc_auc"],
        "pr_auc": ebb["pr_auc"],
        "log_loss": ebb["log_loss"],
        "ece": settled["ece"],
        "ece_pairs": ebb["ece"],
        "auc_trees": found[best]["roc_auc"],
        "auc_trees_and_ebb": found[f"  {best} and Ebb"]["roc_auc"],
        "auc_recency": found["recency"]["roc_auc"],
        "auc_count": found["count"]["roc_auc"],
        "auc_boosting_frozen": found["boosting frozen"]["roc_auc"],
        "auc_boosting_retrained": found["boosting retrained"]["roc_auc"],
        "pr_auc_boosting_retrained": found["boosting retrained"]["pr_auc"],
        "log_loss_boosting_retrained": found["boosting retrained"]["log_loss"],
    }

"""Labels per second through the learner, with its trees and without, beside a bare loop of River's `learn_many`.

The learner: blocks in, every candidate predicts the snapshots, labels are judged and learned, calibration, champion,
drift and validation follow; measured without Kafka and ClickHouse, rolling measures and model snapshots once a
boundary included. The trees learn a sample, so that their milliseconds a boundary do not depend on the number of
labels. Seconds are CPU seconds of all threads: labels per second and core. Bare: one logistic
regression with a standard scaler of River learns the same design matrix in mini-batches of the same size, and does
nothing else.
"""

import json
import os
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from river import compose, linear_model, optim, preprocessing

from benchmarks._trees import FEW
from ebb.contracts.examples import SNAPSHOT_ROWS, Block, Close, Labels, Snapshot
from ebb.contracts.features import INDEX, WIDTH
from ebb.settings import Settings
from online_ml.evaluation.decisions import Policy
from online_ml.evaluation.validation import Validator
from online_ml.learning.learner import Learner
from online_ml.learning.target import DESIGN_ROWS as BATCH
from online_ml.registry import model_config, snapshots
from online_ml.scoring.inputs import INPUTS, design

ROWS = int(os.environ.get("BENCH_ROWS", "4000"))
"""Customers in the snapshot of each boundary."""
BOUNDARIES = int(os.environ.get("BENCH_BOUNDARIES", "40"))
FIRST_DAY = 20_000
SETTINGS = Settings(partitions=1)
TREES = SETTINGS.model_copy(update={"tree_labels": FEW})


def main() -> None:
    """Measure and print."""
    rates, boundary = {}, {}
    for name, settings in (("without trees", SETTINGS), ("with trees", TREES)):
        learned, seconds = _learner(settings)
        rates[name], boundary[name] = learned / seconds, seconds / BOUNDARIES
        names = len(Learner(settings).targets["churn"].candidates)
        print(f"learner, {names} candidates of each target, {name:14}{rates[name]:>9,.0f} labels/s")
    bare = _bare()
    trees = boundary["with trees"] - boundary["without trees"]
    ratio = rates["with trees"] / bare
    print(f"bare River learn_many, one model                    {bare:>9,.0f} labels/s, {ratio:.2f} with trees")
    print(f"trees: {FEW} of {ROWS:,} labels a boundary and target, {trees * 1000:.0f} ms a boundary")
    figures = {
        "labels_per_s": round(rates["with trees"]),
        "labels_per_s_without_trees": round(rates["without trees"]),
        "trees_s_per_boundary": round(trees, 4),
        "bare_labels_per_s": round(bare),
        "ratio": round(ratio, 3),
    }
    print(json.dumps(figures))


def _features(day: int) -> npt.NDArray[np.float32]:
    features = np.random.default_rng(day).gamma(1.0, 4.0, (ROWS, WIDTH)).astype(np.float32)
    features[:, INDEX["tenure_days"]] += features[:, INDEX["recency_days"]] + 30
    return features


def _labels(features: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.uint8]:
    logit = 1.5 * (np.log1p(features[:, INDEX["recency_days"]]) - 1.8)
    return (np.random.default_rng([seed, 1]).random(len(logit)) < 1 / (1 + np.exp(-logit))).astype(np.uint8)


def _boundary(day: int) -> Iterator[Block]:
    """Yield the blocks of one boundary."""
    labels = 0
    for target, horizon in (("churn", SETTINGS.horizon_days), ("purchase", SETTINGS.purchase_horizon_days)):
        if day - horizon >= FIRST_DAY:
            yield Labels(0, day, target, day - horizon, _labels(_features(day - horizon), horizon))
            labels += 1
    features, served = _features(day), np.full(ROWS, 0.3, np.float32)
    ids = pa.array([f"c{number:07d}" for number in range(ROWS)])
    countries, channels = pa.array(["DE"] * ROWS), pa.array(["web"] * ROWS)
    starts = range(0, ROWS, SNAPSHOT_ROWS)
    for chunk, start in enumerate(starts):
        part = slice(start, start + SNAPSHOT_ROWS)
        yield Snapshot(
            0, day, chunk, ids[part], countries[part], channels[part], features[part], served[part], served[part]
        )
    yield Close(0, day, chunks=len(starts), labels=labels)


def _learner(settings: Settings) -> tuple[int, float]:
    """Return the labels learned and the seconds taken, without those of making the blocks."""
    learner = Learner(settings)
    validators = {name: Validator(name, Policy.of(settings), 7) for name in learner.targets}
    learned, seconds, offset = 0, 0.0, 0
    for day in range(FIRST_DAY, FIRST_DAY + BOUNDARIES):
        blocks = list(_boundary(day))
        began = time.process_time()
        for block in blocks:
            learner.add(block, offset)
            offset += 1
        while (step := learner.advance()) is not None:
            for judged in step.judged:
                target, validator = learner.targets[judged.target], validators[judged.target]
                validator.day(judged.part, target.names)
                rolling = validator.rolling(target.window, target.names, champion=target.champion)
                validator.by_segment(target.window, target.names, {"logistic", "served"})
                snapshots(target, rolling, learner.requests, model_config(judged.target, settings))
                learned += len(judged.part.labels)
        seconds += time.process_time() - began
    return learned, seconds


def _bare() -> float:
    """Return labels per second of River's own mini-batch learning."""
    model = compose.Pipeline(
        preprocessing.StandardScaler(), linear_model.LogisticRegression(optimizer=optim.Adam(0.003))
    )
    names = [item.name for item in INPUTS]
    seconds, learned = 0.0, 0
    for day in range(FIRST_DAY, FIRST_DAY + 10):
        features = _features(day)
        labels = _labels(features, 14)
        began = time.process_time()
        inputs = design(features)
        for start in range(0, ROWS, BATCH):
            part = slice(start, start + BATCH)
            model.learn_many(pd.DataFrame(inputs[part], columns=names), pd.Series(labels[part].astype(bool)))
        seconds += time.process_time() - began
        learned += ROWS
    return learned / seconds


if __name__ == "__main__":
    main()

"""Report what was learned: rows for ClickHouse and gauges for Prometheus.

Outcomes by customer, metrics by boundary, window and segment, expected metrics of predictions whose labels are pending,
and drift. What is published about the models themselves is in `registry`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from clickhouse.tables import SCHEMAS
from ebb.clock import DAY
from ebb.contracts.features import NAMES
from ebb.contracts.models import FROZEN, SERVED
from ebb.metrics import (
    ERROR_DRIFT,
    ERROR_SHIFT,
    EXPECTED_METRIC,
    FEATURE_DRIFT,
    LABELS_MATURED,
    LABELS_PENDING,
    LEARNER_BOUNDARY,
    MODEL_METRIC,
    SCORE_DRIFT,
    SEGMENT_METRIC,
    TREE_LABELS,
)
from online_ml.evaluation.decisions import Policy
from online_ml.evaluation.metrics import expected_metrics
from online_ml.evaluation.segments import ARM, UNSPLIT
from online_ml.evaluation.validation import SegmentMeasures, Validator
from online_ml.evaluation.window import MaturedPredictions
from online_ml.learning.learner import Learner, MaturedLabels, Step
from online_ml.learning.target import TargetLearner

ByCandidate = Mapping[str, Mapping[str, float]]
SHOWN_BY_SEGMENT = ("roc_auc", "ece", "base_rate")
"""Measures by segment in Prometheus; ClickHouse has them all."""


def outcome_rows(judged: MaturedLabels, names: list[str]) -> pa.Table:
    """Return rows of `outcomes`: one per label and candidate that predicted it.

    Parameters
    ----------
    names
        Names of the candidates, in the order of the rows of probabilities.
    """
    part = judged.part
    n = len(part.labels)
    whole = pa.table(
        {
            "target": pa.array([judged.target] * n, pa.utf8()),
            "customer_id": pa.array(judged.customer_ids, pa.utf8()),
            "snapshot_day": pa.array(judged.snapshot_days).cast(pa.date32()),
            "matured_day": pa.array(np.full(n, part.boundary, np.int32)).cast(pa.date32()),
            "label": pa.array(part.labels, pa.uint8()),
            "country": pa.array(judged.countries, pa.utf8()),
            "channel": pa.array(judged.channels, pa.utf8()),
            "arm": pa.array(_arms(judged.part), pa.utf8()),
        }
    )
    schema = SCHEMAS["outcomes"]
    tables = [schema.empty_table()]
    for name, probabilities in zip(names, part.probabilities, strict=True):
        known = ~np.isnan(probabilities)
        if not known.any():
            continue
        rows = whole if known.all() else whole.filter(pa.array(known))
        rows = rows.append_column("candidate", pa.array([name] * len(rows), pa.utf8()))
        rows = rows.append_column("probability", pa.array(probabilities[known], pa.float32()))
        tables.append(rows.select(schema.names).cast(schema))
    return pa.concat_tables(tables)


def _arms(part: MaturedPredictions) -> list[str]:
    return [UNSPLIT] * len(part.labels) if part.context is None else part.context.arms.tolist()


def day_metrics(judged: MaturedLabels, learner: TargetLearner, validator: Validator) -> list[dict[str, Any]]:
    """Return rows of `model_metrics` for the labels of one boundary alone (`day`) and for all so far (`all`)."""
    rows: list[dict[str, Any]] = []
    by_day = validator.day(judged.part, learner.names)
    for place, (name, measures) in enumerate(by_day.items()):
        count = int((~np.isnan(judged.part.probabilities[place])).sum())
        rows += _metrics(learner, name, "day", measures, count)
    for name, (measures, count) in learner.overall().items():
        rows += _metrics(learner, name, "all", measures, count)
    return rows


def rolling_metrics(learner: TargetLearner, rolling: ByCandidate) -> list[dict[str, Any]]:
    """Return rows of `model_metrics` for the window of the latest labels (`rolling`)."""
    rows: list[dict[str, Any]] = []
    for name, measures in rolling.items():
        rows += _metrics(learner, name, "rolling", measures, int(measures.get("labels", learner.window.size)))
    return rows


def segment_rows(learner: TargetLearner, found: Sequence[SegmentMeasures]) -> pa.Table:
    """Return rows of `segment_metrics` for measures over the window."""
    rows = [
        {
            "target": learner.target,
            "candidate": one.candidate,
            "matured_day": learner.trained_until,
            "kind": one.kind,
            "segment": one.name,
            "metric": metric,
            "value": value,
            "labels": one.labels,
        }
        for one in found
        for metric, value in one.measures.items()
    ]
    return table("segment_metrics", rows)


def _metrics(
    learner: TargetLearner, name: str, window: str, measures: Mapping[str, float], labels: int
) -> list[dict[str, Any]]:
    return [
        {
            "target": learner.target,
            "candidate": name,
            "matured_day": learner.trained_until,
            "window": window,
            "metric": metric,
            "value": value,
            "labels": labels,
        }
        for metric, value in measures.items()
    ]


def table(name: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return rows as a table of that name; days are day numbers, and the time of computation is now."""
    now = datetime.now(UTC)
    schema = SCHEMAS[name]
    columns = {}
    for column in schema:
        values = [now if column.name == "computed_at" else row[column.name] for row in rows]
        days = column.type == pa.date32()
        columns[column.name] = pa.array(values, pa.int32()).cast(pa.date32()) if days else pa.array(values, column.type)
    return pa.table(columns, schema=schema)


def count_step(step: Step, learner: Learner) -> None:
    """Move the counters and gauges that follow from one boundary."""
    for judged in step.judged:
        ones = int(judged.part.labels.sum())
        for label, count in (("1", ones), ("0", len(judged.part.labels) - ones)):
            LABELS_MATURED.labels(judged.target, label).inc(count)
        sample = learner.targets[judged.target].sample
        if sample.candidates:
            learned, left_out = sample.split(len(judged.part.labels))
            TREE_LABELS.labels(judged.target, "learned").inc(learned)
            TREE_LABELS.labels(judged.target, "left_out").inc(left_out)
    for target in learner.targets:
        LABELS_PENDING.labels(target).set(learner.labels_pending(target))
    LEARNER_BOUNDARY.set(step.boundary * DAY)


def show_segments(learner: TargetLearner, found: Sequence[SegmentMeasures], serving: str | None) -> None:
    """Set the gauges of the serving model by segment; for a frozen version, of what it served."""
    shown = SERVED if serving == FROZEN else serving
    for one in found:
        for metric in SHOWN_BY_SEGMENT if one.kind != ARM else ():  # a split ends, its series would not
            if one.candidate == shown and metric in one.measures:
                SEGMENT_METRIC.labels(learner.target, one.kind, one.name, metric).set(one.measures[metric])


def show_rolling(learner: TargetLearner, rolling: ByCandidate) -> None:
    """Set the gauges of every candidate's measures over the window."""
    for name, measures in rolling.items():
        for metric, value in measures.items():
            MODEL_METRIC.labels(learner.target, name, metric).set(value)


def expected_rows(step: Step, learner: Learner, policy: Policy) -> list[dict[str, Any]]:
    """Return rows of `expected_metrics` for the snapshots taken at a boundary, and set the gauges of the same."""
    rows: list[dict[str, Any]] = []
    if not step.taken:
        return rows
    for target, learned in learner.targets.items():
        predicted = np.concatenate([chunk.probabilities[target] for chunk in step.taken], axis=1)
        for name, probabilities in zip(learned.names, predicted, strict=True):
            count = int((~np.isnan(probabilities)).sum())
            for metric, value in expected_metrics(probabilities, policy.threshold(target)).items():
                EXPECTED_METRIC.labels(target, name, metric).set(value)
                rows.append(
                    {
                        "target": target,
                        "candidate": name,
                        "snapshot_day": step.boundary,
                        "due_day": step.boundary + learner.horizons[target] + learner.label_delay_days,
                        "metric": metric,
                        "value": value,
                        "customers": count,
                    }
                )
    return rows


def drift_rows(step: Step, learner: Learner) -> list[dict[str, Any]]:
    """Return rows of `drift` as of a boundary, and set the gauges of the same."""
    drift, rows = learner.drift, []

    def add(target: str, kind: str, name: str, statistic: str, value: float) -> None:
        row = {"target": target, "kind": kind, "name": name, "statistic": statistic, "value": value}
        rows.append({**row, "day": step.boundary})

    shifted = drift.features.psi() if step.taken else None
    for name, value in zip(NAMES, () if shifted is None else shifted.tolist(), strict=shifted is not None):
        FEATURE_DRIFT.labels(name).set(value)
        add("", "feature", name, "psi", value)
    for target, profile in drift.scores.items():
        moved = profile.psi() if step.taken else None
        if moved is not None:
            SCORE_DRIFT.labels(target).set(float(moved[0]))
            add(target, "score", "champion", "psi", float(moved[0]))
    for target, change in step.changes.items():
        add(target, "error", "champion", "adwin_shift", change.shift)
        add(target, "error", "champion", "adwin_since", change.since)
    return rows


def show_changes(learner: Learner) -> None:
    """Set the gauges of the last change of each target's error."""
    for target, errors in learner.drift.errors.items():
        if errors.change is not None:
            ERROR_DRIFT.labels(target).set(errors.change.found_at * DAY)
            ERROR_SHIFT.labels(target).set(errors.change.shift)

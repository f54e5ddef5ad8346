"""What leaves the learner: model snapshots for workers, rows for ClickHouse, gauges for Prometheus."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from clickhouse.tables import SCHEMAS
from ebb.clock import DAY
from ebb.features import SCHEMA_HASH
from ebb.metrics import CHAMPION, LABELS_MATURED, LABELS_PENDING, LEARNER_BOUNDARY, MODEL_METRIC, MODEL_VERSION
from ebb.models import ModelSnapshot
from online_ml.learner import Judged, Learner, Step
from online_ml.measures import measure
from online_ml.target import TargetLearner

Measures = Mapping[str, Mapping[str, float]]


def snapshots(learner: TargetLearner, rolling: Measures) -> list[ModelSnapshot]:
    """Return the present models of a target, sealed, challengers first.

    A reader that follows the topic thus meets the former champion's new role before the new champion.

    Parameters
    ----------
    rolling
        Measures by name of candidate, as `TargetLearner.rolling` returns them.
    """
    made = [
        ModelSnapshot(
            name=f"{learner.target}.{candidate.name}",
            target=learner.target,
            candidate=candidate.name,
            version=learner.version,
            role="champion" if candidate.name == learner.champion else "challenger",
            schema_hash=SCHEMA_HASH,
            trained_until=learner.trained_until,
            examples=learner.examples,
            metrics=dict(rolling.get(candidate.name, {})),
            payload=candidate.payload(calibration),
        ).sealed()
        for candidate, calibration in zip(learner.candidates, learner.calibrations, strict=True)
    ]
    return sorted(made, key=lambda snapshot: snapshot.role == "champion")


def model_rows(models: list[ModelSnapshot]) -> pa.Table:
    """Return rows of `models` for snapshots that are being published."""
    now = datetime.now(UTC)
    rows = [
        {
            **model.model_dump(include={"name", "target", "candidate", "version", "role", "schema_hash", "examples"}),
            "trained_until": model.trained_until,
            "metrics": orjson.dumps(model.metrics).decode(),
            "checksum": model.checksum,
            "published_at": now,
        }
        for model in models
    ]
    return _table("models", rows)


def outcome_rows(judged: Judged, names: list[str]) -> pa.Table:
    """Return rows of `outcomes`: one per label and candidate that predicted it.

    Parameters
    ----------
    names
        Names of the candidates, as the rows of the probabilities stand.
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


def day_metrics(judged: Judged, learner: TargetLearner) -> list[dict[str, Any]]:
    """Return rows of `model_metrics` for the labels of one boundary alone (`day`) and for all so far (`all`)."""
    rows: list[dict[str, Any]] = []
    for name, probabilities in zip(learner.names, judged.part.probabilities, strict=True):
        count = int((~np.isnan(probabilities)).sum())
        rows += _metrics(learner, name, "day", measure(probabilities, judged.part.labels), count)
    for name, (measures, count) in learner.overall().items():
        rows += _metrics(learner, name, "all", measures, count)
    return rows


def rolling_metrics(learner: TargetLearner, rolling: Measures) -> list[dict[str, Any]]:
    """Return rows of `model_metrics` for the window of the latest labels (`rolling`)."""
    rows: list[dict[str, Any]] = []
    for name, measures in rolling.items():
        rows += _metrics(learner, name, "rolling", measures, learner.window.size)
    return rows


def metric_rows(rows: list[dict[str, Any]]) -> pa.Table:
    """Return rows of `model_metrics` as a table."""
    return _table("model_metrics", rows)


def _metrics(
    learner: TargetLearner, name: str, window: str, measures: Mapping[str, float], labels: int
) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    return [
        {
            "target": learner.target,
            "candidate": name,
            "matured_day": learner.trained_until,
            "window": window,
            "metric": metric,
            "value": value,
            "labels": labels,
            "computed_at": now,
        }
        for metric, value in measures.items()
    ]


def _table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    schema = SCHEMAS[name]
    columns = {}
    for column in schema:
        values = [row[column.name] for row in rows]
        days = column.type == pa.date32()
        columns[column.name] = pa.array(values, pa.int32()).cast(pa.date32()) if days else pa.array(values, column.type)
    return pa.table(columns, schema=schema)


def count_step(step: Step, learner: Learner) -> None:
    """Move the counters and gauges that follow from one boundary."""
    for judged in step.judged:
        ones = int(judged.part.labels.sum())
        for label, count in (("1", ones), ("0", len(judged.part.labels) - ones)):
            LABELS_MATURED.labels(judged.target, label).inc(count)
    for target in learner.targets:
        LABELS_PENDING.labels(target).set(learner.labels_pending(target))
    LEARNER_BOUNDARY.set(step.boundary * DAY)


def show_models(learner: TargetLearner, rolling: Measures) -> None:
    """Set the gauges that describe a target's models."""
    for name, measures in rolling.items():
        for metric, value in measures.items():
            MODEL_METRIC.labels(learner.target, name, metric).set(value)
    for candidate in learner.candidates:
        MODEL_VERSION.labels(learner.target, candidate.name).set(learner.version)
        CHAMPION.labels(learner.target, candidate.name).set(candidate.name == learner.champion)

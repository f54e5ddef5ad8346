"""Writes scores, alerts and models onto the topics as the workers and the learner do, every one validated."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from confluent_kafka import Producer

from clickhouse.tables import SCHEMAS
from ebb.contracts.features import SCHEMA_HASH
from ebb.contracts.models import ModelSnapshot
from ebb.contracts.scores import Alert, Band, ModelRef, Reason, Score
from ebb.settings import Settings

AS_OF = datetime(2025, 3, 14, 9, 26, 53, tzinfo=UTC)


def band_of(churn: float) -> Band:
    """Return the band of a probability by the default thresholds."""
    return [Band.LOW, Band.MEDIUM, Band.HIGH, Band.CRITICAL][sum(churn >= edge for edge in (0.3, 0.6, 0.8))]


def make_score(customer_id: str, churn: float = 0.5, **fields: Any) -> Score:
    """Return a score, with defaults for what is not given."""
    values: dict[str, Any] = {
        "customer_id": customer_id,
        "churn": churn,
        "purchase": 0.1,
        "band": band_of(churn),
        "previous": None,
        "trend_7d": None,
        "reasons": [Reason(feature="recency", contribution=1.2, text="No activity for 12 days; usually every 3 days")],
        "value_at_risk": round(churn * 100, 2),
        "expected_gain": round(churn * 15 - 5, 2),
        "country": "DE",
        "channel": "web",
        "model": ModelRef(name="churn.logistic", version=3),
        "as_of": AS_OF,
        "scored_at": datetime.now(UTC),
    }
    return Score(**{**values, **fields})


def make_alert(customer_id: str, churn: float = 0.85, **fields: Any) -> Alert:
    """Return an alert, with defaults for what is not given."""
    values: dict[str, Any] = {
        "alert_id": f"{customer_id}:{band_of(churn)}:{fields.get('as_of', AS_OF).isoformat()}",
        "kind": "band",
        "customer_id": customer_id,
        "band": band_of(churn),
        "previous_band": Band.MEDIUM,
        "churn": churn,
        "previous": 0.5,
        "why": "Risk rose from medium: no activity for 12 days; usually every 3 days.",
        "value_at_risk": 120.5,
        "country": "DE",
        "channel": "web",
        "as_of": AS_OF,
        "raised_at": datetime.now(UTC),
    }
    return Alert(**{**values, **fields})


def make_model(
    candidate: str = "logistic", *, version: int = 3, role: str = "champion", **fields: Any
) -> ModelSnapshot:
    """Return a model snapshot, with defaults for what is not given."""
    values: dict[str, Any] = {
        "name": f"churn.{candidate}",
        "target": "churn",
        "candidate": candidate,
        "version": version,
        "role": role,
        "schema_hash": SCHEMA_HASH,
        "trained_until": 20_161,
        "examples": 4_321,
        "metrics": {"roc_auc": 0.87, "log_loss": 0.41},
        "payload": {"kind": "linear", "weights": [0.1, 0.2]},
    }
    return ModelSnapshot.model_validate({**values, **fields})


class TopicSender:
    """Produces to the topics of some settings; `flush` waits until the broker has it."""

    def __init__(self, settings: Settings) -> None:
        self.topics = settings.topics
        self._producer = Producer({"bootstrap.servers": settings.kafka_bootstrap, "linger.ms": 2})

    def score(self, score: Score) -> None:
        """Write a score."""
        self._send(self.topics.scores, score.customer_id, score.model_dump_json().encode())

    def erase(self, customer_id: str) -> None:
        """Write the tombstone of a customer's score."""
        self._send(self.topics.scores, customer_id, None)

    def alert(self, alert: Alert) -> None:
        """Write an alert."""
        self._send(self.topics.alerts, alert.customer_id, alert.model_dump_json().encode())

    def model(self, model: ModelSnapshot) -> None:
        """Write a model snapshot."""
        self._send(self.topics.models, model.name, model.encode())

    def raw(self, topic: str, key: str, body: bytes) -> None:
        """Write any bytes."""
        self._send(topic, key, body)

    def flush(self) -> None:
        """Wait until all of it is written."""
        left = self._producer.flush(60)
        assert left == 0

    def _send(self, topic: str, key: str, body: bytes | None) -> None:
        self._producer.produce(topic, key=key.encode(), value=body)
        self._producer.poll(0)


def outcomes(day: int, candidate: str, probabilities: list[float], labels: list[int]) -> pa.Table:
    """Return a candidate's predictions of customers and their outcomes, as the learner writes it at maturity."""
    rows = len(labels)
    return pa.table(
        {
            "target": ["churn"] * rows,
            "customer_id": [f"c-{place}" for place in range(rows)],
            "snapshot_day": pa.array([day - 14] * rows, pa.date32()),
            "matured_day": pa.array([day] * rows, pa.date32()),
            "label": pa.array(labels, pa.uint8()),
            "country": ["DE"] * rows,
            "channel": ["web"] * rows,
            "candidate": [candidate] * rows,
            "probability": pa.array(probabilities, pa.float32()),
        }
    )


def day_metric(day: int, candidate: str, value: float, labels: int) -> pa.Table:
    """Return the ROC-AUC of a candidate on the labels of a day, as the learner writes it."""
    return pa.table(
        {
            "target": ["churn"],
            "candidate": [candidate],
            "matured_day": pa.array([day], pa.date32()),
            "window": ["day"],
            "metric": ["roc_auc"],
            "value": [value],
            "labels": pa.array([labels], pa.uint64()),
        }
    )


def promised(day: int, value: float, customers: int) -> pa.Table:
    """Return the ROC-AUC that the served probabilities promise for labels due on a day, as the learner writes it."""
    return pa.table(
        {
            "target": ["churn"],
            "candidate": ["served"],
            "snapshot_day": pa.array([day - 14], pa.date32()),
            "due_day": pa.array([day], pa.date32()),
            "metric": ["roc_auc"],
            "value": [value],
            "customers": pa.array([customers], pa.uint64()),
        }
    )


def past_scores(customer_id: str, scores: list[tuple[int, float]]) -> pa.Table:
    """Return scores of a customer at the noon of days, as the worker writes them."""
    bodies = [
        make_score(customer_id, churn, as_of=datetime.fromtimestamp((day + 0.5) * 86_400, UTC)).model_dump()
        for day, churn in scores
    ]
    rows = []
    for body in bodies:
        model, reasons = body.pop("model"), body.pop("reasons")
        rows.append({**body, "reasons": json.dumps(reasons), "model": model["name"], "model_version": model["version"]})
    return pa.Table.from_pylist(rows, schema=SCHEMAS["scores"])


def days_later(days: float) -> datetime:
    """Return a moment of event time after `AS_OF`."""
    return AS_OF + timedelta(days=days)

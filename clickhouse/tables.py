"""Arrow schemas of the rows inserted into each table; the tables themselves are in `migrations/`."""

import pyarrow as pa

from ebb.contracts.features import NAMES

_TEXT = pa.utf8()
_TIME = pa.timestamp("ms", tz="UTC")
_REAL = pa.float64()


def _schema(columns: dict[str, pa.DataType], nullable: set[str] | None = None) -> pa.Schema:
    optional = nullable or set()
    return pa.schema([pa.field(name, kind, nullable=name in optional) for name, kind in columns.items()])


SCHEMAS: dict[str, pa.Schema] = {
    "events": _schema(
        {
            "event_id": _TEXT,
            "customer_id": _TEXT,
            "type": _TEXT,
            "kind": _TEXT,
            "occurred_at": _TIME,
            "amount": _REAL,
            "currency": _TEXT,
            "channel": _TEXT,
            "country": _TEXT,
            "product_id": _TEXT,
            "category": _TEXT,
            "store": _TEXT,
            "payment_method": _TEXT,
            "discount": _REAL,
            "session_id": _TEXT,
            "body": _TEXT,
            "partition": pa.uint16(),
            "offset": pa.uint64(),
            "late": pa.uint8(),
            "ingested_at": _TIME,
        },
        {
            "amount",
            "currency",
            "channel",
            "country",
            "product_id",
            "category",
            "store",
            "payment_method",
            "discount",
            "session_id",
        },
    ),
    "features": _schema(
        {
            "customer_id": _TEXT,
            "day": pa.date32(),
            "as_of": _TIME,
            **dict.fromkeys(NAMES, pa.float32()),
            "computed_at": _TIME,
        }
    ),
    "scores": _schema(
        {
            "customer_id": _TEXT,
            "as_of": _TIME,
            "churn": _REAL,
            "purchase": _REAL,
            "band": _TEXT,
            "previous": _REAL,
            "trend_7d": _REAL,
            "reasons": _TEXT,
            "value_at_risk": _REAL,
            "expected_gain": _REAL,
            "country": _TEXT,
            "channel": _TEXT,
            "model": _TEXT,
            "model_version": pa.uint32(),
            "scored_at": _TIME,
        },
        {"previous", "trend_7d", "country", "channel"},
    ),
    "alerts": _schema(
        {
            "alert_id": _TEXT,
            "kind": _TEXT,
            "customer_id": _TEXT,
            "band": _TEXT,
            "previous_band": _TEXT,
            "churn": _REAL,
            "previous": _REAL,
            "why": _TEXT,
            "value_at_risk": _REAL,
            "country": _TEXT,
            "channel": _TEXT,
            "as_of": _TIME,
            "raised_at": _TIME,
        },
        {"previous_band", "previous", "country", "channel"},
    ),
    "alert_handling": _schema(
        {
            "alert_id": _TEXT,
            "customer_id": _TEXT,
            "act": _TEXT,
            "actor": _TEXT,
            "acted_at": _TIME,
            "until": _TIME,
            "outcome": _TEXT,
            "note": _TEXT,
            "as_of": _TIME,
        },
        {"until", "outcome"},
    ),
    "outcomes": _schema(
        {
            "target": _TEXT,
            "customer_id": _TEXT,
            "snapshot_day": pa.date32(),
            "matured_day": pa.date32(),
            "label": pa.uint8(),
            "country": _TEXT,
            "channel": _TEXT,
            "candidate": _TEXT,
            "probability": pa.float32(),
            "arm": _TEXT,
        },
        {"country", "channel"},
    ),
    "model_metrics": _schema(
        {
            "target": _TEXT,
            "candidate": _TEXT,
            "matured_day": pa.date32(),
            "window": _TEXT,
            "metric": _TEXT,
            "value": _REAL,
            "labels": pa.uint64(),
            "computed_at": _TIME,
        }
    ),
    "models": _schema(
        {
            "name": _TEXT,
            "target": _TEXT,
            "candidate": _TEXT,
            "version": pa.uint32(),
            "role": _TEXT,
            "schema_hash": _TEXT,
            "trained_until": pa.date32(),
            "examples": pa.uint64(),
            "metrics": _TEXT,
            "checksum": _TEXT,
            "published_at": _TIME,
            "config": _TEXT,
            "payload": _TEXT,
        }
    ),
    "promotions": _schema(
        {
            "target": _TEXT,
            "decided_day": pa.date32(),
            "cause": _TEXT,
            "request_id": _TEXT,
            "former": _TEXT,
            "champion": _TEXT,
            "version": pa.uint32(),
            "outcome": _TEXT,
            "why": _TEXT,
            "decided_at": _TIME,
        }
    ),
    "segment_metrics": _schema(
        {
            "target": _TEXT,
            "candidate": _TEXT,
            "matured_day": pa.date32(),
            "kind": _TEXT,
            "segment": _TEXT,
            "metric": _TEXT,
            "value": _REAL,
            "labels": pa.uint64(),
            "computed_at": _TIME,
        }
    ),
    "expected_metrics": _schema(
        {
            "target": _TEXT,
            "candidate": _TEXT,
            "snapshot_day": pa.date32(),
            "due_day": pa.date32(),
            "metric": _TEXT,
            "value": _REAL,
            "customers": pa.uint64(),
            "computed_at": _TIME,
        }
    ),
    "drift": _schema(
        {
            "target": _TEXT,
            "kind": _TEXT,
            "name": _TEXT,
            "day": pa.date32(),
            "statistic": _TEXT,
            "value": _REAL,
            "computed_at": _TIME,
        }
    ),
    "audit": _schema(
        {
            "act_id": _TEXT,
            "acted_at": _TIME,
            "actor": _TEXT,
            "action": _TEXT,
            "subject": _TEXT,
            "details": _TEXT,
            "address": _TEXT,
        }
    ),
    "dead_letters": _schema(
        {
            "topic": _TEXT,
            "partition": pa.uint16(),
            "offset": pa.uint64(),
            "stage": _TEXT,
            "reason": _TEXT,
            "detail": _TEXT,
            "size": pa.uint32(),
            "seen_at": _TIME,
            "customer_id": _TEXT,
        }
    ),
}
"""Table → columns in the order of the table; a column that is not nullable here refuses nulls."""

DEFAULTED: frozenset[str] = frozenset(
    {"ingested_at", "computed_at", "seen_at", "decided_at", "config", "payload", "arm"}
)
"""Columns that may be left out of an insert: ClickHouse then fills in the time of the insert, or an empty value."""

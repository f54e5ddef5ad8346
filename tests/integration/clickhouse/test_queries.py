"""Every named query against a small data set whose answers can be worked out by hand; each batch is stored twice."""

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from typing import Any

import pyarrow as pa
import pytest

from clickhouse.store import Store
from clickhouse.tables import SCHEMAS
from ebb.contracts.features import NAMES

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
SNAPSHOT = date(2026, 1, 5)

TESTED_QUERIES = {
    "accuracy_by_label_date",
    "accuracy_by_segment",
    "alert_by_id",
    "bands_over_time",
    "candidate_metrics",
    "daily_actives",
    "disk_space",
    "dead_letters_by_reason",
    "drift_latest",
    "expected_and_realised",
    "labels_by_day",
    "last_versions",
    "model_version",
    "model_versions",
    "model_versions_page",
    "movers",
    "promotions",
    "reliability",
    "retention",
    "score_history_page",
    "spend_by_channel",
    "spend_by_country",
}


def at(days: float) -> datetime:
    """Return a time that many days after the Monday."""
    return MONDAY + timedelta(days=days)


def put(store: Store, table: str, rows: Sequence[dict[str, Any]], **same: object) -> None:
    """Store rows twice, in two inserts, as after a crash."""
    schema = SCHEMAS[table]
    columns = {name: [row.get(name, same.get(name)) for row in rows] for name in schema.names}
    for _ in range(2):
        store.insert(table, pa.table(columns, schema=schema))


def event(number: int, customer: str, days: float, kind: str = "view", **more: object) -> dict[str, Any]:
    """Return a row of `events`."""
    return {"event_id": f"e{number}", "customer_id": customer, "occurred_at": at(days), "kind": kind, **more}


@pytest.fixture
def events(store: Store) -> Store:
    """Two customers from the first week, one from the second."""
    rows = [
        event(1, "ann", 0.1),
        event(2, "ann", 0.2, "purchase", amount=10.0, currency="EUR", country="DE", channel="web"),
        event(3, "ann", 8.0, "purchase", amount=5.0, currency="EUR", country="DE", channel="app"),
        event(4, "bob", 1.0),
        event(5, "bob", 1.5, "purchase", amount=7.0, currency="USD", country="US", channel="web"),
        event(6, "cem", 7.5),
        event(7, "cem", 8.5, "purchase", amount=20.0, currency="EUR", country="DE", channel="web"),
    ]
    put(store, "events", rows, type="x", body="{}", partition=0, offset=1, late=0, ingested_at=MONDAY)
    return store


def score(
    customer: str, days: float, churn: float, band: str, *, value: float = 10.0, trend: float | None = None
) -> dict[str, Any]:
    """Return a row of `scores`."""
    return {
        "customer_id": customer, "as_of": at(days), "churn": churn, "purchase": 0.1, "band": band, "trend_7d": trend,
        "reasons": "[]", "value_at_risk": value, "expected_gain": 1.0, "model": "churn.logistic", "model_version": 1,
        "scored_at": at(days),
    }  # fmt: skip


@pytest.fixture
def scores(store: Store) -> Store:
    """Three customers; cem is new."""
    rows = [
        score("ann", 0, 0.2, "low"),
        score("ann", 6, 0.9, "critical", value=90.0, trend=0.7),
        score("bob", 0, 0.5, "medium"),
        score("bob", 5.8, 0.4, "medium", value=40.0, trend=-0.1),
        score("cem", 6.5, 0.3, "low", value=30.0),
    ]
    put(store, "scores", rows)
    return store


def outcome(customer: str, label: int, probability: float, matured: int = 14, **more: object) -> dict[str, Any]:
    """Return a row of `outcomes` for the snapshot 14 days before `matured`."""
    return {
        "target": "churn", "customer_id": customer, "label": label, "probability": probability, "candidate": "logistic",
        "snapshot_day": SNAPSHOT + timedelta(days=matured - 14), "matured_day": SNAPSHOT + timedelta(days=matured),
        "arm": "", **more,
    }  # fmt: skip


@pytest.fixture
def outcomes(store: Store) -> Store:
    """One day with both classes and a tie, one withdrawn label, and a later day with a single class."""
    rows = [
        outcome("a", 1, 0.9, country="DE"),
        outcome("b", 1, 0.4, country="DE"),
        outcome("c", 0, 0.4, country="DE"),
        outcome("d", 0, 0.1, country="US"),
        outcome("e", 255, 0.5, country="US"),
        outcome("f", 0, math.nan, country="US"),
        outcome("a", 0, 0.25, matured=15, country="DE"),
        outcome("a", 1, 0.5, candidate="prior"),
        outcome("a", 1, 0.5, target="purchase"),
    ]
    put(store, "outcomes", rows)
    return store


def test_every_query_in_the_folder_is_tested() -> None:
    assert {path.name for path in (files("clickhouse") / "queries").iterdir()} == {
        f"{name}.sql" for name in TESTED_QUERIES
    }


def test_disks_tell_their_space_the_fullest_first(store: Store) -> None:
    rows = store.query("disk_space")
    assert rows
    assert all(0 <= row["free_space"] <= row["total_space"] for row in rows)
    assert [row["free_space"] for row in rows] == sorted(row["free_space"] for row in rows)


def test_daily_actives_are_distinct_customers(events: Store) -> None:
    rows = events.query("daily_actives", days=100)
    assert [(row["day"].day, row["customers"], row["events"]) for row in rows] == [
        (5, 1, 2),
        (6, 1, 2),
        (12, 1, 1),
        (13, 2, 2),
    ]


def test_spend_is_summed_by_country_and_currency_apart(events: Store) -> None:
    rows = events.query("spend_by_country", days=100)
    assert [(row["country"], row["currency"], row["purchases"], row["customers"], row["spend"]) for row in rows] == [
        ("DE", "EUR", 3, 2, 35.0),
        ("US", "USD", 1, 1, 7.0),
    ]
    assert [row["spend"] for row in events.query("spend_by_country", days=2)] == [25.0]


def test_spend_is_summed_by_channel(events: Store) -> None:
    rows = events.query("spend_by_channel", days=100)
    assert [(row["channel"], row["currency"], row["spend"]) for row in rows] == [
        ("web", "EUR", 30.0),
        ("web", "USD", 7.0),
        ("app", "EUR", 5.0),
    ]


def test_cohorts_are_followed_from_the_week_of_the_first_activity(events: Store) -> None:
    rows = events.query("retention")
    assert [(row["cohort"].day, row["week"], row["customers"]) for row in rows] == [(5, 0, 2), (5, 1, 1), (12, 0, 1)]


def test_a_page_of_scores_begins_before_the_last_one_seen(scores: Store) -> None:
    seen = int(at(6).timestamp() * 1000)
    rows = scores.query("score_history_page", customer="ann", before=seen, limit=10)
    assert [row["as_of"] for row in rows] == [at(0)]
    whole = scores.query("score_history_page", customer="ann", before=seen + 1, limit=10)
    assert [(row["as_of"], row["churn"], row["band"]) for row in whole] == [
        (at(6), 0.9, "critical"),
        (at(0), 0.2, "low"),
    ]
    assert scores.query("score_history_page", customer="eve", before=seen, limit=10) == []


def test_bands_over_time_carry_each_score_forward_until_the_next(scores: Store) -> None:
    ends: dict[str, int] = {}
    for row in scores.query("bands_over_time", days=30):
        ends[row["band"]] = ends.get(row["band"], 0) + row["customers"]
    assert {band: number for band, number in ends.items() if number} == {"low": 1, "medium": 1, "critical": 1}
    began = scores.query("bands_over_time", days=30)
    moved = {(row["day"], row["band"]): row["customers"] for row in began}
    assert moved[at(6).date(), "critical"] == 1
    assert moved[at(0).date(), "low"] == 1
    # Ann leaves the band on the day on which cem enters it.
    assert moved[at(6).date(), "low"] == 0
    # A window that begins later ends the same.
    late = scores.query("bands_over_time", days=1)
    assert sum(row["customers"] for row in late) == 3


def test_movers_compare_with_the_score_of_days_ago_and_leave_newcomers_out(scores: Store) -> None:
    rows = scores.query("movers", days=1, limit=10)
    assert [(row["customer_id"], round(row["change"], 6), row["band_now"], row["trend"]) for row in rows] == [
        ("ann", 0.7, "critical", 0.7),
        ("bob", -0.1, "medium", -0.1),
    ]
    assert [row["customer_id"] for row in scores.query("movers", days=1, limit=1)] == ["ann"]


def test_reliability_sets_predicted_beside_observed(outcomes: Store) -> None:
    rows = outcomes.query("reliability", target="churn", candidate="logistic", days=30)
    result = [(row["bin"], round(row["predicted"], 4), row["observed"], row["labels"]) for row in rows]
    assert result == [(1, 0.1, 0.0, 1), (2, 0.25, 0.0, 1), (4, 0.4, 0.5, 2), (9, 0.9, 1.0, 1)]


def test_labels_are_counted_by_snapshot_and_the_rest_is_pending(outcomes: Store) -> None:
    plain = dict.fromkeys(NAMES, 0.0)
    rows = [
        {"customer_id": name, "day": SNAPSHOT + timedelta(days=ahead), "as_of": at(ahead), **plain}
        for name, ahead in [("a", 0), ("a", 1), ("a", 2), ("b", 2), ("a", 3)]
    ]
    put(outcomes, "features", rows, computed_at=MONDAY)
    result_rows = outcomes.query("labels_by_day", target="churn")
    result = [(row["snapshot_day"].day, row["matured"], row["positives"], row["pending"]) for row in result_rows]
    assert result == [(5, 5, 2, 0), (6, 1, 0, 0), (7, 0, 0, 2), (8, 0, 0, 1)]


def test_metrics_come_as_the_learner_reported_them_last(store: Store) -> None:
    row = {"target": "churn", "candidate": "logistic", "matured_day": SNAPSHOT, "window": "day", "metric": "roc_auc"}
    put(store, "model_metrics", [{**row, "value": 0.7, "labels": 10, "computed_at": at(0)}])
    put(store, "model_metrics", [{**row, "value": 0.8, "labels": 11, "computed_at": at(1)}])
    of_one = {"target": "churn", "candidate": "logistic", "window": "day", "days": 1}
    assert store.query("candidate_metrics", **of_one) == [
        {"matured_day": SNAPSHOT, "metric": "roc_auc", "value": 0.8, "labels": 11}
    ]
    assert store.query("candidate_metrics", **of_one | {"candidate": "recency"}) == []


def test_accuracy_by_label_date_sets_the_metrics_of_a_day_side_by_side(store: Store) -> None:
    rows = [
        {
            "candidate": name,
            "matured_day": SNAPSHOT + timedelta(days=day),
            "metric": metric,
            "value": value,
            "labels": 9,
        }
        for name, day, metric, value in [
            ("logistic", 0, "roc_auc", 0.75),
            ("logistic", 0, "brier", 0.2),
            ("logistic", 1, "brier", 0.3),
            ("recency", 1, "roc_auc", 0.6),
        ]
    ]
    put(store, "model_metrics", rows, target="churn", window="day", computed_at=MONDAY)
    put(store, "model_metrics", [{**rows[0], "value": 0.1}], target="churn", window="all", computed_at=MONDAY)
    result_rows = store.query("accuracy_by_label_date", target="churn", days=2)
    result = [
        (row["matured_day"].day, row["candidate"], row["labels"], row["roc_auc"], row["brier"]) for row in result_rows
    ]
    assert result == [(5, "logistic", 9, 0.75, 0.2), (6, "logistic", 9, None, 0.3), (6, "recency", 9, 0.6, None)]
    latest = store.query("accuracy_by_label_date", target="churn", days=1)
    assert [row["matured_day"].day for row in latest] == [6, 6]
    assert store.query("accuracy_by_label_date", target="purchase", days=2) == []


def test_dead_letters_are_counted_by_stage_and_reason(store: Store) -> None:
    rows = [
        {"offset": offset, "reason": reason, "size": 10, "seen_at": at(offset)}
        for offset, reason in [(1, "bad_json"), (2, "bad_json"), (3, "naive_time")]
    ]
    put(store, "dead_letters", rows, topic="t", partition=0, stage="decode", detail="", customer_id="")
    result_rows = store.query("dead_letters_by_reason")
    assert [(row["reason"], row["records"], row["bytes"], row["last_at"]) for row in result_rows] == [
        ("bad_json", 2, 20, at(2)),
        ("naive_time", 1, 10, at(3)),
    ]


def test_an_alert_is_found_by_its_id(store: Store) -> None:
    rows = [
        {"alert_id": f"{number}", "as_of": at(number), "raised_at": at(number), "churn": 0.9} for number in range(4)
    ]
    put(store, "alerts", rows, kind="band", customer_id="ann", band="high", why="silence", value_at_risk=1.0)
    assert [row["raised_at"] for row in store.query("alert_by_id", alert="1")] == [at(1)]
    assert store.query("alert_by_id", alert="none") == []


def test_a_version_is_complete_and_the_versions_of_a_model_come_newest_first(store: Store) -> None:
    rows = [{"version": version, "examples": 10 * version} for version in (1, 2, 3)]
    put(
        store, "models", rows, name="churn.logistic", target="churn", candidate="logistic", role="champion",
        schema_hash="h", trained_until=SNAPSHOT, metrics="{}", checksum="c", published_at=MONDAY, config='{"seed":7}',
        payload='{"kind":"linear"}',
    )  # fmt: skip
    result = store.query("model_versions", model="churn.logistic", limit=2)
    assert [(row["version"], row["examples"]) for row in result] == [(3, 30), (2, 20)]
    page = store.query("model_versions_page", model="churn.logistic", before=3, limit=5)
    assert [row["version"] for row in page] == [2, 1]
    [one] = store.query("model_version", model="churn.logistic", version=2)
    assert (one["examples"], one["config"], one["payload"]) == (20, '{"seed":7}', '{"kind":"linear"}')
    assert store.query("model_version", model="churn.logistic", version=9) == []
    assert store.query("last_versions") == [{"target": "churn", "version": 3}]


def test_promotions_come_newest_first(store: Store) -> None:
    rows = [
        {"request_id": name, "decided_day": SNAPSHOT, "decided_at": at(days), "outcome": outcome}
        for name, days, outcome in [("a", 1, "done"), ("b", 3, "refused"), ("c", 2, "done")]
    ]
    put(store, "promotions", rows, target="churn", cause="request to hold", former="x", champion="y", version=1, why="")
    result = store.query("promotions", target="churn", limit=2)
    assert [(row["request_id"], row["outcome"]) for row in result] == [("b", "refused"), ("c", "done")]
    assert store.query("promotions", target="purchase", limit=2) == []


def test_accuracy_by_segment_is_that_of_the_latest_day(store: Store) -> None:
    rows = [
        {"matured_day": SNAPSHOT + timedelta(days=day), "segment": name, "metric": metric, "value": value, "labels": n}
        for day, name, metric, value, n in [
            (0, "DE", "roc_auc", 0.5, 9),
            (1, "DE", "roc_auc", 0.7, 90),
            (1, "DE", "ece", 0.1, 90),
            (1, "FR", "roc_auc", 0.8, 200),
        ]
    ]
    put(store, "segment_metrics", rows, target="churn", candidate="logistic", kind="country", computed_at=MONDAY)
    result = store.query("accuracy_by_segment", target="churn", candidate="logistic", kind="country")
    assert [(row["segment"], row["labels"], row["roc_auc"], row["ece"]) for row in result] == [
        ("FR", 200, 0.8, None),
        ("DE", 90, 0.7, 0.1),
    ]
    assert store.query("accuracy_by_segment", target="churn", candidate="logistic", kind="tenure") == []


def test_expected_metrics_are_beside_the_realised_ones(store: Store) -> None:
    rows = [
        {"snapshot_day": SNAPSHOT + timedelta(days=day), "due_day": SNAPSHOT + timedelta(days=day + 14), "value": 0.8}
        for day in (0, 1)
    ]
    put(
        store, "expected_metrics", rows, target="churn", candidate="logistic", metric="roc_auc", customers=9,
        computed_at=MONDAY,
    )  # fmt: skip
    row = {"target": "churn", "candidate": "logistic", "metric": "roc_auc", "value": 0.7, "labels": 9}
    put(
        store,
        "model_metrics",
        [{**row, "matured_day": SNAPSHOT + timedelta(days=14)}],
        window="day",
        computed_at=MONDAY,
    )
    result = store.query("expected_and_realised", target="churn", candidate="logistic", metric="roc_auc", limit=9)
    assert [(row["due_day"].day, row["expected"], row["realised"]) for row in result] == [
        (20, 0.8, None),
        (19, 0.8, 0.7),
    ]


def test_drift_is_that_of_the_latest_day_largest_first(store: Store) -> None:
    rows = [
        {"name": name, "day": SNAPSHOT + timedelta(days=day), "value": value}
        for name, day, value in [("a", 0, 0.9), ("a", 1, 0.1), ("b", 1, 0.3)]
    ]
    put(store, "drift", rows, target="", kind="feature", statistic="psi", computed_at=MONDAY)
    result = store.query("drift_latest", kind="feature")
    assert [(row["name"], row["latest"], row["as_of_day"].day) for row in result] == [("b", 0.3, 6), ("a", 0.1, 6)]

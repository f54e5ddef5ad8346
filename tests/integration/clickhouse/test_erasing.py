"""A customer's rows can be deleted from every table, up to the position of the erasure in the stream."""

from datetime import date, timedelta
from typing import Any

import pytest

from clickhouse.client import connect
from clickhouse.erasing import Until, erase_rows
from clickhouse.store import Store
from clickhouse.tables import SCHEMAS
from ebb.settings import Settings
from tests.support.rows import MOMENT, table_rows

CUSTOMER = "o'hara \\ 1"
"""An id that a careless statement would trip over."""
LATER = MOMENT + timedelta(days=2)


def fill(store: Store) -> None:
    for customer in (CUSTOMER, "other"):
        rows: dict[str, list[dict[str, Any]]] = {
            "events": [
                {"event_id": "1", "partition": 3, "offset": 10},
                {"event_id": "2", "partition": 3, "offset": 20},
            ],
            "features": [{"as_of": MOMENT}, {"as_of": LATER, "day": LATER.date()}],
            "scores": [{"as_of": MOMENT}, {"as_of": LATER}],
            "alerts": [{"alert_id": "a", "as_of": MOMENT}, {"alert_id": "b", "as_of": LATER}],
            "alert_handling": [{"alert_id": "a", "as_of": MOMENT}, {"alert_id": "b", "as_of": LATER}],
            "outcomes": [{"snapshot_day": date(2026, 1, 4)}, {"snapshot_day": date(2026, 1, 7)}],
        }
        for table, stored_rows in rows.items():
            store.insert(table, table_rows(table, [{"customer_id": customer, **row} for row in stored_rows]))
    dead_letters = [
        {"offset": 1, "detail": f"The record's key is b'x', its customer_id {CUSTOMER!r}; they must be the same."},
        {"offset": 2, "detail": "The record's key is b'x', its customer_id 'other'; they must be the same."},
        {"offset": 3, "detail": "1 is no time"},
        {"partition": 3, "offset": 4, "customer_id": CUSTOMER, "detail": "1 is no time"},
        {"partition": 3, "offset": 20, "customer_id": CUSTOMER, "detail": "1 is no time"},
        {"partition": 3, "offset": 5, "customer_id": "other", "detail": "1 is no time"},
        {"partition": 3, "offset": 21, "customer_id": "other", "detail": "1 is no time"},
    ]
    store.insert("dead_letters", table_rows("dead_letters", dead_letters))


def remaining_counts(settings: Settings) -> dict[str, dict[str, int]]:
    client = connect(settings)
    tables = [table for table in SCHEMAS if "customer_id" in SCHEMAS[table].names]
    counts = {
        table: {
            str(row[0]): int(row[1])
            for row in client.query(f"SELECT customer_id, count() FROM {table} GROUP BY customer_id").result_rows  # noqa: S608
        }
        for table in tables
    }
    client.close()
    return counts


def test_every_table_that_names_customers_is_erased(database: Settings, store: Store) -> None:
    fill(store)
    assert all(CUSTOMER in counts for counts in remaining_counts(database).values()), "a table that the test leaves out"
    deleted = erase_rows(database, CUSTOMER, Until())
    assert deleted == {
        "events": 2,
        "features": 2,
        "scores": 2,
        "alerts": 2,
        "alert_handling": 2,
        "outcomes": 2,
        "dead_letters": 3,
    }
    remaining = remaining_counts(database)
    assert remaining.pop("dead_letters") == {"": 2, "other": 2}
    assert all(counts == {"other": 2} for counts in remaining.values())
    assert set(erase_rows(database, CUSTOMER, Until()).values()) == {0}


def test_rows_after_the_erasure_stay(database: Settings, store: Store) -> None:
    fill(store)
    until = Until(partition=3, offset=15, event_time_ms=int((MOMENT + timedelta(hours=1)).timestamp() * 1_000))
    deleted = erase_rows(database, CUSTOMER, until)
    assert deleted.pop("dead_letters") == 2, "the dead letter that quotes the id, and the one up to the offset"
    assert deleted == dict.fromkeys(("events", "features", "scores", "alerts", "alert_handling", "outcomes"), 1)
    remaining = remaining_counts(database)
    assert remaining.pop("dead_letters") == {"": 2, CUSTOMER: 1, "other": 2}
    assert all(counts == {CUSTOMER: 1, "other": 2} for counts in remaining.values())


@pytest.mark.parametrize(("customer", "count"), [("other", 3), ("1", 0)])
def test_dead_letters_are_erased_by_customer_or_by_the_id_that_they_quote(
    database: Settings, store: Store, customer: str, count: int
) -> None:
    fill(store)
    assert erase_rows(database, customer, Until())["dead_letters"] == count

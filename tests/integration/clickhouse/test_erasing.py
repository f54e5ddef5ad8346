"""A customer's rows can be deleted from every table, up to the position of the erasure in the stream."""

from datetime import date, timedelta
from typing import Any

import pytest

from clickhouse.client import connect
from clickhouse.erasing import TABLES, Deletion, DeletionBatch, RowEraser, Until
from clickhouse.store import Store
from clickhouse.tables import SCHEMAS
from ebb.settings import Settings
from tests.support.flow import wait_for
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


def finish(eraser: RowEraser, batch: DeletionBatch) -> dict[str, dict[str, int]]:
    wait_for("the mutations", lambda: eraser.advance(batch) is None)
    eraser.end(batch)
    assert batch.rows is not None
    return batch.rows


def erase_rows(settings: Settings, customer: str, until: Until) -> dict[str, int]:
    eraser = RowEraser(settings)
    rows = finish(eraser, eraser.begin([Deletion("e1", customer, until)]))
    eraser.close()
    return rows["e1"]


def mutations(settings: Settings) -> list[tuple[str, str, int]]:
    client = connect(settings)
    query = "SELECT table, command, is_done FROM system.mutations WHERE database = {name:String} ORDER BY create_time"
    found = client.query(query, parameters={"name": settings.database}).result_rows
    client.close()
    return [(str(row[0]), str(row[1]), int(row[2])) for row in found]


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


def test_many_customers_are_one_mutation_a_table_and_each_has_its_own_count(database: Settings, store: Store) -> None:
    customers = [f"c-{number}" for number in range(3_000)]
    store.insert("scores", table_rows("scores", [{"customer_id": one} for one in [*customers, "staying"]]))
    store.insert("events", table_rows("events", [{"customer_id": customers[0], "event_id": str(n)} for n in range(5)]))
    before = len(mutations(database))
    eraser = RowEraser(database)
    rows = finish(eraser, eraser.begin([Deletion(f"e-{one}", one) for one in customers]))
    assert len(mutations(database)) - before == 2, "of the two tables that held rows, one mutation each"
    assert {one["scores"] for one in rows.values()} == {1}
    assert [one["events"] for one in rows.values()] == [5] + [0] * 2_999
    assert remaining_counts(database)["scores"] == {"staying": 1}
    eraser.close()


def test_no_log_of_clickhouse_keeps_an_id(database: Settings, store: Store) -> None:
    fill(store)
    eraser = RowEraser(database)
    batch = eraser.begin([Deletion("e1", CUSTOMER)])
    finish(eraser, batch)
    told = mutations(database)
    assert {table for table, _, _ in told} >= set(TABLES)
    assert all("hara" not in command for _, command, _ in told)
    client = connect(database)
    logs = [row[0] for row in client.query("SELECT name FROM system.tables WHERE name LIKE '%query%log%'").result_rows]
    for log in logs:
        assert client.query(f"SELECT count() FROM system.{log} WHERE query LIKE '%hara%'").result_rows == [(0,)]  # noqa: S608
    assert client.query("SELECT count() FROM erasing").result_rows == [(0,)]
    client.close()
    eraser.close()


def test_a_slow_mutation_is_waited_for_by_whoever_comes_next_and_never_sent_again(
    database: Settings, store: Store
) -> None:
    fill(store)
    client = connect(database)
    client.command(f"SYSTEM STOP MERGES `{database.database}`.scores")  # mutations of the table do not advance either
    first = RowEraser(database)
    batch = first.begin([Deletion("e1", CUSTOMER), Deletion("e2", "other", early=True)])
    for _ in range(3):
        assert "scores" in (first.advance(batch) or "")
    first.close()
    second = RowEraser(database)
    (found,) = second.under_way()
    assert (found.name, found.early, found.rows) == (batch.name, {"e1": False, "e2": True}, batch.rows)
    for _ in range(3):
        assert second.advance(found) is not None
    of_scores = [command for table, command, _ in mutations(database) if table == "scores" and batch.name in command]
    assert len(of_scores) == 1
    client.command(f"SYSTEM START MERGES `{database.database}`.scores")
    assert finish(second, found)["e1"]["scores"] == 2
    assert second.under_way() == []
    assert remaining_counts(database)["scores"] == {}
    client.close()
    second.close()


def test_a_batch_whose_writer_died_before_anything_was_sent_is_carried_through(
    database: Settings, store: Store
) -> None:
    fill(store)
    first = RowEraser(database)
    first.begin([Deletion("e1", CUSTOMER)])
    first.close()
    second = RowEraser(database)
    (found,) = second.under_way()
    assert found.rows is None
    assert finish(second, found)["e1"]["events"] == 2
    assert CUSTOMER not in remaining_counts(database)["events"]
    second.close()


def test_rows_made_after_the_request_wait_for_the_second_deletion(database: Settings, store: Store) -> None:
    made = dict.fromkeys(("scored_at", "raised_at", "computed_at", "ingested_at", "acted_at", "seen_at"), MOMENT)
    for number, at in enumerate((MOMENT, LATER)):
        for table in TABLES:
            names = set(SCHEMAS[table].names)
            times = {name: at for name in made if name in names}
            row = {"customer_id": CUSTOMER, **times, **({"offset": number} if "offset" in names else {})}
            row |= {"as_of": at} if "as_of" in names else {}
            row |= {"event_id": str(number)} if table == "events" else {}
            row |= {"day": at.date()} if table == "features" else {}
            store.insert(table, table_rows(table, [row]))
    asked = int((MOMENT + timedelta(hours=1)).timestamp() * 1_000)
    deleted = erase_rows(database, CUSTOMER, Until(wall_ms=asked))
    assert deleted.pop("outcomes") == 2, "the learner writes none of who came back before their labels mature"
    assert set(deleted.values()) == {1}, deleted
    assert set(erase_rows(database, CUSTOMER, Until()).values()) == {0, 1}

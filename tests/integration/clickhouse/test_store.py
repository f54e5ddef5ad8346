"""Rows in, rows out: schemas, refusals, and what a batch inserted twice does (nothing)."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from clickhouse.client import connect
from clickhouse.errors import RefusedError
from clickhouse.migrations import migrate, scripts
from clickhouse.store import InsertRefusedError, Store
from clickhouse.tables import DEFAULTED, SCHEMAS
from ebb.contracts.features import NAMES
from ebb.errors import SettingsError
from ebb.metrics import INSERT_ROWS
from ebb.settings import Settings
from stream_processors.sink import REPEATED

NOW = datetime(2026, 1, 1, 12, 30, 15, 123_000, tzinfo=UTC)
PLAIN: dict[pa.DataType, Any] = {
    pa.utf8(): "x",
    pa.float64(): 0.5,
    pa.float32(): 0.25,
    pa.uint8(): 1,
    pa.uint16(): 2,
    pa.uint32(): 3,
    pa.uint64(): 2**63,
    pa.date32(): date(2026, 1, 1),
    pa.timestamp("ms", tz="UTC"): NOW,
}
ARROW_OF = {
    "String": pa.utf8(),
    "Float64": pa.float64(),
    "Float32": pa.float32(),
    "UInt8": pa.uint8(),
    "UInt16": pa.uint16(),
    "UInt32": pa.uint32(),
    "UInt64": pa.uint64(),
    "Date": pa.date32(),
    "DateTime64(3, 'UTC')": pa.timestamp("ms", tz="UTC"),
}


def one_row(table: str, **changed: object) -> pa.Table:
    """Return one row of a table, its nullable columns null."""
    schema = SCHEMAS[table]
    columns = {field.name: [None if field.nullable else PLAIN[field.type]] for field in schema}
    columns |= {name: [value] for name, value in changed.items()}
    return pa.table(columns, schema=schema)


def replaced(column: str, values: pa.Array) -> pa.Table:
    """Return one event with a column of another type or content."""
    rows = one_row("events")
    return rows.set_column(rows.column_names.index(column), column, values)


def events_in(store: Store) -> int:
    """Return how many events are stored, each counted once."""
    return sum(row["events"] for row in store.query("daily_actives", days=20_000))


@pytest.mark.parametrize("table", SCHEMAS)
def test_the_arrow_schema_is_the_live_table(database: Settings, table: str) -> None:
    client = connect(database)
    fields = []
    for name, kind, *_ in client.query(f"DESCRIBE TABLE {table}").result_rows:
        if (table, name) == ("events", "properties"):  # of rows from before there were bodies
            continue
        bare = kind.removeprefix("LowCardinality(").removesuffix(")") if kind.startswith("LowCardinality(") else kind
        nullable = bare.startswith("Nullable(")
        bare = bare.removeprefix("Nullable(").removesuffix(")") if nullable else bare
        fields.append(pa.field(name, ARROW_OF[bare], nullable=nullable))
    client.close()
    assert pa.schema(fields) == SCHEMAS[table]


def test_the_features_table_has_every_feature_in_order() -> None:
    names = SCHEMAS["features"].names
    assert tuple(names[3:-1]) == NAMES


@pytest.mark.parametrize("table", SCHEMAS)
def test_the_same_batch_twice_is_one_row_in_the_view(store: Store, database: Settings, table: str) -> None:
    rows = one_row(table)
    store.insert(table, rows)
    store.insert(table, pa.concat_tables([rows, rows]))
    client = connect(database)
    seen = client.query_arrow("SELECT * FROM {view:Identifier}", parameters={"view": f"v_{table}"})
    client.close()
    assert seen.num_rows == 1
    assert seen.select(SCHEMAS[table].names).cast(SCHEMAS[table]).to_pylist() == rows.to_pylist()


def test_properties_are_read_out_of_the_body(store: Store, database: Settings) -> None:
    body = '{"event_id":"x","properties":{"colour":"red","sizes":[1,2]},"more":1}'
    store.insert("events", one_row("events", body=body))
    client = connect(database)
    rows = client.query("SELECT properties, body FROM v_events").result_rows
    client.close()
    assert rows == [('{"colour":"red","sizes":[1,2]}', body)]


def test_properties_of_an_event_without_a_body_are_those_of_its_columns(store: Store, database: Settings) -> None:
    values = {
        "amount": 12.5,
        "currency": "EUR",
        "country": "NL",
        "store": 'a "b" \\',
        "discount": 0.0,
        "session_id": "s",
    }
    store.insert("events", one_row("events", body="", **values))
    store.insert("events", one_row("events", event_id="bare", body=""))
    client = connect(database)
    rows = client.query("SELECT event_id, properties FROM v_events").result_rows
    client.close()
    assert {name: json.loads(text) for name, text in rows} == {"x": values, "bare": {}}


def test_events_stored_before_there_were_bodies_keep_their_properties(database: Settings) -> None:
    client = connect(database)
    client.command("INSERT INTO events (event_id, customer_id, properties) VALUES ('old', 'c', '{}')")
    rows = client.query("SELECT properties FROM v_events WHERE event_id = 'old'").result_rows
    client.close()
    assert rows == [("{}",)]


def test_the_newer_row_of_a_key_stays(store: Store, database: Settings) -> None:
    later = NOW + timedelta(seconds=1)
    store.insert("features", one_row("features", recency_days=2.0, computed_at=later))
    store.insert("features", one_row("features", recency_days=1.0, computed_at=NOW))
    client = connect(database)
    stored = client.query("SELECT recency_days FROM v_features").result_rows
    client.close()
    assert stored == [(2.0,)]


def test_columns_come_in_any_order_and_times_of_insertion_may_be_left_out(store: Store, database: Settings) -> None:
    rows = one_row("events")
    names = [name for name in reversed(rows.column_names) if name not in DEFAULTED]
    store.insert("events", rows.select(names))
    client = connect(database)
    ingested = client.query("SELECT ingested_at FROM v_events").result_rows[0][0]
    client.close()
    assert abs(ingested - datetime.now(UTC)) < timedelta(minutes=1)


def test_types_that_hold_the_same_values_are_converted(store: Store) -> None:
    narrow = replaced("offset", pa.array([7], pa.int32()))
    packed = narrow.set_column(0, "event_id", narrow.column("event_id").dictionary_encode())
    store.insert("events", packed)
    assert events_in(store) == 1


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (one_row("events").drop_columns(["customer_id"]), r"missing: \['customer_id'\]"),
        (one_row("events").append_column("colour", pa.array(["red"])), r"unknown: \['colour'\]"),
        (replaced("customer_id", pa.array([None], pa.utf8())), "customer_id"),
        (replaced("offset", pa.array([-1], pa.int64())), "-1"),
    ],
    ids=["missing", "unknown", "null", "negative"],
)
def test_rows_that_do_not_fit_are_refused_at_once_with_table_and_reason(
    store: Store, rows: pa.Table, reason: str
) -> None:
    with pytest.raises(InsertRefusedError, match=reason) as caught:
        store.insert("events", rows)
    assert caught.value.table == "events"
    assert events_in(store) == 0


def test_dictionary_encoded_strings_are_stored_as_strings(store: Store, database: Settings) -> None:
    values = ["web", None, "shop", "web"]
    texts = pa.concat_tables([one_row("events", event_id=str(n), channel=text) for n, text in enumerate(values)])
    rows = texts.set_column(texts.column_names.index("channel"), "channel", texts["channel"].dictionary_encode())
    kinds = pa.DictionaryArray.from_arrays(pa.array([1, 0, 0, 0], pa.int8()), ["view", "purchase"])
    store.insert("events", rows.set_column(rows.column_names.index("kind"), "kind", kinds))
    client = connect(database)
    result = client.query("SELECT channel, kind FROM v_events ORDER BY event_id").result_rows
    client.close()
    assert result == [("web", "purchase"), (None, "view"), ("shop", "view"), ("web", "view")]


def test_dictionary_columns_are_the_low_cardinality_columns_of_the_table(database: Settings) -> None:
    client = connect(database)
    kinds = {name: kind for name, kind, *_ in client.query("DESCRIBE TABLE events").result_rows}
    client.close()
    assert {*REPEATED, "kind"} == {name for name, kind in kinds.items() if kind.startswith("LowCardinality")}


def test_nulls_in_dictionary_columns_are_refused_where_a_string_is_required(store: Store) -> None:
    with pytest.raises(InsertRefusedError, match="'type' with null"):
        store.insert("events", replaced("type", pa.nulls(1, pa.dictionary(pa.int16(), pa.utf8()))))


def test_the_tables_that_take_most_rows_are_merged_rarely(database: Settings) -> None:
    client = connect(database)
    sql = "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()"
    tables = {name for name, engine in client.query(sql).result_rows if "merge_selector_base = 1" in engine}
    statistics = client.command("SELECT value FROM system.merge_tree_settings WHERE name = 'auto_statistics_types'")
    client.close()
    assert tables == {"events", "features", "scores"}
    assert not statistics


def test_an_unknown_table_is_refused_and_the_known_ones_named(store: Store) -> None:
    with pytest.raises(InsertRefusedError, match="dead_letters"):
        store.insert("nowhere", one_row("events"))


def test_no_rows_are_no_request(store: Store) -> None:
    store.insert("events", SCHEMAS["events"].empty_table())
    assert events_in(store) == 0


def test_one_batch_may_span_many_years(store: Store) -> None:
    days = [NOW - timedelta(days=31 * months) for months in range(300)]
    ids = [str(number) for number in range(300)]
    columns = one_row("events").to_pydict() | {"event_id": ids, "occurred_at": days}
    rows = {name: values if len(values) == 300 else values * 300 for name, values in columns.items()}
    store.insert("events", pa.table(rows, schema=SCHEMAS["events"]))
    assert events_in(store) == 300


def test_a_batch_in_many_chunks_becomes_one_part(store: Store, database: Settings) -> None:
    store.insert("models", pa.concat_tables([one_row("models", version=number) for number in range(50)]))
    client = connect(database)
    sql = "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = 'models'"
    assert client.command(sql) == 1
    client.close_connections()


def test_inserted_rows_are_counted(store: Store) -> None:
    counted = INSERT_ROWS.labels("models")._value.get()
    store.insert("models", one_row("models"))
    assert INSERT_ROWS.labels("models")._value.get() == counted + 1


def test_a_store_serves_many_threads_at_once(store: Store) -> None:
    def work(number: int) -> int:
        store.insert("dead_letters", one_row("dead_letters", offset=number))
        return sum(row["records"] for row in store.query("dead_letters_by_reason"))

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(work, range(48)))
    assert store.query("dead_letters_by_reason")[0]["records"] == 48


def test_a_query_takes_exactly_its_parameters(store: Store) -> None:
    with pytest.raises(TypeError, match=r"takes \['before', 'customer', 'limit'\]"):
        store.query("score_history_page", customer="a")
    with pytest.raises(KeyError):
        store.query("../migrations/0001_tables")


def test_migrations_are_applied_once(database: Settings) -> None:
    assert migrate(database) == []
    client = connect(database)
    assert client.command("SELECT count() FROM migrations FINAL") == len(scripts())
    client.close()


def test_parts_that_start_together_migrate_together(database: Settings) -> None:
    fresh = database.model_copy(update={"namespace": f"{database.namespace}_b"})
    with ThreadPoolExecutor(6) as pool:
        applied = list(pool.map(migrate, [fresh] * 6))
    assert set(applied[0]) <= set(scripts())
    assert any(applied)
    client = connect(fresh)
    tables = {row[0] for row in client.query("SHOW TABLES").result_rows}
    assert set(SCHEMAS) | {f"v_{name}" for name in SCHEMAS} <= tables
    assert client.command("SELECT count() FROM migrations FINAL") == len(scripts())
    client.command(f"DROP DATABASE {fresh.database}")
    client.close()


def test_namespaces_do_not_share_rows(store: Store, database: Settings) -> None:
    other = database.model_copy(update={"namespace": f"{database.namespace}_o"})
    migrate(other)
    apart = Store(other)
    store.insert("events", one_row("events"))
    assert events_in(apart) == 0
    apart.close()
    client = connect(database)
    client.command(f"DROP DATABASE {other.database}")
    client.close()


def test_a_wrong_user_is_refused_with_the_settings_to_check(database: Settings) -> None:
    with pytest.raises(RefusedError, match="EBB_CLICKHOUSE_USER"):
        connect(database.model_copy(update={"clickhouse_user": "mallory"}))


def test_an_invalid_address_is_a_settings_error(database: Settings) -> None:
    with pytest.raises(SettingsError, match="EBB_CLICKHOUSE_URL"):
        connect(database.model_copy(update={"clickhouse_url": "localhost:8123"}))

"""Kills, restarts and outages: acknowledged rows stay, waiting inserts continue, nothing counts twice."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from clickhouse.client import connect
from clickhouse.migrations import migrate
from clickhouse.store import InsertRefusedError, Store
from clickhouse.tables import SCHEMAS
from ebb.errors import UnavailableError
from ebb.metrics import INSERT_RETRIES
from ebb.settings import Settings
from tests.support.embedded_clickhouse import Embedded
from tests.support.flow import wait_for

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def dead_letters(first: int, count: int) -> pa.Table:
    """Return dead letters from offset `first` on."""
    columns = {
        "topic": ["ebb.activity"] * count,
        "partition": [0] * count,
        "offset": list(range(first, first + count)),
        "stage": ["decode"] * count,
        "reason": ["bad_json"] * count,
        "detail": [""] * count,
        "size": [10] * count,
        "seen_at": [NOW] * count,
        "customer_id": [""] * count,
    }
    return pa.table(columns, schema=SCHEMAS["dead_letters"])


def test_kill_9_loses_no_acknowledged_row_and_the_port_serves_again(fresh: Callable[[], Embedded]) -> None:
    server = fresh()
    migrate(server.settings)
    store = Store(server.settings)
    for batch in range(10):
        store.insert("dead_letters", dead_letters(batch * 1_000, 1_000))
    server.kill()
    server.start()
    assert store.query("dead_letters_by_reason")[0]["records"] == 10_000
    store.close()


def test_a_clean_stop_finishes_pending_requests_exits_0_and_loses_nothing(fresh: Callable[[], Embedded]) -> None:
    server = fresh()
    migrate(server.settings)
    store = Store(server.settings)
    store.insert("dead_letters", dead_letters(0, 500))
    client = connect(server.settings, database="default")
    answers: list[object] = []
    asking = threading.Thread(target=lambda: answers.append(client.command("SELECT sleep(3)")))
    asking.start()
    under_way = "SELECT count() FROM system.processes WHERE startsWith(query, 'SELECT sleep')"
    wait_for("the statement to be under way", lambda: client.command(under_way))
    assert server.stop() == 0
    asking.join(30)
    assert answers == [0]
    assert "Traceback" not in server.log.read_text()
    server.start()
    assert store.query("dead_letters_by_reason")[0]["records"] == 500
    store.close()


def test_an_insert_waits_while_the_server_is_down_and_nothing_is_lost_or_duplicated(
    fresh: Callable[[], Embedded],
) -> None:
    server = fresh()
    migrate(server.settings)
    store = Store(server.settings)
    done: list[int] = []

    def write() -> None:
        for batch in range(60):
            store.insert("dead_letters", dead_letters(batch * 100, 100))
            done.append(batch)
            time.sleep(0.01)

    writing = threading.Thread(target=write)
    writing.start()
    for _ in range(2):
        time.sleep(0.3)
        server.kill()
        stopped_at = len(done)
        time.sleep(0.7)
        assert len(done) <= stopped_at + 1
        server.start()
    writing.join(120)
    assert store.ping()
    assert done == list(range(60))
    assert store.query("dead_letters_by_reason")[0]["records"] == 6_000
    store.close()


def test_a_waiting_insert_gives_up_when_the_process_stops(tmp_path: Path) -> None:
    absent = Embedded(tmp_path).settings
    stop = threading.Event()
    store = Store(absent, stopping=stop.is_set)
    began = time.monotonic()
    threading.Timer(0.5, stop.set).start()
    with pytest.raises(UnavailableError, match="EBB_CLICKHOUSE_URL"):
        store.insert("dead_letters", dead_letters(0, 1))
    assert 0.4 < time.monotonic() - began < 30


def test_an_absent_server_is_named_with_its_address_and_setting(tmp_path: Path) -> None:
    absent = Embedded(tmp_path)
    with pytest.raises(UnavailableError) as caught:
        connect(absent.settings)
    assert absent.url in caught.value.what
    assert "EBB_CLICKHOUSE_URL" in caught.value.hint
    store = Store(absent.settings)
    assert not store.ping()
    with pytest.raises(UnavailableError):
        store.query("dead_letters_by_reason")


def test_a_database_that_was_reset_is_an_immediate_error(embedded: Embedded) -> None:
    reset = embedded.settings.model_copy(update={"namespace": "reset"})
    store = Store(reset)
    with pytest.raises(InsertRefusedError, match="migrates first") as caught:
        store.insert("dead_letters", dead_letters(0, 1))
    assert caught.value.table == "dead_letters"
    assert migrate(reset)
    store.insert("dead_letters", dead_letters(0, 1))
    assert store.query("dead_letters_by_reason")[0]["records"] == 1
    store.close()


def test_an_insert_waits_while_there_are_too_many_parts_to_merge(database: Settings, store: Store) -> None:
    client = connect(database)
    client.command("SYSTEM STOP MERGES dead_letters")
    client.command("ALTER TABLE dead_letters MODIFY SETTING parts_to_delay_insert = 0, parts_to_throw_insert = 2")
    for batch in range(2):
        store.insert("dead_letters", dead_letters(batch, 1))
    retries = INSERT_RETRIES.labels("dead_letters")._value
    before = retries.get()
    waiting = threading.Thread(target=store.insert, args=("dead_letters", dead_letters(2, 1)))
    waiting.start()
    wait_for("the insert to be tried again", lambda: retries.get() > before)
    assert waiting.is_alive()
    client.command("SYSTEM START MERGES dead_letters")
    client.command("OPTIMIZE TABLE dead_letters FINAL")
    waiting.join(60)
    assert not waiting.is_alive()
    assert store.query("dead_letters_by_reason")[0]["records"] == 3
    client.close_connections()

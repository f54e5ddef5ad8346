"""The embedded server answers as a ClickHouse server does: to curl, to clickhouse-connect, to several at once."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import clickhouse_connect
import httpx
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from clickhouse.client import connect
from ebb.settings import Settings
from ebb_cli.local.ports import free_port
from tests.support.embedded_clickhouse import Embedded

# A busy machine may stall for longer than the five seconds that httpx waits.
get, post = partial(httpx.get, timeout=30), partial(httpx.post, timeout=30)


def execute(server: Embedded, sql: str, **parameters: str) -> httpx.Response:
    return post(server.url, content=sql, params=parameters, auth=server.auth)


@pytest.fixture
def client(database: Settings) -> Iterator[Client]:
    opened = connect(database)
    yield opened
    opened.close()


def test_ping_and_the_bare_address_return_ok(embedded: Embedded) -> None:
    assert get(f"{embedded.url}/ping").text == "Ok.\n"
    assert get(embedded.url, auth=embedded.auth).text == "Ok.\n"


def test_the_query_may_be_in_the_url_in_the_body_or_split_between_them(embedded: Embedded) -> None:
    assert get(embedded.url, auth=embedded.auth, params={"query": "SELECT 1 + 1"}).text == "2\n"
    assert execute(embedded, "SELECT 1 + 1").text == "2\n"
    assert execute(embedded, "+ 1", query="SELECT 1").text == "2\n"


def test_the_format_is_the_statements_or_the_requested_default(embedded: Embedded) -> None:
    answer = execute(embedded, "SELECT 1 AS a FORMAT JSON")
    assert answer.json()["data"] == [{"a": 1}]
    assert answer.headers["x-clickhouse-format"] == "JSON"
    assert answer.headers["content-type"] == "application/json"
    assert execute(embedded, "SELECT 1 AS a", default_format="JSONEachRow").json() == {"a": 1}
    header = post(embedded.url, auth=embedded.auth, content="SELECT 1, 2", headers={"X-ClickHouse-Format": "CSV"})
    assert header.text == "1,2\n"


def test_parameters_are_bound_by_the_engine(embedded: Embedded) -> None:
    answer = execute(embedded, "SELECT {a:UInt8} + 1, {b:String}", param_a="41", param_b="it's; DROP TABLE x")
    assert answer.text == "42\tit\\'s; DROP TABLE x\n"


def test_a_setting_in_the_url_holds_for_its_request_alone(embedded: Embedded) -> None:
    sql = "SELECT getSetting('max_threads')"
    usual = execute(embedded, sql).text
    assert execute(embedded, sql, max_threads="7").text == "7\n"
    assert execute(embedded, sql).text == usual


def test_the_database_of_a_request_holds_for_it_alone(embedded: Embedded) -> None:
    assert execute(embedded, "SELECT currentDatabase()", database="system").text == "system\n"
    assert execute(embedded, "SELECT currentDatabase()").text == "default\n"


@pytest.mark.parametrize(
    ("sql", "parameters", "code", "status"),
    [
        ("SELEC 1", {}, 62, 400),
        ("SELECT 1; SELECT 2", {}, 62, 400),
        ("SELECT * FROM system.nowhere", {}, 60, 404),
        ("SELECT nothing", {}, 47, 404),
        ("SELECT 1", {"database": "nowhere"}, 81, 404),
        ("SELECT 1", {"no_such_setting": "1"}, 115, 404),
        ("SELECT {a:UInt8}", {}, 456, 500),
        ("SELECT 1", {"bad name": "1"}, 36, 400),
        ("SELECT throwIf(1)", {}, 395, 500),
        ("SELECT count() FROM numbers(100000000000)", {"max_execution_time": "0.2"}, 159, 408),
    ],
)
def test_errors_carry_clickhouses_code_and_status(
    embedded: Embedded, sql: str, parameters: dict[str, str], code: int, status: int
) -> None:
    answer = execute(embedded, sql, **parameters)
    assert answer.status_code == status
    assert answer.headers["x-clickhouse-exception-code"] == str(code)
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")


def test_a_get_request_changes_nothing(embedded: Embedded) -> None:
    answer = get(embedded.url, auth=embedded.auth, params={"query": "CREATE DATABASE ebb_by_get"})
    assert answer.headers["x-clickhouse-exception-code"] == "164"


def test_a_memory_limit_stops_the_query_and_not_the_server(embedded: Embedded) -> None:
    sql = "SELECT count() FROM (SELECT number FROM numbers(10000000) GROUP BY number)"
    answer = execute(embedded, sql, max_memory_usage="20000000")
    assert answer.headers["x-clickhouse-exception-code"] == "241"
    assert execute(embedded, "SELECT 1").text == "1\n"


def test_the_user_is_known_by_header_url_and_basic_auth(embedded: Embedded) -> None:
    user, password = embedded.auth
    assert post(embedded.url, content="SELECT 1", auth=(user, password)).status_code == 200
    headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
    assert post(embedded.url, content="SELECT 1", headers=headers).status_code == 200
    parameters = {"user": user, "password": password, "session_id": "any"}
    assert post(embedded.url, content="SELECT 1", params=parameters).status_code == 200


def test_rows_in_the_body_are_inserted_whatever_their_format(embedded: Embedded, database: Settings) -> None:
    name = database.database
    execute(embedded, "CREATE TABLE t (a UInt8, b String) ENGINE = MergeTree ORDER BY a", database=name)
    for sql, body in [
        ("INSERT INTO t FORMAT CSV", b'1,"one"\n'),
        ("INSERT INTO t FORMAT JSONEachRow", b'{"a": 2, "b": "two"}\n'),
        ("INSERT INTO t (b, a) FORMAT TSV", b"three\t3\n"),
    ]:
        answer = post(embedded.url, auth=embedded.auth, params={"query": sql, "database": name}, content=body)
        assert answer.status_code == 200, answer.text
        assert '"written_rows": "1"' in answer.headers["x-clickhouse-summary"]
    assert execute(embedded, "INSERT INTO t VALUES (4, 'four')", database=name).status_code == 200
    inserted = execute(embedded, "INSERT INTO {t:Identifier} FORMAT CSV\n5,five\n", database=name, param_t="t")
    assert inserted.status_code == 200, inserted.text
    answer = execute(embedded, "SELECT a, b FROM t ORDER BY a FORMAT CSV", database=name)
    assert answer.text.splitlines() == ['1,"one"', '2,"two"', '3,"three"', '4,"four"', '5,"five"']


def test_a_malformed_insert_stores_nothing_of_its_rows(embedded: Embedded, database: Settings) -> None:
    name = database.database
    execute(embedded, "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a", database=name)
    body = b'{"a": 1}\n{"a": "x"}\n'
    answer = post(
        embedded.url,
        auth=embedded.auth,
        params={"query": "INSERT INTO t FORMAT JSONEachRow", "database": name},
        content=body,
    )
    assert answer.status_code == 400
    assert execute(embedded, "SELECT count() FROM t", database=name).text == "0\n"


def test_rows_that_the_table_refuses_are_never_acknowledged(embedded: Embedded, database: Settings) -> None:
    name = database.database
    sql = "CREATE TABLE t (a UInt8, CONSTRAINT small CHECK a < 5) ENGINE = MergeTree ORDER BY a"
    execute(embedded, sql, database=name)
    for body in (b"1\n9\n", b"9\n"):
        answer = post(
            embedded.url,
            auth=embedded.auth,
            params={"query": "INSERT INTO t FORMAT TSV", "database": name},
            content=body,
        )
        assert answer.headers["x-clickhouse-exception-code"] == "469"
    insert = "INSERT INTO t (a) SETTINGS max_threads = 1 FORMAT TSV"
    assert (
        post(
            embedded.url, auth=embedded.auth, params={"query": insert, "database": name}, content=b"1\n2\n"
        ).status_code
        == 200
    )
    assert execute(embedded, "SELECT count() FROM t", database=name).text == "2\n"


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_clickhouse_connect_writes_and_reads_in_every_encoding(
    embedded: Embedded, database: Settings, compress: bool | str
) -> None:
    port = embedded.settings.clickhouse_port
    client = clickhouse_connect.get_client(
        host="127.0.0.1",
        port=port,
        password=database.clickhouse_password,
        database=database.database,
        compress=compress,
        autogenerate_session_id=False,
    )
    client.command("CREATE TABLE t (a UInt64, b LowCardinality(String)) ENGINE = MergeTree ORDER BY a")
    summary = client.insert("t", [[1, "x"], [2, "y"]], column_names=["a", "b"])
    assert summary.written_rows == 2
    client.insert_arrow("t", pa.table({"a": pa.array([3], pa.uint64()), "b": ["z"]}))
    client.raw_insert("t", ["a", "b"], b'4,"q"\n', fmt="CSV")
    assert client.query("SELECT * FROM t ORDER BY a").result_rows == [(1, "x"), (2, "y"), (3, "z"), (4, "q")]
    assert client.query_arrow("SELECT a FROM t ORDER BY a").column("a").to_pylist() == [1, 2, 3, 4]
    assert client.query("SELECT a FROM t LIMIT 0").column_names == ("a",)
    assert client.command("SELECT count() FROM t WHERE a > {a:UInt8}", parameters={"a": 2}) == 2
    client.close()


def test_a_session_id_is_tolerated_as_every_default_client_sends_one(embedded: Embedded) -> None:
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=embedded.settings.clickhouse_port, password=embedded.settings.clickhouse_password
    )
    assert client.command("SELECT 1") == 1
    client.close()


def test_a_large_result_is_streamed_and_complete(client: Client) -> None:
    sql = "SELECT number, toString(number) FROM numbers(1000000)"
    with client.query_column_block_stream(sql) as blocks:
        totals = [sum(block[0]) for block in blocks]
    assert len(totals) > 5
    assert sum(totals) == 1_000_000 * 999_999 // 2


def test_a_fault_in_the_middle_of_a_stream_reaches_the_reader(client: Client) -> None:
    sql = "SELECT toString(number), throwIf(number = 900000) FROM numbers(1000000)"
    with (
        pytest.raises(StreamFailureError, match="Code: 395"),
        client.query_row_block_stream(sql, settings={"max_threads": 1}) as blocks,
    ):
        assert sum(len(block) for block in blocks)
    # If the whole response is awaited, the same error has its status and code.
    with pytest.raises(DatabaseError, match="Code: 395") as caught:
        client.query(sql)
    assert caught.value.code == 395


def test_a_client_that_disconnects_midway_leaves_nothing_behind(embedded: Embedded) -> None:
    for _ in range(20):
        with httpx.stream(
            "POST", embedded.url, content="SELECT number FROM numbers(3000000)", auth=embedded.auth, timeout=30
        ) as answer:
            next(answer.iter_raw())
    running = execute(embedded, "SELECT count() FROM system.processes").text
    assert int(running) <= 3
    assert execute(embedded, "SELECT 1").text == "1\n"


def test_inserts_and_reads_of_many_threads_overlap_without_session_errors(client: Client) -> None:
    client.command("CREATE TABLE t (a UInt64, b UInt64) ENGINE = MergeTree ORDER BY a")
    rows = pa.table({"a": pa.array(range(2_000), pa.uint64()), "b": pa.array(range(2_000), pa.uint64())})

    def work(turn: int) -> int:
        if turn % 2:
            client.insert_arrow("t", rows)
            return 0
        return int(client.query("SELECT count() % 2000 FROM t").result_rows[0][0])

    with ThreadPoolExecutor(12) as pool:
        # A read sees only complete inserts.
        assert set(pool.map(work, range(80))) == {0}
    assert client.command("SELECT count() FROM t") == 40 * 2_000


def test_a_second_process_on_the_same_data_is_refused_in_one_sentence(embedded: Embedded) -> None:
    moved = embedded.settings.model_copy(update={"clickhouse_port": free_port()})
    done = subprocess.run(
        [sys.executable, "-m", "clickhouse.embedded"],
        env=moved.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "in use by another process" in done.stderr
    assert "EBB_HOME" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_occupied_port_is_refused_in_one_sentence(embedded: Embedded) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "clickhouse.embedded"],
        env=embedded.settings.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "EBB_CLICKHOUSE_PORT" in done.stderr
    assert "Traceback" not in done.stderr

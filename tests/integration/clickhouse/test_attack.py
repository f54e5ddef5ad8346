"""The embedded server under attack: from a web page, from another user of the machine, from statements that leave it.

Each attack was seen to succeed against a server without the gate, the grants and the vetting.
"""

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import clickhouse_connect
import httpx
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from clickhouse.client import connect
from clickhouse.embedded import access
from clickhouse.errors import RefusedError
from ebb.settings import Settings
from tests.support.embedded_clickhouse import Embedded

get, post = partial(httpx.get, timeout=60), partial(httpx.post, timeout=60)

MARK = "the-line-that-must-not-leave"


@dataclass
class Outside:
    """What an attacker wants to reach: a file, a folder to write to, another server."""

    folder: Path
    port: int
    reached: list[str] = field(default_factory=list)

    def fill(self, sql: str) -> str:
        """Put the places into a statement."""
        url = f"http://127.0.0.1:{self.port}"
        return (
            sql.replace("{file}", str(self.folder / "secret.txt"))
            .replace("{out}", str(self.folder / "out"))
            .replace("{dir}", str(self.folder))
            .replace("{url}", url)
            .replace("{host}", f"127.0.0.1:{self.port}")
        )

    def assert_untouched(self) -> None:
        """Assert that nothing was written and nobody called."""
        assert sorted(path.name for path in self.folder.iterdir()) == ["secret.txt"]
        assert self.reached == []


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text(f"{MARK}\n")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.reached.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"1\n")

        do_POST = do_PUT = do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Outside(folder, server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


# A web page

BROWSER_HEADERS = [
    {"Origin": "https://example.org"},
    {"Origin": "http://127.0.0.1:8000"},
    {"Origin": "null"},
    {"Referer": "https://example.org/page"},
    {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"},
    {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none", "Sec-Fetch-Dest": "document"},
    {"sec-ch-ua": '"Chromium";v="140"'},
    {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0"},
    {"Upgrade-Insecure-Requests": "1"},
    {"Cookie": "a=b"},
    {"Host": "example.org"},
    {"Host": "rebound.example.org:8123"},
    {"Host": "127.0.0.1.example.org"},
    {"Host": ""},
]


@pytest.mark.parametrize("headers", BROWSER_HEADERS, ids=str)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_web_page_is_refused_even_with_the_password(embedded: Embedded, method: str, headers: dict[str, str]) -> None:
    for path in ("/", "/ping"):
        answer = httpx.request(
            method,
            f"{embedded.url}{path}",
            params={"query": "SELECT 1"},
            headers=headers,
            auth=embedded.auth,
            timeout=60,
        )
        assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (403, "516")
        assert answer.text.startswith("Code: 516. DB::Exception: ")
        assert not any(name.startswith("access-control-") for name in answer.headers)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:8123"])
def test_a_program_that_names_the_loopback_is_served(embedded: Embedded, host: str) -> None:
    answer = get(embedded.url, params={"query": "SELECT 1"}, headers={"Host": host}, auth=embedded.auth)
    assert answer.text == "1\n"


def test_a_form_of_a_page_with_the_statement_as_its_text_changes_nothing(
    embedded: Embedded, database: Settings
) -> None:
    name = database.database
    page = {
        "Origin": "https://example.org",
        "Content-Type": "text/plain",
        "Sec-Fetch-Mode": "navigate",
        "User-Agent": "Mozilla/5.0",
    }
    assert post(embedded.url, content=f"DROP TABLE {name}.events", headers=page).status_code == 403
    assert get(embedded.url, params={"query": f"EXISTS TABLE {name}.events"}, auth=embedded.auth).text == "1\n"


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE DATABASE ebb_by_get",
        "INSERT INTO {db}.alerts (customer_id) VALUES ('a')",
        "INSERT INTO {db}.alerts (customer_id) SELECT 'a'",
        "TRUNCATE TABLE {db}.events",
        "DROP TABLE {db}.events",
        "ALTER TABLE {db}.events DELETE WHERE 1",
        "DELETE FROM {db}.events WHERE 1",
        "OPTIMIZE TABLE {db}.events FINAL",
        "RENAME TABLE {db}.events TO {db}.gone",
        "SYSTEM STOP MERGES {db}.events",
        "INSERT INTO FUNCTION file('{out}', 'CSV', 'a Int8') SELECT 1",
        "SET readonly = 0",
        "SELECT 1 SETTINGS readonly = 0",
    ],
)
def test_a_get_changes_nothing(embedded: Embedded, database: Settings, outside: Outside, sql: str) -> None:
    sql = outside.fill(sql.replace("{db}", database.database))
    answer = get(embedded.url, params={"query": sql, "readonly": "0"}, auth=embedded.auth)
    assert answer.status_code != 200, answer.text
    outside.assert_untouched()


# Another user of the machine

STRANGERS: list[tuple[str, str] | None] = [
    None, ("default", ""), ("default", "x"), ("mallory", ""), ("", ""), ("default", "\u00fc"), ("ebb", "default"),
]  # fmt: skip


@pytest.mark.parametrize("auth", STRANGERS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_the_password_nothing_is_answered(
    embedded: Embedded, method: str, auth: tuple[str, str] | None
) -> None:
    answer = httpx.request(method, embedded.url, params={"query": "SELEC"}, auth=auth, timeout=60)
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (403, "516")
    assert embedded.settings.clickhouse_password not in answer.text


def test_another_users_name_with_the_password_is_refused(embedded: Embedded) -> None:
    auth = ("mallory", embedded.settings.clickhouse_password)
    assert post(embedded.url, content="SELECT 1", auth=auth).status_code == 403


def test_a_client_reads_in_clickhouses_words_that_the_password_is_wrong(embedded: Embedded) -> None:
    with pytest.raises(DatabaseError, match="Authentication failed: password is incorrect"):
        clickhouse_connect.get_client(host="127.0.0.1", port=embedded.settings.clickhouse_port)
    with pytest.raises(RefusedError, match="EBB_CLICKHOUSE_PASSWORD"):
        connect(embedded.settings.model_copy(update={"clickhouse_password": "wrong"}))


def test_a_stranger_is_refused_before_the_body_is_read(embedded: Embedded) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", embedded.settings.clickhouse_port, timeout=60)
    connection.putrequest("POST", "/")
    connection.putheader("Content-Length", str(400 * 1024 * 1024))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.headers["connection"]) == (403, "close")
    connection.close()


def test_a_head_that_never_ends_is_cut(embedded: Embedded) -> None:
    begun = (b"", b"GET /ping HT", b"POST / HTTP/1.1\r\nX: ", b"GET /?a=")
    address = ("127.0.0.1", embedded.settings.clickhouse_port)
    connections = [socket.create_connection(address, timeout=120) for _ in begun]
    for connection, sent in zip(connections, begun, strict=True):
        connection.sendall(sent)
    for connection in connections:
        with connection:
            assert connection.recv(1) == b""


def test_a_head_without_bounds_is_cut(embedded: Embedded) -> None:
    with socket.create_connection(("127.0.0.1", embedded.settings.clickhouse_port), timeout=120) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 64 * 1024 * 1024)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""


def test_a_url_as_long_as_a_list_of_parameters_is_served(embedded: Embedded) -> None:
    text = "a" * 60_000
    parameters = {"query": "SELECT length({a:String})", "param_a": text}
    assert post(embedded.url, params=parameters, auth=embedded.auth).text == "60000\n"


def test_a_body_announced_too_large_is_refused_before_it_is_sent(embedded: Embedded) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", embedded.settings.clickhouse_port, timeout=60)
    connection.putrequest("POST", "/")
    connection.putheader("Content-Length", str(2**40))
    user, password = embedded.auth
    connection.putheader("X-ClickHouse-User", user)
    connection.putheader("X-ClickHouse-Key", password)
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (413, "290")
    connection.close()


def test_a_query_id_cannot_write_headers(embedded: Embedded) -> None:
    parameters = {"query": "SELECT 1", "query_id": "a\r\nSet-Cookie: b=c"}
    answer = get(embedded.url, params=parameters, auth=embedded.auth)
    assert answer.text == "1\n"
    assert "set-cookie" not in answer.headers


def test_the_password_is_neither_on_the_command_line_nor_in_the_log(embedded: Embedded) -> None:
    process, password = embedded.process, embedded.settings.clickhouse_password
    assert process is not None
    assert password not in Path(f"/proc/{process.pid}/cmdline").read_text()
    assert password not in embedded.log.read_text()


def test_nothing_of_the_data_can_be_read_by_others(embedded: Embedded) -> None:
    home = embedded.settings.home
    assert home.stat().st_mode & 0o777 == 0o700
    assert (home / "clickhouse").stat().st_mode & 0o777 == 0o700
    assert (home / "password").stat().st_mode & 0o777 == 0o600


def test_it_listens_on_loopback_alone(embedded: Embedded) -> None:
    for family, _, _, _, address in socket.getaddrinfo(socket.gethostname(), embedded.settings.clickhouse_port):
        if str(address[0]).startswith("127.") or address[0] == "::1":
            continue
        with socket.socket(family) as probe, pytest.raises(OSError, match=r"refused|unreachable"):
            probe.connect(address)


# Statements that leave the engine

LEAVING = """
SELECT * FROM file('{file}', 'LineAsString')
SELECT file('{file}')
SELECT `file`('{file}')
SELECT `\\x66ile`('{file}')
SELECT "\\x66ile"('{file}')
SELECT \u201c\\x66ile\u201d('{file}')
SELECT /* a */ file /* b */ ('{file}')
SELECT $$'$$, file('{file}'), $$'$$
SELECT * APPLY file FROM (SELECT '{file}' AS a)
SELECT * APPLY(x -> file(x)) FROM (SELECT '{file}' AS a)
SELECT arrayMap(x -> file(x), ['{file}'])
SELECT 1 WHERE file('{file}') != ''
SELECT * FROM (SELECT * FROM view(SELECT file('{file}')))
WITH file('{file}') AS a SELECT a
SELECT 1 UNION ALL SELECT length(file('{file}'))
EXPLAIN SELECT file('{file}')
SELECT 1 SETTINGS additional_result_filter = 'file(\\'{file}\\') != \\'\\''
SELECT * FROM {db}.kept SETTINGS additional_table_filters = {'{db}.kept': 'file(\\'{file}\\') != \\'\\''}
SELECT * FROM numbers(1) SETTINGS filter = 'file(\\'{file}\\') != \\'\\''
SELECT * FROM numbers(1) SETTINGS select = 'file(\\'{file}\\')'
SELECT * FROM loop(file('{file}', 'LineAsString')) LIMIT 1
SELECT * FROM format(Values, 'a String', '(file(\\'{file}\\'))')
DESCRIBE TABLE file('{file}')
SELECT * FROM filesystem('{dir}')
SELECT * FROM eval(concat('SELECT fi', 'le(\\'{file}\\')')) SETTINGS allow_experimental_eval_table_function = 1
SELECT * FROM `{file}`
INSERT INTO FUNCTION file('{out}1', 'CSV', 'a Int32') VALUES (1)
INSERT INTO FUNCTION file('{out}2', 'CSV', 'a Int32') SELECT 1
INSERT INTO TABLE FUNCTION file('{out}3', 'CSV', 'a Int32') SELECT 1
INSERT INTO FUNCTION file('{out}4', 'CSV', 'a Int32') FORMAT CSV 1
INSERT INTO {db}.kept SELECT 1, file('{file}')
INSERT INTO {db}.kept VALUES (1, file('{file}'))
INSERT INTO {db}.kept VALUES (1, concat('a', 'b'))
INSERT INTO {db}.kept SETTINGS input_format_values_interpret_expressions = 1 VALUES (1, file('{file}'))
INSERT INTO {db}.kept FORMAT Values (1, file('{file}'))
INSERT INTO {db}.kept FROM INFILE '{file}' FORMAT LineAsString
INSERT INTO {db}.kept SETTINGS input_format_record_errors_file_path = '{out}5' FORMAT CSV x
SELECT 1 INTO OUTFILE '{out}6'
SELECT 1 INTO OUTFILE '{out}7' AND STDOUT
SELECT $$'$$, 1 INTO OUTFILE '{out}8' -- '
(SELECT 1) INTO OUTFILE '{out}9'
SHOW TABLES INTO OUTFILE '{out}10'
EXPLAIN AST SELECT 1 INTO OUTFILE '{out}11'
INSERT INTO {db}.kept SELECT 1, 'a'; SELECT 1 INTO OUTFILE '{out}12'
SELECT 1; INSERT INTO FUNCTION file('{out}14', 'CSV', 'a Int32') SELECT 1
SELECT * FROM url('{url}/', 'CSV', 'a Int32')
INSERT INTO FUNCTION url('{url}/', 'CSV', 'a Int32') SELECT 1
SELECT * FROM s3('{url}/bucket/key', NOSIGN, 'CSV', 'a Int32')
SELECT * FROM gcs('{url}/bucket/key', NOSIGN, 'CSV', 'a Int32')
SELECT * FROM azureBlobStorage('{url}/', 'c', 'p', 'account', 'a2V5', 'CSV', 'auto', 'a Int32')
SELECT * FROM hdfs('hdfs://{host}/x', 'CSV', 'a Int32')
SELECT * FROM remote('{host}', 'system', 'one')
SELECT * FROM remote('127.0.0.1', 'system', 'one')
SELECT * FROM cluster('default', 'system', 'one')
SELECT * FROM mysql('{host}', 'd', 't', 'u', 'p')
SELECT * FROM postgresql('{host}', 'd', 't', 'u', 'p')
SELECT * FROM mongodb('{host}', 'd', 't', 'u', 'p', 'a Int32')
SELECT * FROM redis('{host}', 'a', 'a Int32')
SELECT * FROM sqlite('{file}', 't')
SELECT * FROM odbc('DSN=x', 'a', 'b')
SELECT * FROM jdbc('x', 'a', 'b')
SELECT * FROM executable('x.sh', 'TabSeparated', 'a Int32')
SELECT * FROM deltaLake('{url}/bucket/k')
SELECT * FROM deltaLakeLocal('{dir}')
SELECT * FROM iceberg('{url}/bucket/k')
SELECT * FROM icebergLocal('{dir}')
SELECT * FROM hudi('{url}/bucket/k')
SELECT * FROM paimonLocal('{dir}')
SELECT * FROM ytsaurus('{url}', '//x', 't', 'a Int32')
SELECT * FROM Python(settings)
SELECT * FROM python(settings)
SELECT * FROM `Python`(settings)
SELECT * FROM Python(settings) SETTINGS allow_python_table_function = 1
CREATE VIEW {db}.python AS SELECT * FROM Python(settings)
CREATE TABLE {db}.made ENGINE = Python(settings)
CREATE TABLE {db}.made (a Int32) ENGINE = URL('{url}/', 'CSV')
CREATE TABLE {db}.made (a String) ENGINE = File(LineAsString, '{file}')
CREATE TABLE {db}.made (a Int32) ENGINE = File(CSV)
CREATE TABLE {db}.made (a Int32) ENGINE = S3('{url}/bucket/k', 'CSV')
CREATE TABLE {db}.made (a Int32) ENGINE = MySQL('{host}', 'd', 't', 'u', 'p')
CREATE TABLE {db}.made (a Int32) ENGINE = PostgreSQL('{host}', 'd', 't', 'u', 'p')
CREATE TABLE {db}.made (a Int32) ENGINE = Kafka('{host}', 't', 'g', 'CSV')
CREATE TABLE {db}.made (a Int32) ENGINE = Executable('x.sh', TabSeparated)
CREATE TABLE {db}.made (a Int32) ENGINE /* x */ = /* y */ `Executable`('x.sh', TabSeparated)
CREATE TABLE {db}.made (a Int32) ENGINE ExecutablePool('x.sh', TabSeparated)
CREATE TABLE {db}.made (a Int32) ENGINE = EmbeddedRocksDB(0, '{dir}/rocks') PRIMARY KEY a
CREATE TABLE {db}.made (a Int32) ENGINE = SQLite('{file}', 't')
CREATE TABLE {db}.made (a Int32) ENGINE = Redis('{host}') PRIMARY KEY a
CREATE TABLE {db}.made (a Int32) ENGINE = FileLog('{dir}', 'CSV')
CREATE TABLE {db}.made (a Int32) ENGINE = QueryRunner
CREATE TABLE {db}.made (a Int32) ENGINE = Distributed('default', 'system', 'one')
CREATE TABLE {db}.made (a Int32) ENGINE = Loop('system', 'one')
CREATE TABLE {db}.made AS url('{url}/', 'CSV', 'a Int32')
CREATE TABLE {db}.made AS file('{file}', 'LineAsString')
CREATE TABLE {db}.made ENGINE = MergeTree ORDER BY tuple() AS SELECT * FROM file('{file}', 'LineAsString')
CREATE TABLE {db}.made (a Int32, b String DEFAULT file('{file}')) ENGINE = MergeTree ORDER BY a
CREATE TABLE {db}.made (a Int32) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = '{dir}/disk/')
CREATE TABLE {db}.made (a Int32) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = web, endpoint = '{url}/')
CREATE TABLE {db}.made (a Int32) ENGINE = MergeTree ORDER BY a SETTINGS table_disk = 1
CREATE TEMPORARY TABLE made (a Int32) ENGINE = URL('{url}/', 'CSV')
CREATE TEMPORARY TABLE made (a Int32) ENGINE = File(CSV)
ALTER TABLE {db}.kept MODIFY SETTING disk = disk(type = local, path = '{dir}/disk/')
ALTER TABLE {db}.kept MODIFY SETTING storage_policy = 'x'
ALTER TABLE {db}.kept MODIFY COLUMN s String DEFAULT file('{file}')
ALTER TABLE {db}.kept UPDATE s = file('{file}') WHERE 1
ALTER TABLE {db}.kept DELETE WHERE s = file('{file}')
ALTER TABLE {db}.kept FREEZE
ALTER TABLE {db}.kept FETCH PARTITION tuple() FROM '/x'
CREATE DATABASE ebb_made ENGINE = Filesystem('{dir}')
CREATE DATABASE ebb_made ENGINE = SQLite('{dir}/x.db')
CREATE DATABASE ebb_made ENGINE = MySQL('{host}', 'd', 'u', 'p')
CREATE DATABASE ebb_made ENGINE = PostgreSQL('{host}', 'd', 'u', 'p')
CREATE DATABASE ebb_made ENGINE = S3('{url}', 'a', 'b')
CREATE DATABASE ebb_made ENGINE = URL('{url}')
CREATE DATABASE ebb_made ENGINE = Remote('{host}', 'system')
CREATE DATABASE ebb_made ENGINE = Backup('x', File('{dir}'))
CREATE DATABASE ebb_made ENGINE = DataLakeCatalog('{url}') SETTINGS catalog_type = 'rest', warehouse = 'w'
CREATE DATABASE ebb_made ENGINE = Atomic SETTINGS disk = disk(type = local, path = '{dir}/disk/')
CREATE DATABASE another
CREATE DICTIONARY {db}.made (a UInt64) PRIMARY KEY a SOURCE(FILE(path '{file}' format 'CSV')) LAYOUT(FLAT()) LIFETIME(0)
CREATE DICTIONARY {db}.made (a UInt64) PRIMARY KEY a SOURCE(HTTP(url '{url}' format 'CSV')) LAYOUT(FLAT()) LIFETIME(0)
CREATE DICTIONARY {db}.made (a UInt64) PRIMARY KEY a SOURCE(EXECUTABLE(command 'id' format 'CSV')) LAYOUT(FLAT())
CREATE VIEW {db}.made AS SELECT * FROM file('{file}', 'LineAsString')
CREATE VIEW {db}.made AS SELECT file('{file}')
CREATE VIEW {db}.made SQL SECURITY NONE AS SELECT 1
CREATE MATERIALIZED VIEW {db}.made ENGINE = URL('{url}/', 'CSV') AS SELECT a FROM {db}.kept
CREATE MATERIALIZED VIEW {db}.made REFRESH EVERY 1 HOUR ENGINE = Memory AS SELECT * FROM url('{url}/', 'CSV', 'a Int8')
CREATE FUNCTION made AS (x) -> x
CREATE NAMED COLLECTION made AS url = '{url}'
CREATE USER made
CREATE ROLE made
GRANT ALL ON *.* TO default
ALTER USER default SETTINGS dialect = 'prql'
EXECUTE AS default SELECT 1
BACKUP TABLE {db}.kept TO File('{dir}/backup')
BACKUP TABLE {db}.kept TO Disk('default', 'backup')
RESTORE TABLE {db}.kept FROM File('{dir}/backup')
ATTACH TABLE {db}.made FROM '{dir}' (a Int32) ENGINE = MergeTree ORDER BY a
ATTACH TABLE {db}.made FROM '{dir}' (a Int32) ENGINE = File(CSV)
ATTACH TABLE {db}.made (a String) ENGINE = File(LineAsString, '{file}')
ATTACH DATABASE ebb_made ENGINE = Filesystem('{dir}')
SYSTEM SHUTDOWN
SYSTEM KILL
SYSTEM FLUSH LOGS
SYSTEM DROP MARK CACHE
SYSTEM RELOAD CONFIG
SYSTEM RELOAD DICTIONARIES
SYSTEM START LISTEN HTTP
SYSTEM ENABLE FAILPOINT x
SELECT 1 FORMAT Template SETTINGS format_template_row = '{file}'
SELECT 1 FORMAT Protobuf SETTINGS format_schema = '{file}:M'
SELECT 1 FORMAT Avro SETTINGS format_avro_schema_registry_url = '{url}'
SET format_schema = '{file}:M'
SET dialect = 'prql'
SET compatibility = '21.1'
SET default_table_engine = 'Log'
SELECT 1 SETTINGS dialect = 'kusto'
SELECT addressToLine(1) SETTINGS allow_introspection_functions = 1
SELECT aiGenerate('x')
SELECT * FROM system.users
INSERT INTO system.one VALUES (1)
CREATE TABLE system.made (a Int32) ENGINE = Memory
DROP DATABASE system
""".strip().splitlines()


@pytest.fixture
def kept(embedded: Embedded, database: Settings) -> str:
    """Name of a database with a table `kept`."""
    sql = f"CREATE TABLE {database.database}.kept (a Int32, s String) ENGINE = MergeTree ORDER BY a"
    assert post(embedded.url, content=sql, auth=embedded.auth).status_code == 200
    return database.database


def test_no_statement_leaves_the_engine(embedded: Embedded, kept: str, outside: Outside) -> None:
    passed = []
    for sql in LEAVING:
        filled = outside.fill(sql.replace("{db}", kept))
        answers = [
            post(embedded.url, content=filled, auth=embedded.auth),
            post(embedded.url, params={"query": filled}, auth=embedded.auth),
            get(embedded.url, params={"query": filled}, auth=embedded.auth),
        ]
        passed += [(sql, answer.text) for answer in answers if answer.status_code == 200 or MARK in answer.text]
        outside.assert_untouched()
    assert passed == []
    # The first of two statements is refused with the second.
    rows = post(embedded.url, content="SELECT count() FROM kept", params={"database": kept}, auth=embedded.auth)
    assert rows.text == "0\n"


SETTINGS_OF_A_URL = [
    {"dialect": "prql"},
    {"format_schema": "/etc/passwd:M"},
    {"additional_result_filter": "file('/etc/passwd') != ''"},
    {"select": "file('/etc/passwd')"},
    {"input_format_values_interpret_expressions": "1"},
]


@pytest.mark.parametrize("parameters", SETTINGS_OF_A_URL, ids=str)
def test_no_setting_of_the_url_opens_what_is_closed(embedded: Embedded, parameters: dict[str, str]) -> None:
    answer = post(embedded.url, content="SELECT 1", params=parameters, auth=embedded.auth)
    assert "452" in answer.headers["x-clickhouse-exception-code"], answer.text


def test_what_follows_the_rows_of_an_insert_is_not_run(embedded: Embedded, kept: str, outside: Outside) -> None:
    sql = outside.fill("INSERT INTO kept VALUES (1, 'a'); SELECT 1 INTO OUTFILE '{out}'")
    post(embedded.url, content=sql, params={"database": kept}, auth=embedded.auth)
    outside.assert_untouched()


def test_settings_of_a_request_do_not_blind_its_check(embedded: Embedded, outside: Outside) -> None:
    for parameters in ({"limit": "0"}, {"offset": "10"}, {"max_query_size": "10"}, {"database": "system"}):
        sql = outside.fill("SELECT file('{file}')")
        answer = post(embedded.url, content=sql, params=parameters, auth=embedded.auth)
        assert answer.headers["x-clickhouse-exception-code"] == "497"


def test_names_in_parameters_call_nothing(embedded: Embedded, outside: Outside) -> None:
    for sql in ("SELECT {f:Identifier}('{file}')", "SELECT * FROM {f:Identifier}('{file}', 'LineAsString')"):
        answer = post(embedded.url, content=outside.fill(sql), params={"param_f": "file"}, auth=embedded.auth)
        assert answer.status_code != 200


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 'file(1) INTO OUTFILE', 'it''s a file', 'engine = Executable'", "file(1) INTO OUTFILE\tit\\'s a file"),
        ("SELECT number AS url FROM numbers(1) WHERE url = 0", "0\n"),
        ("SELECT count() > 0 FROM system.tables WHERE engine = 'View' AND name != 'file'", "1\n"),
        ("-- file('x')\nSELECT 1", "1\n"),
        ("SELECT 1 AS `a\\x62`", "1\n"),
        ("SELECT url FROM (SELECT 's3(1)' AS url)", "s3(1)\n"),
    ],
)
def test_words_that_are_only_text_or_names_of_columns_pass(embedded: Embedded, sql: str, expected: str) -> None:
    answer = post(embedded.url, content=sql, auth=embedded.auth)
    assert answer.text.startswith(expected)


def test_values_are_read_as_they_are_written(embedded: Embedded, kept: str) -> None:
    sql = "INSERT INTO kept (s, a) VALUES ('file(''x''); --', -1), ('two', 2);"
    assert post(embedded.url, content=sql, params={"database": kept}, auth=embedded.auth).status_code == 200
    sql = "SELECT s FROM kept ORDER BY a FORMAT CSV"
    rows = post(embedded.url, content=sql, params={"database": kept}, auth=embedded.auth)
    assert rows.text == '"file(\'x\'); --"\n"two"\n'


# The engine's own lists: a later version must not add what nobody has looked at

HARMLESS_TEXTS = {
    "bool_false_representation", "bool_true_representation", "chdb_client_name", "column_names_for_schema_inference",
    "compression", "count_distinct_implementation", "database", "default_format", "errors_output_format",
    "exclude_materialize_skip_indexes_on_insert", "force_data_skipping_indices", "force_optimize_projection_name",
    "format", "format_csv_null_representation", "format_custom_field_delimiter", "format_custom_result_after_delimiter",
    "format_custom_result_before_delimiter", "format_custom_row_after_delimiter", "format_custom_row_before_delimiter",
    "format_custom_row_between_delimiter", "format_json_object_each_row_column_for_object_name", "format_regexp",
    "format_template_rows_between_delimiter", "format_tsv_null_representation", "http_response_headers",
    "ignore_data_skipping_indices", "input_format", "input_format_mysql_dump_table_name",
    "input_format_orc_reader_time_zone_name", "insert_deduplication_token", "log_comment", "network_compression_method",
    "output_format", "output_format_avro_codec", "output_format_avro_string_column_pattern",
    "output_format_image_terminal_mode", "output_format_orc_writer_time_zone_name",
    "output_format_pretty_grid_charset", "output_format_sql_insert_table_name", "preferred_optimize_projection_name",
    "query_cache_tag", "schema_inference_hints", "temporary_files_codec",
}  # fmt: skip


ARGUMENTS = {"viewIfPermitted": "SELECT 1 ELSE null('a Int8')"}
"""Arguments of table functions that have a syntax of their own."""


def _call(name: str) -> str:
    arguments = ARGUMENTS.get(name, "'a', 'b'")
    return f"SELECT * FROM {name}({arguments})"  # noqa: S608 - names that the engine itself lists


def _names(embedded: Embedded, sql: str) -> set[str]:
    return set(post(embedded.url, content=sql, auth=embedded.auth).text.split())


def test_every_setting_that_holds_a_text_is_fixed_or_known_to_be_harmless(embedded: Embedded) -> None:
    free = _names(
        embedded,
        "SELECT name FROM system.settings WHERE NOT readonly AND type IN "
        "('String', 'Map', 'URI', 'Dialect', 'DefaultTableEngine', 'DefaultDatabaseEngine')",
    )
    assert free - HARMLESS_TEXTS == set()


def test_every_table_function_is_allowed_by_name_or_refused(embedded: Embedded, outside: Outside) -> None:
    functions = _names(embedded, "SELECT name FROM system.table_functions")
    assert len(functions) > 80
    answered = {
        name
        for name in functions
        if name.lower() not in access.TABLE_FUNCTIONS
        and post(embedded.url, content=_call(name), auth=embedded.auth).headers.get("x-clickhouse-exception-code")
        != "497"
    }
    assert answered == set()
    outside.assert_untouched()


def test_every_table_engine_is_allowed_by_name_or_refused(embedded: Embedded, kept: str) -> None:
    engines = _names(
        embedded, "SELECT name FROM system.table_engines UNION ALL SELECT name FROM system.database_engines"
    )
    assert len(engines) > 50
    answered = {
        name
        for name in engines - access.ENGINES - access.DATABASE_ENGINES
        for sql in (f"CREATE TABLE {kept}.made (a Int8) ENGINE = {name}", f"CREATE DATABASE ebb_made ENGINE = {name}")
        if post(embedded.url, content=sql, auth=embedded.auth).headers.get("x-clickhouse-exception-code") != "497"
    }
    assert answered == set()

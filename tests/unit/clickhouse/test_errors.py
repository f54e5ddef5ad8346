"""Which failures of ClickHouse are worth waiting for."""

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from clickhouse.embedded.errors import EngineError
from clickhouse.errors import InsertRefusedError, RefusedError, is_transient, reraise
from ebb.errors import EbbError, UnavailableError
from ebb.settings import Settings


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("Error HTTPConnectionPool(...): Connection refused executing HTTP request attempt 1"),
        DatabaseError("HTTP driver received HTTP status 502, server response: Bad Gateway"),
        DatabaseError("HTTP driver received HTTP status 429"),
        DatabaseError("too many parts", code=252, name="TOO_MANY_PARTS"),
        DatabaseError("memory limit", code=241),
        DatabaseError("timeout", code=159),
    ],
)
def test_an_absent_or_busy_server_is_retryable(error: DatabaseError) -> None:
    assert is_transient(error)
    with pytest.raises(UnavailableError, match="EBB_CLICKHOUSE_URL"):
        reraise(error, Settings())


@pytest.mark.parametrize(
    "error",
    [
        DatabaseError("syntax", code=62),
        DatabaseError("no table", code=60),
        DatabaseError("HTTP driver received HTTP status 404, server response: Not Found"),
        DatabaseError("wrong password", code=516),
    ],
)
def test_a_refusal_is_final(error: DatabaseError) -> None:
    assert not is_transient(error)
    with pytest.raises(RefusedError):
        reraise(error, Settings())


def test_refusals_have_a_hint() -> None:
    with pytest.raises(RefusedError, match="migrates first"):
        reraise(DatabaseError("no database", code=81), Settings())
    with pytest.raises(RefusedError, match="EBB_CLICKHOUSE_PASSWORD"):
        reraise(DatabaseError("who are you", code=516), Settings())


def test_an_insert_refusal_names_table_and_reason_in_the_one_tree_of_errors() -> None:
    error = InsertRefusedError("events", "nulls in ['event_id'].")
    assert isinstance(error, EbbError)
    assert (error.table, error.reason) == ("events", "nulls in ['event_id'].")
    assert "events" in str(error)


@pytest.mark.parametrize(
    ("text", "code", "status"),
    [
        ("Code: 60. DB::Exception: Unknown table expression identifier 'x'. (UNKNOWN_TABLE)", 60, 404),
        ("Streaming insert append failed: Code: 27. DB::Exception: Cannot parse input. (X)", 27, 400),
        ("Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)", 241, 500),
        ("something else went wrong", 1002, 500),
    ],
)
def test_the_engines_message_becomes_the_servers_code_and_status(text: str, code: int, status: int) -> None:
    fault = EngineError.parse(RuntimeError(text))
    assert (fault.code, fault.status) == (code, status)
    assert fault.text.startswith(f"Code: {code}. DB::Exception: ")

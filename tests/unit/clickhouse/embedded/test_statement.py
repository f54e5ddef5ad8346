"""Parsing a SQL text: what the embedded server must know of it before the engine sees it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickhouse.embedded.errors import SYNTAX_ERROR, EngineError
from clickhouse.embedded.statement import StatementKind, parse


@pytest.mark.parametrize(
    ("text", "kind", "named"),
    [
        (b"SELECT 1", StatementKind.READ, None),
        (b"  -- why\n select 1 format JSON", StatementKind.READ, "JSON"),
        (b"/* FORMAT CSV */ SELECT 1", StatementKind.READ, None),
        (b"WITH 1 AS x SELECT x FORMAT Native", StatementKind.READ, "Native"),
        (b"(SELECT 1)", StatementKind.READ, None),
        (b"SELECT 'a FORMAT b', `format`, format('{}', 'x')", StatementKind.READ, None),
        (b"SELECT 1 SETTINGS max_threads = 1 FORMAT TSV", StatementKind.READ, "TSV"),
        (b"SHOW TABLES", StatementKind.OTHER, None),
        (b"CREATE TABLE t (a Int8) ENGINE = Memory", StatementKind.OTHER, None),
        (b"INSERT INTO t SELECT 1", StatementKind.OTHER, None),
        (b"INSERT INTO t (a) WITH 1 AS x SELECT x", StatementKind.OTHER, None),
        (b"SELECT 1;", StatementKind.READ, None),
        (b"SELECT ';'", StatementKind.READ, None),
        (b"", StatementKind.OTHER, None),
    ],
)
def test_kind_and_format_are_read_from_the_words_of_the_statement(
    text: bytes, kind: StatementKind, named: str | None
) -> None:
    statement = parse(text)
    assert (statement.kind, statement.format) == (kind, named)
    assert statement.sql == text


def test_an_insert_is_split_from_its_rows_at_the_end_of_the_format_line() -> None:
    text = b"INSERT INTO `FORMAT x` (`a`, b) SETTINGS async_insert = 0 FORMAT ArrowStream\n\xff\xff SELECT ; FORMAT CSV"
    statement = parse(text)
    assert statement.kind is StatementKind.INSERT_DATA
    assert statement.format == "ArrowStream"
    assert statement.sql == b"INSERT INTO `FORMAT x` (`a`, b) "
    assert statement.settings == b"SETTINGS async_insert = 0 "
    assert statement.rows == b"\xff\xff SELECT ; FORMAT CSV"


@given(st.binary(max_size=200))
def test_no_byte_of_the_rows_is_parsed_as_the_statement(rows: bytes) -> None:
    text = b"INSERT INTO t FORMAT RowBinary\n" + rows
    statement = parse(text)
    assert statement.rows == rows


@given(st.text(max_size=200))
def test_quoted_text_never_changes_what_a_statement_is(text: str) -> None:
    quoted = "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    statement = parse(f"SELECT {quoted} FORMAT JSON".encode())
    assert (statement.kind, statement.format) == (StatementKind.READ, "JSON")


@pytest.mark.parametrize("text", [b"SELECT 1; SELECT 2", b"DROP TABLE a; DROP TABLE b;"])
def test_several_statements_in_one_request_are_refused_as_by_the_server(text: bytes) -> None:
    with pytest.raises(EngineError, match="Multi-statements") as caught:
        parse(text)
    assert (caught.value.code, caught.value.status) == (SYNTAX_ERROR, 400)


def test_values_are_rows_like_those_of_any_format() -> None:
    statement = parse(b"INSERT INTO t (a) SETTINGS max_threads = 1 VALUES (1); SELECT 2")
    assert statement.kind is StatementKind.INSERT_DATA
    assert (statement.format, statement.rows) == ("Values", b" (1); SELECT 2")
    assert statement.sql == b"INSERT INTO t (a) "
    assert statement.settings == b"SETTINGS max_threads = 1 "


def test_a_second_statement_is_seen_behind_an_insert_and_behind_a_heredoc() -> None:
    for text in (b"INSERT INTO t SELECT 1; SELECT 2", b"SELECT $a$'$a$; SELECT 2 -- '"):
        with pytest.raises(EngineError, match="Multi-statements"):
            parse(text)
    assert parse(b"SELECT $$a; b$$").kind is StatementKind.READ

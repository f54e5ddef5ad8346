"""Which statements the engine is asked about, and what its canonical form may not hold."""

import pytest

from clickhouse.embedded.errors import ACCESS_DENIED, SUPPORT_IS_DISABLED, EngineError
from clickhouse.embedded.vetting import Vetting

VETTING = Vetting(["file", "url", "numbers", "values", "Python"])


def _never(_: bytes) -> str:
    message = "the engine was asked"
    raise AssertionError(message)


@pytest.mark.parametrize(
    "sql",
    [
        b"SELECT customer_id, profile, filed FROM ebb.events FINAL WHERE name = 'it\\'s' LIMIT 10",
        b"INSERT INTO `ebb`.`events` (`a`, `b`) FORMAT Native",
        b"SELECT * FROM numbers(10)",
        b"ALTER TABLE ebb.events DELETE WHERE customer_id IN ('a', 'b')",
    ],
)
def test_statements_without_a_word_that_matters_cost_nothing_more(sql: bytes) -> None:
    VETTING.check(sql, _never)


@pytest.mark.parametrize(
    ("sql", "canonical", "code"),
    [
        (b"select FILE('x')", "SELECT FILE('x')", ACCESS_DENIED),
        (b"select `\\x66ile`('x')", "SELECT file('x')", ACCESS_DENIED),
        (b"select * apply file", "SELECT * APPLY file", ACCESS_DENIED),
        (b"select * from url('x')", "SELECT *\nFROM url('x')", ACCESS_DENIED),
        (b"select * from `url` ('x')", "SELECT *\nFROM `url`('x')", ACCESS_DENIED),
        (b"select 1 into outfile 'x'", "SELECT 1\nINTO OUTFILE 'x'", SUPPORT_IS_DISABLED),
        (b"create table t (a Int8) engine Log", "CREATE TABLE t (`a` Int8) ENGINE = Log", ACCESS_DENIED),
    ],
)
def test_what_leaves_the_engine_is_refused_in_its_canonical_form(sql: bytes, canonical: str, code: int) -> None:
    with pytest.raises(EngineError) as caught:
        VETTING.check(sql, lambda _: canonical)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("sql", "canonical"),
    [
        (b"select 'file(1)', \"url\"", "SELECT 'file(1)', url"),
        (b"select 'a\\'file', url", "SELECT 'a\\'file', url"),
        (b"create table t (a Int8) engine Memory", "CREATE TABLE t (`a` Int8) ENGINE = Memory"),
        (b"select 1 where engine = 'File'", "SELECT 1 WHERE engine = 'File'"),
    ],
)
def test_text_and_names_of_columns_pass(sql: bytes, canonical: str) -> None:
    assert VETTING.is_suspect(sql)
    VETTING.check(sql, lambda _: canonical)

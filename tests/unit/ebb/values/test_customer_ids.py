"""A customer is one customer, however a program writes the id; and nobody is none."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebb.errors import InvalidEventError
from ebb.values.customer_ids import NO_CUSTOMERS, read_customer_id


def reason(value: Any) -> str:
    with pytest.raises(InvalidEventError) as caught:
        read_customer_id(value, field="userId")
    assert "`userId`" in caught.value.what
    assert "\n" not in caught.value.what
    caught.value.what.encode()
    return caught.value.reason


@pytest.mark.parametrize(
    "value",
    [17850, 17850.0, Decimal("17850.00"), "17850", "17850 ", "\t17850\n", "\ufeff17850", "\u00a017850", "17850.0"],
)
def test_a_number_is_one_customer_however_it_is_written(value: Any) -> None:
    assert read_customer_id(value) == "17850"


@given(st.integers(min_value=1, max_value=10**200))
def test_whole_numbers_of_any_length_keep_their_digits(number: int) -> None:
    assert read_customer_id(number + 1) == str(number + 1)


@pytest.mark.parametrize(
    "text", ["17850.00", "007.0", "007", "1.5", "12345678901234567.0", "AbC", "1e10", "5E4", "c-1", "Zoë", "a b", "x.0"]
)
def test_any_other_text_stays_as_it_is(text: str) -> None:
    assert read_customer_id(text) == text


@pytest.mark.parametrize("value", [1.2345678901234568e22, 2.0**53, "1.23457E+22", "1e+22", "-1.5E+15"])
def test_number_that_has_lost_its_digits_is_refused(value: Any) -> None:
    assert reason(value) == "inexact_id"


@pytest.mark.parametrize(
    "text", [*NO_CUSTOMERS, "NULL", "None", "NaN", "[object Object]", " undefined ", "0.0", "-0.0"]
)
def test_what_programs_send_for_nobody_is_no_customer(text: str) -> None:
    assert reason(text) == "no_customer"


@pytest.mark.parametrize("value", [None, "", "  ", "\u200b", "\ufeff \u00a0", float("nan"), 0, 0.0, -1])
def test_nothing_is_no_customer(value: Any) -> None:
    assert reason(value) == "no_customer"


@pytest.mark.parametrize(
    "value",
    [
        True, False, [], {}, ["a"], 17850.5, float("inf"), Decimal("1.5"), Decimal("1e999999"), 10**256, b"a",
        "a\nb", "a\x00b", "a\x1b[31m", "\ud800", "a\u2028b", "x" * 257,
    ],
)  # fmt: skip
def test_what_is_no_id_is_refused_by_its_type(value: Any) -> None:
    assert reason(value) == "wrong_type"


def test_number_of_thousands_of_digits_is_refused_unwritten() -> None:
    assert reason(10**5000) == "wrong_type"


def test_the_list_of_nobody_is_the_callers() -> None:
    assert read_customer_id("guest", nobody=frozenset()) == "guest"
    with pytest.raises(InvalidEventError, match="EBB_NO_CUSTOMERS"):
        read_customer_id("Test User", nobody=frozenset({"test user"}))


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.text(st.characters()) | st.binary())
def test_any_value_is_an_id_that_can_be_kept_or_is_refused(value: Any) -> None:
    try:
        text = read_customer_id(value)
    except InvalidEventError as error:
        error.what.encode()
        return
    assert 1 <= len(text) <= 256
    text.encode()
    assert read_customer_id(text) == text, "what was read once is not read otherwise again"

"""Amounts as shops and programs write them; what two readers would read differently is refused."""

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebb.errors import InvalidEventError
from ebb.values.numbers import read_number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (49.9, 49.9), (49, 49.0), (Decimal("49.90"), 49.9), ("49.90", 49.9), (" 49.90\n", 49.9), ("-5", -5.0),
        ("+5.", 5.0), (".5", 0.5), ("1e3", 1000.0), ("4.99E1", 49.9), ("1.249", 1.249),
        ("49,90", 49.9), ("0,125", 0.125), (",5", 0.5), ("1249,500", 1249.5), ("12,5", 12.5),
        ("1,249.50", 1249.5), ("1.249,50", 1249.5), ("1,249,500", 1249500.0), ("1.249.500", 1249500.0),
        ("12,34,567.50", 1234567.5), ("1'249.50", 1249.5), ("1\u2019249.50", 1249.5), ("1 249,50", 1249.5),
        ("1\u00a0249,50", 1249.5), ("1\u202f249,50", 1249.5), ("1 249", 1249.0),
        ("$49.90", 49.9), ("49,90 €", 49.9), ("EUR 49,90", 49.9), ("49.90USD", 49.9), ("US$49.90", 49.9),
        ("$49.90 USD", 49.9), ("£1,249.50", 1249.5), ("1.249,50 zł", 1249.5), ("CHF 1'249.50", 1249.5),
        ("kr. 49,90", 49.9), ("-$5", -5.0), ("$-5", -5.0), ("\u22125", -5.0), ("($49.90)", -49.9),
        ("(1.249,50)", -1249.5),
        ("\u0664\u0669", 49.0), ("\u0664\u0669\u066b\u0669\u0660", 49.9), ("\uff14\uff19", 49.0),
    ],
)  # fmt: skip
def test_number_that_can_only_mean_one_thing_is_read(value: Any, number: float) -> None:
    assert read_number("revenue", value) == pytest.approx(number, rel=1e-15)


@pytest.mark.parametrize("value", [None, "", "  ", "\ufeff"])
def test_nothing_is_no_number(value: Any) -> None:
    assert read_number("revenue", value) is None


@pytest.mark.parametrize(
    "value",
    [
        True, False, "true", "NaN", "nan", "inf", "-Infinity", float("nan"), float("inf"), Decimal("NaN"), 10**400,
        "1e999", "1_000", "0x10", "12 %", "free", "49.90 and more", "1,24.50", "1.24.50", "1 2", "12 50", "--5",
        "$--5", "-$-5", "(-5)", "()", "$", "EUR", "12 PCS", "INF 5", "1,,5", "1.,5", "5-", "\u0664\uff19", "4\u0669",
        [], {}, [49.9], b"5", "9" * 5000, "1," * 5000, "\ud800",
    ],
)  # fmt: skip
def test_anything_else_is_refused_by_the_fields_name(value: Any) -> None:
    with pytest.raises(InvalidEventError, match=r"`properties\.revenue`") as caught:
        read_number("properties.revenue", value)
    assert caught.value.reason == "wrong_type"
    caught.value.what.encode()


@pytest.mark.parametrize("text", ["1,249", "12,500", "999,000", "$1,249", "-1,249", "1,249 €"])
def test_a_comma_that_may_be_either_mark_is_refused_with_both_readings(text: str) -> None:
    with pytest.raises(InvalidEventError) as caught:
        read_number("amount", text)
    bare = text.strip("$-€ ")
    assert bare.replace(",", "") in caught.value.what
    assert bare.replace(",", ".") in caught.value.what


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [
        ("1,249", ".", 1249.0),
        ("1,249", ",", 1.249),
        ("1.249", ",", 1249.0),
        ("1.249", ".", 1.249),
        ("49,90", ",", 49.9),
    ],
)
def test_a_known_decimal_mark_settles_it(text: str, decimal: Any, number: float) -> None:
    assert read_number("amount", text, decimal=decimal) == number


@pytest.mark.parametrize(("text", "decimal"), [("49.90", ","), ("49,90", "."), ("1.249.50", ",")])
def test_what_contradicts_the_known_mark_is_refused(text: str, decimal: Any) -> None:
    with pytest.raises(InvalidEventError):
        read_number("amount", text, decimal=decimal)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**300), 10**300))
def test_number_written_by_a_program_is_read_back(number: float) -> None:
    assert read_number("amount", number) == float(number)
    assert read_number("amount", repr(number)) == float(number)


@given(st.integers(0, 10**11), st.sampled_from([(",", "."), (".", ","), ("'", "."), (" ", ","), ("\u202f", ",")]))
def test_cents_with_marks_of_any_country_are_read(cents: int, marks: tuple[str, str]) -> None:
    thousands, point = marks
    text = f"{cents // 100:,}".replace(",", thousands) + f"{point}{cents % 100:02}"
    assert read_number("amount", text) == pytest.approx(cents / 100)


@given(st.text(max_size=30) | st.text("0123456789.,'+-eE $€()_ ", max_size=20), st.sampled_from([None, ".", ","]))
def test_any_text_is_a_finite_number_nothing_or_refused(text: str, decimal: Any) -> None:
    try:
        number = read_number("amount", text, decimal=decimal)
    except InvalidEventError as error:
        error.what.encode()
        return
    assert number is None or math.isfinite(number)

"""Times as programs write them; a number is one in one unit only, or none."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebb.errors import InvalidEventError
from ebb.values.times import END_SECOND, FIRST_SECOND, UNITS, read_time

MOMENT = datetime(2026, 3, 1, 14, 5, 31, 250_000, tzinfo=UTC)
MOMENT_US = 1_772_373_931_250_000


def refusal(value: Any) -> InvalidEventError:
    with pytest.raises(InvalidEventError, match="`timestamp`") as caught:
        read_time("timestamp", value)
    caught.value.what.encode()
    return caught.value


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-01T14:05:31.250Z", "2026-03-01t14:05:31.250z", "2026-03-01 14:05:31.25+00:00", "20260301T140531.250Z",
        "2026-03-01T15:05:31.250+01:00", "2026-03-01T15:05:31.250+0100", "2026-03-01 15:05:31,250 +01",
        "2026-03-01 14:05:31.250 UTC", "2026-03-01 14:05:31.250000000 GMT", " 2026-03-01T14:05:31.250Z ",
        "\ufeff2026-03-01T14:05:31.250Z", "2026-W09-7T14:05:31.250Z",
        1_772_373_931.25, 1_772_373_931_250, 1_772_373_931_250_000, 1_772_373_931_250_000_000,
        "1772373931.25", "1772373931250", "1772373931250000", "1772373931250000000",
        MOMENT, MOMENT.astimezone(timezone(timedelta(hours=-5))),
    ],
)  # fmt: skip
def test_a_moment_is_the_same_in_every_form(value: Any) -> None:
    assert read_time("timestamp", value) == MOMENT_US


@pytest.mark.parametrize("value", [None, "", " "])
def test_nothing_is_no_time(value: Any) -> None:
    assert read_time("timestamp", value) is None


def test_a_date_is_its_midnight_in_the_zone_that_is_stated() -> None:
    midnight = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * 1_000_000
    for value in ("2026-03-01", "20260301", date(2026, 3, 1)):
        assert read_time("timestamp", value, zone=UTC) == midnight
        assert read_time("timestamp", value, zone=ZoneInfo("Europe/Berlin")) == midnight - 3_600_000_000
        assert refusal(value).reason == "naive_time"


@pytest.mark.parametrize(
    ("value", "readings"),
    [
        (46082, ["2026-03-01 00:00 as a spreadsheet's", "1970-01-01 12:48 as Unix seconds"]),
        (46082.5871, ["2026-03-01 14:05 as a spreadsheet's"]),
        ("46082", ["2026-03-01 00:00 as a spreadsheet's"]),
        (20260301, ["2026-03-01 00:00 by its digits", "1970-08-23 11:51 as Unix seconds"]),
        (20260301140531, ["2026-03-01 14:05 by its digits"]),
        (202603011405, ["2026-03-01 14:05 by its digits"]),
        (2026, ["1905-07-18 00:00 as a spreadsheet's"]),
    ],
)
def test_number_that_is_no_unix_time_is_refused_with_what_it_may_be(value: Any, readings: list[str]) -> None:
    refused = refusal(value)
    assert refused.reason == "bad_time"
    assert [reading for reading in readings if reading not in refused.what] == []


@pytest.mark.parametrize(
    "value",
    [
        True, False, [], {}, b"x", 0, -1, -1_772_373_931, 10**30, float("nan"), float("inf"), "soon",
        "2026-13-01",
        "2026-03-01x14:05:31Z", "2026-03-01T14:05:31Z and", "99999999", "٢٠٢٦-03-01T14:05:31Z", "2026-03-01T25:00Z",
        "\ud800", "9" * 5000, "1" * 41,
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(value: Any) -> None:
    assert refusal(value).reason == "bad_time"


def test_number_of_thousands_of_digits_is_refused_unwritten() -> None:
    assert refusal(10**5000).reason == "bad_time"


@pytest.mark.parametrize("value", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59Z"])
def test_time_before_1970_is_far_past(value: str) -> None:
    assert refusal(value).reason == "far_past"


@given(st.integers(FIRST_SECOND * 10**9, END_SECOND * 10**9 - 1), st.sampled_from(UNITS))
def test_every_moment_of_sense_is_read_in_its_unit(nanoseconds: int, unit: int) -> None:
    count = nanoseconds * unit // 10**9
    assert read_time("timestamp", count) == count * 1_000_000 // unit
    assert read_time("timestamp", str(count)) == count * 1_000_000 // unit


@given(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.text("0123456789-:TZtz+. ", max_size=30)
)
def test_any_value_is_a_time_nothing_or_refused(value: Any) -> None:
    try:
        moment = read_time("timestamp", value)
    except InvalidEventError as error:
        error.what.encode()
        return
    assert moment is None or 0 <= moment < 253_402_387_200_000_000

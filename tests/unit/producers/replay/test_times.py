"""Times of recorded logs: read in many forms, never guessed."""

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ebb.errors import InvalidEventError, SourceError
from producers.replay.log import ReadOptions
from producers.replay.times import TimeReader, moment, zone_named

NOON = datetime(2011, 12, 9, 12, 0, tzinfo=UTC)
NOON_US = int(NOON.timestamp()) * 1_000_000


def microseconds(value: Any, zone: tzinfo | None, pattern: str | None = None, **options: Any) -> int:
    return TimeReader("at", zone, ReadOptions(time_format=pattern, **options)).read(value)


@pytest.mark.parametrize(
    "value",
    [
        NOON,
        NOON.astimezone(timezone(timedelta(hours=-5))),
        "2011-12-09T12:00:00Z",
        "2011-12-09 13:00:00+01:00",
        " 20111209T120000Z ",
        NOON.timestamp(),
        int(NOON.timestamp()),
        str(int(NOON.timestamp())),
        f"{NOON.timestamp():.3f}",
    ],
)
def test_a_moment_with_a_zone_is_the_same_in_every_form(value: Any) -> None:
    assert microseconds(value, None) == NOON_US
    assert microseconds(value, ZoneInfo("Asia/Tokyo")) == NOON_US


@pytest.mark.parametrize("value", [datetime(2011, 12, 9, 12), "2011-12-09 12:00", "20111209T12"])  # noqa: DTZ001
def test_a_time_without_a_zone_is_refused_unless_the_zone_is_stated(value: Any) -> None:
    with pytest.raises(InvalidEventError) as refused:
        microseconds(value, None)
    assert refused.value.reason == "naive_time"
    assert microseconds(value, ZoneInfo("UTC")) == NOON_US
    assert microseconds(value, ZoneInfo("Europe/Berlin")) == NOON_US - 3_600_000_000


def test_a_date_is_its_midnight() -> None:
    midnight = NOON_US - 12 * 3_600_000_000
    assert microseconds(date(2011, 12, 9), ZoneInfo("UTC")) == midnight
    assert microseconds("20111209", ZoneInfo("UTC")) == midnight


def test_microseconds_are_kept() -> None:
    value = NOON + timedelta(microseconds=123_457)
    assert moment(microseconds(value, None)) == value
    assert moment(microseconds(value.isoformat(), None)) == value


@pytest.mark.parametrize(
    "value", ["soon", "2011-13-09T00:00Z", True, [1], {"a": 1}, 1.6e20, -5, float("inf"), "1_500_000_000"]
)
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(InvalidEventError) as refused:
        microseconds(value, ZoneInfo("UTC"))
    assert refused.value.reason == "bad_time"


@pytest.mark.parametrize("value", [None, "", " ", "NULL", "NaT", "nan", float("nan")])
def test_no_time_is_a_missing_field(value: Any) -> None:
    with pytest.raises(InvalidEventError) as refused:
        microseconds(value, ZoneInfo("UTC"))
    assert refused.value.reason == "missing_field"


def test_another_way_of_writing_may_be_stated() -> None:
    assert microseconds("12/9/2011 12:00", ZoneInfo("UTC"), "%m/%d/%Y %H:%M") == NOON_US
    with pytest.raises(InvalidEventError, match="is not a time written as"):
        microseconds("2011-12-09T12:00:00Z", None, "%m/%d/%Y %H:%M")


def test_a_zone_that_does_not_exist_is_named() -> None:
    assert zone_named(None) is None
    with pytest.raises(SourceError, match="Mars/Olympus"):
        zone_named("Mars/Olympus")

"""Times of recorded logs as microseconds since 1970, UTC; without a zone they are refused unless one is stated."""

from datetime import UTC, date, datetime, timedelta, tzinfo
from datetime import time as time_of_day
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ebb.errors import InvalidEventError, SourceError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SECOND_US = 1_000_000


def zone_named(name: str | None) -> tzinfo | None:
    """Return a time zone by its IANA name; None stays None.

    Raises
    ------
    SourceError
        If there is none of that name.
    """
    if name is None:
        return None
    if name == "UTC":
        return UTC  # known where no time zone database is installed
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        what = f"There is no time zone {name!r}."
        raise SourceError(what, "Give an IANA name, such as UTC or Europe/Berlin.") from error


def microseconds(value: Any, zone: tzinfo | None, pattern: str | None = None) -> int:
    """Return a time of a log in microseconds since 1970, UTC.

    Parameters
    ----------
    value
        A datetime, a date (its midnight), text in ISO 8601, or a number (Unix seconds), also as text.
    zone
        Zone of times that state none.
    pattern
        How times that are text are written (`strptime`); None: ISO 8601 or Unix seconds.

    Raises
    ------
    InvalidEventError
        With reason `missing_field`, `bad_time` or `naive_time`.
    """
    if value is None or value == "":
        raise InvalidEventError(reason="missing_field", what="The row has no time.")
    if isinstance(value, str):
        value = _read(value.strip(), pattern)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _from_unix(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time_of_day())
    if not isinstance(value, datetime):
        raise InvalidEventError(reason="bad_time", what=f"{value!r:.80} is not a time.")
    if value.tzinfo is None:
        if zone is None:
            raise InvalidEventError(reason="naive_time", what=f"{value} states no time zone.")
        value = value.replace(tzinfo=zone)
    since: timedelta = value - EPOCH
    return since // MICROSECOND


def moment(us: int) -> datetime:
    """Return microseconds since 1970 as an aware UTC time."""
    return EPOCH + timedelta(microseconds=us)


def _read(text: str, pattern: str | None) -> datetime | float:
    try:
        if pattern is not None:
            return datetime.strptime(text, pattern)  # noqa: DTZ007 - the caller states or refuses the zone
        # Eight digits are a date; more are seconds.
        if len(text) > 8 and text.isascii() and text.replace(".", "", 1).isdigit():
            return float(text)
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidEventError(reason="bad_time", what=f"{text[:80]!r} is not a time.") from None


def _from_unix(seconds: float) -> int:
    # From 0 to 9999: beyond it the value is in other units (milliseconds), or nonsense.
    if not 0 <= seconds < 253_402_300_800:
        what = f"{seconds} is not a Unix time in seconds."
        raise InvalidEventError(reason="bad_time", what=what)
    return round(seconds * SECOND_US)

"""A time as programs write it → microseconds since 1970 (UTC), or a refusal that names the field."""

import contextlib
import math
import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from datetime import time as time_of_day
from decimal import Decimal

from ebb.errors import InvalidEventError
from ebb.values.customer_ids import INVISIBLE
from ebb.values.messages import shown

FIRST_SECOND = 315_532_800
"""1980-01-01, from which on a number can be a time. Excel's serial dates and `20260101` lie below it."""
END_SECOND = 4_102_444_800
"""2100-01-01, from which on a number is no time in seconds."""
UNITS = (1, 1_000, 1_000_000, 1_000_000_000)
"""Seconds, milliseconds, microseconds, nanoseconds: how many make a second. The years 1980 to 2099 in one of them do
not meet those in another."""
SECOND_US = 1_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHEET_EPOCH = datetime(1899, 12, 30, tzinfo=UTC)
"""Day 0 of spreadsheets' serial dates."""
_LAST_SHEET_DAY = 73_050
"""The end of 2099 as a spreadsheet's serial date."""
_MICROSECOND = timedelta(microseconds=1)
_DATE_DIGITS = 8
_WRITTEN_DIGITS = {_DATE_DIGITS, 12, 14}
"""Digits of a date, with hours and minutes, with seconds, as one number."""
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}|[0-9]{4}-?W[0-9]{2}(?:-?[0-9])?)"
    r"(?:[Tt ]([0-9:]+(?:[.,][0-9]+)?) ?([Zz]|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)?)?",
    re.ASCII,
)
_NUMERAL = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{0,40})?", re.ASCII)


def read_time(field: str, value: object, *, zone: tzinfo | None = None) -> int | None:
    """Return a time in microseconds since 1970 (UTC), None if there is none (null, a blank text).

    Text is ISO 8601 (also with a blank for the `T`, small `t` and `z`, `UTC` or `GMT` for the zone), or a number. A
    number, also as text, is a Unix time in seconds, milliseconds, microseconds or nanoseconds: whichever of them lies
    in the years 1980 to 2099. No two ever do.

    Parameters
    ----------
    value
        As JSON or a table gave it: text, a number, a datetime, or a date (its midnight).
    field
        The field's name, for the message.
    zone
        Zone of times that state none; None refuses them.

    Raises
    ------
    InvalidEventError
        With reason `bad_time` if it cannot be read or is a number outside those years, such as a spreadsheet's 46082
        and 20260301; `naive_time` if it states no zone; `far_past` if it is before 1970.
    """
    moment: datetime | None = None
    match value:
        case None:
            return None
        case int() | float() | Decimal() if not isinstance(value, bool):
            return _from_number(field, value)
        case datetime():
            moment = value
        case date():
            moment = datetime.combine(value, time_of_day())
        case str():
            moment = _at_once(value)
            text = "" if moment else value.strip().strip(INVISIBLE).strip()
            if not (text or moment):
                return None
            # Eight digits are a date in the basic form of ISO 8601.
            if moment is None and len(text) != _DATE_DIGITS and _NUMERAL.fullmatch(text):
                return _from_number(field, int(text) if "." not in text else Decimal(text))
            moment = moment or _from_iso(text)
    if moment is None:
        what = f"`{field}` is {shown(value)}, which is no time; write times as 2026-03-01T14:05:31.250Z."
        raise InvalidEventError(reason="bad_time", what=what, field=field)
    if moment.tzinfo is None:
        if zone is None:
            what = f"`{field}` is {shown(value)}, which states no time zone; end it with Z or an offset such as +01:00."
            raise InvalidEventError(reason="naive_time", what=what, field=field)
        moment = moment.replace(tzinfo=zone)
    since: timedelta = moment - _EPOCH
    if since < timedelta(0):
        raise InvalidEventError(
            reason="far_past", what=f"`{field}` is {shown(value)}, which is before 1970.", field=field
        )
    return since // _MICROSECOND


def _at_once(text: str) -> datetime | None:
    """Read a time as most are written, at once; None for any other."""
    if text[10:11] != "T" or text[-1] != "Z":
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _from_iso(text: str) -> datetime | None:
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    day, clock, zone = found.groups()
    offset = "" if zone is None else zone if zone[0] in "+-" else "+00:00"
    try:
        return datetime.fromisoformat(day if clock is None else f"{day}T{clock}{offset}")
    except ValueError:
        return None


def _from_number(field: str, value: float | Decimal) -> int:
    if isinstance(value, int) or math.isfinite(value):
        for unit in UNITS:
            if FIRST_SECOND * unit <= value < END_SECOND * unit:
                whole = isinstance(value, int)
                return int(value) * SECOND_US // unit if whole else round(Decimal(value) * SECOND_US / unit)
    readings = _readings(value)
    aside = f": it may be {' or '.join(readings)}" if readings else ""
    what = (
        f"`{field}` is {shown(value)}, which is no Unix time of the years 1980 to 2099{aside}. "
        "Write times as 2026-03-01T14:05:31.250Z."
    )
    raise InvalidEventError(reason="bad_time", what=what, field=field)


def _readings(value: float | Decimal) -> list[str]:
    """Return what a number that is no Unix time may be, in words."""
    readings: list[str] = []
    if not 0 < value < 10 ** max(_WRITTEN_DIGITS):
        return readings
    if value < _LAST_SHEET_DAY:
        moment = _SHEET_EPOCH + timedelta(days=float(value))
        readings.append(f"{moment:%Y-%m-%d %H:%M} as a spreadsheet's serial date")
    digits = str(int(value))
    if len(digits) in _WRITTEN_DIGITS:
        with contextlib.suppress(ValueError):
            moment = datetime.strptime(f"{digits:0<14}+0000", "%Y%m%d%H%M%S%z")
            readings.append(f"{moment:%Y-%m-%d %H:%M} by its digits")
    if value < FIRST_SECOND:
        moment = _EPOCH + timedelta(seconds=int(value))
        readings.append(f"{moment:%Y-%m-%d %H:%M} as Unix seconds")
    return readings

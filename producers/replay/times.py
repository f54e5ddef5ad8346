"""Times of recorded logs as microseconds since 1970, UTC; without a zone they are refused unless one is stated."""

import math
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa
import pyarrow.compute as pc

from ebb.errors import InvalidEventError, SourceError
from ebb.values.messages import shown
from ebb.values.times import END_SECOND, SECOND_US, read_time
from producers.replay.canonical import NO_NUMBER, trimmed
from producers.replay.log import DateOrder, Ints, ReadOptions, TimeUnit, printable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHEET_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - a spreadsheet's days have no zone
_UNITS: dict[TimeUnit, int] = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
UNIT_WORDS: dict[TimeUnit, str] = {
    "s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", "excel": "a spreadsheet's days"
}  # fmt: skip
_YEAR_10000 = 253_402_300_800
_FIRST_DATE, _LAST_DATE = 19_700_101, 21_001_231
_NUMERAL = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{0,30})?", re.ASCII)
_NATIONAL = re.compile(
    r"(?P<a>[0-9]{1,4})(?P<sep>[./-])(?P<b>[0-9]{1,2})(?P=sep)(?P<c>[0-9]{2,4})"
    r"(?:(?:,? +|T)(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?)?(?: ?(?P<zone>[Zz]|UTC|GMT|[+-][0-9]{2}:?[0-9]{2}))?",
    re.ASCII,
)
_MANY_NAIVE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?$"
_MANY_UTC = rf"{_MANY_NAIVE[:-1]}(?:Z|\+00:00)$"
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
ORDERS: dict[DateOrder, str] = {"dmy": "day/month/year", "mdy": "month/day/year", "ymd": "year/month/day"}


class DoubtfulDateError(InvalidEventError):
    """A date that may be read in two ways."""


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
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        what = f"There is no time zone {name!r}."
        raise SourceError(what, "Give an IANA name, such as UTC or Europe/Berlin.") from error


def moment(us: int) -> datetime:
    """Return microseconds since 1970 as an aware UTC time."""
    return EPOCH + timedelta(microseconds=us)


class TimeReader:
    """Reads the times of one column, and learns from them in which order its dates are written.

    Parameters
    ----------
    column
        Its name, for messages.
    zone
        Zone of times that state none; None refuses them.
    """

    def __init__(self, column: str, zone: tzinfo | None, options: ReadOptions) -> None:
        self._column = printable(column)
        self._zone = zone
        self._pattern = options.time_format
        self._unit = options.unit
        self.order = options.dates
        """Order of dates that could be read in two; None: not known."""
        self.unit = options.unit
        """What the first number counts, by its size if it was not told; None: no time is a number."""
        self._pointed = False
        self.certain: dict[DateOrder, str] = {}
        """Order → a date that can be read in it alone."""

    def read(self, value: Any) -> int:
        """Return a time in microseconds since 1970, UTC.

        Raises
        ------
        DoubtfulDateError
            If it is a date that may be read in two orders and `order` is not known.
        InvalidEventError
            With reason `missing_field`, `bad_time`, `naive_time` or `far_past`.
        """
        if isinstance(value, str):
            value = trimmed(value)
            if value in NO_NUMBER:
                value = None
            elif self._pattern is not None:
                value = self._by_pattern(value, self._pattern)
            elif ("/" in value or "." in value or "-" in value[:5]) and not value[4:5] == "-" == value[7:8]:
                value = self._national(value)
        elif isinstance(value, bytes):
            with suppress(UnicodeDecodeError):
                return self.read(value.decode())
        if value is None or (isinstance(value, (float, Decimal)) and math.isnan(value)):
            raise InvalidEventError(reason="missing_field", what="The row has no time.")
        value = self._number(value)
        try:
            found = read_time(self._column, value, zone=self._zone)
        except OverflowError:
            raise self._refused(value, "is no time") from None
        if found is None:
            raise InvalidEventError(reason="missing_field", what="The row has no time.")
        return found

    def read_block(self, values: list[Any]) -> Ints | None:
        """Return many times at once, None if they must be read one by one: what `read` returns for each.

        Only what most logs hold: text in ISO 8601 with a time of day, all in UTC or all without a zone.
        """
        if self._pattern is not None or set(map(type, values)) != {str}:
            return None
        texts = pa.array(values, pa.string())
        for pattern, zoned in ((_MANY_NAIVE, False), (_MANY_UTC, True)):
            if not zoned and self._zone is not UTC:
                continue
            if pc.all(pc.match_substring_regex(texts, pattern)).as_py():
                try:
                    times = texts.cast(pa.timestamp("us", "UTC" if zoned else None)).cast(pa.int64())
                except pa.ArrowInvalid:
                    return None
                numbers: Ints = times.to_numpy(zero_copy_only=False)
                return None if numbers.min() < 0 else numbers
        return None

    def words(self) -> list[str]:
        """Return how times are written, for people; empty if they are ISO 8601 or Unix seconds."""
        orders = dict.fromkeys([*([self.order] if self.order else []), *self.certain])
        words = [f"dates {ORDERS[order]}" for order in orders]
        if self._pointed:
            words.append("dates day.month.year")
        if self.unit not in {None, "s"}:
            words.append(f"times in {UNIT_WORDS[self.unit]}")
        return words

    def _refused(self, value: object, why: str) -> InvalidEventError:
        return InvalidEventError(reason="bad_time", what=f"`{self._column}` is {shown(value)}, which {why}.")

    def _by_pattern(self, text: str, pattern: str) -> datetime:
        try:
            return datetime.strptime(text, pattern)  # noqa: DTZ007 - the caller states or refuses the zone
        except ValueError:
            raise self._refused(text, f"is not a time written as {pattern}") from None

    def _number(self, value: Any) -> Any:
        """Return a number as the time that it is by its unit or its digits, anything else as it is."""
        counted = value
        if isinstance(value, str) and _NUMERAL.fullmatch(value):
            counted = Decimal(value)
        if isinstance(counted, bool) or not isinstance(counted, (int, float, Decimal)):
            return value
        if self._unit is not None:
            return self._counted(value, counted, self._unit)
        # As in ISO 8601, eight digits are a date (read as seconds they lie in 1970).
        if _FIRST_DATE <= counted <= _LAST_DATE and counted == int(counted):
            return str(int(counted))
        if self.unit is None:
            self.unit = next((unit for unit, scale in _UNITS.items() if counted < END_SECOND * scale), None)
        return counted

    def _counted(self, value: Any, counted: float | Decimal, unit: TimeUnit) -> datetime:
        try:
            if unit == "excel":
                return _SHEET_EPOCH + timedelta(seconds=round(float(counted) * 86_400, 3))
            seconds = Decimal(counted) / _UNITS[unit]
            if 0 <= seconds < _YEAR_10000:
                return EPOCH + timedelta(microseconds=round(seconds * SECOND_US))
        except (OverflowError, ValueError, ArithmeticError):
            pass
        raise self._refused(value, f"is no time in {UNIT_WORDS[unit]}")

    def _national(self, text: str) -> str | datetime:
        """Return a date that is not ISO 8601, anything else as it is."""
        found = _NATIONAL.fullmatch(text)
        if found is None or (found["sep"] == "-" and len(found["a"]) == 4 and len(found["b"]) == len(found["c"]) == 2):
            return text
        order = self._order_of(text, found)
        year, month, day = (int(found["abc"[order.index(part)]]) for part in "ymd")
        digits = len(found["abc"[order.index("y")]])
        if digits == 2:
            year += 1900 if year >= 70 else 2000
        hour, minute, second = (int(found[part] or 0) for part in ("hour", "minute", "second"))
        if found["half"]:
            if not 1 <= hour <= 12:
                raise self._refused(text, "is no time of a clock of 12 hours")
            hour = hour % 12 + (12 if found["half"] in "Pp" else 0)
        fraction = int(((found["fraction"] or "") + "000000")[:6])
        try:
            return datetime(year, month, day, hour, minute, second, fraction, tzinfo=_offset(found["zone"]))
        except ValueError:
            raise self._refused(text, f"is no date as {ORDERS[order]}") from None

    def _order_of(self, text: str, found: re.Match[str]) -> DateOrder:
        a, b, c = (int(found[part]) for part in "abc")
        short = len(found["c"]) == 2
        order = self.order
        if len(found["a"]) >= 3 or (order == "ymd" and short):
            return "ymd"
        if short and order is None:
            raise self._refused(text, "says no century: give the order of its dates (--dates dmy, mdy or ymd)")
        if order == "ymd" or (order is None and not 1 <= min(a, b) <= 12):
            raise self._refused(text, "is no date")
        if order is None:
            # With points nobody puts the month first.
            order = "dmy" if found["sep"] == "." or a == b or a > 12 else "mdy" if b > 12 else None
            if order is None:
                what = f"{shown(text)} is {a} {_MONTHS[b - 1]} {c} (dmy) or {b} {_MONTHS[a - 1]} {c} (mdy)"
                raise DoubtfulDateError(reason="bad_time", what=what)
            if found["sep"] == ".":
                self._pointed = True
            elif a != b:
                self.certain.setdefault(order, text)
        return order

    def settle(self, place: str, doubt: DoubtfulDateError) -> None:
        """Decide the order of dates by those that have but one.

        Parameters
        ----------
        place
            File and line of the first date in doubt.

        Raises
        ------
        SourceError
            If there are none, or of two orders.
        """
        if len(self.certain) == 1:
            [self.order] = self.certain
            return
        why = "and no other row says which"
        if self.certain:
            why = f"and others are of both orders: {', '.join(shown(text) for text in self.certain.values())}"
        what = f"{place}, column {self._column}: {doubt.what}, {why}."
        raise SourceError(what, "Say it by --dates dmy (day first) or --dates mdy (month first).")


def _offset(zone: str | None) -> tzinfo | None:
    if zone is None:
        return None
    if zone[0] not in "+-":
        return UTC
    digits = zone.replace(":", "")
    minutes = int(digits[1:3]) * 60 + int(digits[3:5])
    return timezone(timedelta(minutes=-minutes if zone[0] == "-" else minutes))

"""Event bodies → where each of their values stands, found in machine code outside Python's interpreter lock.

Of what `ebb.contracts.activity.decode_activity` accepts, it accepts the ordinary part and nothing else; what it is not
sure of it leaves to that function (docs/adr/0020).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ebb.contracts.activity import AMOUNT_LIMIT, TEXT_LIMIT, Properties
from stream_processors.ingest.json_tokens import (
    CLOSE,
    COLON,
    COMMA,
    LETTER_N,
    LOWER,
    MINUS,
    NINE,
    NONE,
    OPEN,
    PLUS,
    POINT,
    QUOTE,
    ZERO,
    number_end,
    past_space,
    string_end,
    unescape,
    value_end,
    word_end,
)
from stream_processors.ingest.records import Records
from stream_processors.native.compile import native, native_helper, native_inline
from stream_processors.native.strings import are_same
from stream_processors.types import ByteArray, Flags, Float64Array, Int32Array, Int64Array

REALS = ("amount", "discount")
PROPERTIES: tuple[str, ...] = Properties.__struct_fields__
REQUIRED: tuple[str, ...] = ("event_id", "customer_id", "type", "occurred_at")
FIELDS = (*REQUIRED, "properties", *PROPERTIES)
"""The names that are known, by the number that each has here; the properties stand one level below the others."""
_CUSTOMER = FIELDS.index("customer_id")
_MOMENT, _INTO, _COUNT = FIELDS.index("occurred_at"), FIELDS.index("properties"), len(FIELDS)
BODY = _COUNT
"""Number under which a whole body is found if it says more than the fields, and nothing, of size 0, if it does not."""
_ALL_REQUIRED = (1 << len(REQUIRED)) - 1
"""A bit for each field that an event must have."""
_NAMES = np.array([list(f'{name}"'.encode().ljust(16)) for name in FIELDS], np.uint8)
"""Each name with the quotation mark that ends it."""
_NAME_SIZES = np.array([len(name) for name in FIELDS])
_REAL = np.array([REALS.index(name) if name in REALS else NONE for name in FIELDS])
"""Number of each field among those that are numbers."""

MICROSECONDS = 6
"""Most digits of a second's fraction."""
LAST_SECOND = 253_402_300_800
"""The end of the year 9999, after which Python has no time."""
_MONTH_DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_NO_DIGIT = -(10**9)


class Scanned(NamedTuple):
    """What was found in bodies, a row each; of rows that are not sure it means nothing."""

    sure: Flags
    moments: Int64Array
    """Microseconds since 1970 (UTC)."""
    begins: Int32Array
    """Where the value of each field begins, and the body; shape (fields + 1, rows)."""
    sizes: Int32Array
    """Its bytes, `NONE` where there is none."""
    reals: Float64Array
    """Numbers, shape (`REALS`, rows): 0 where there is none, NaN where it takes more than a division to tell."""
    escaped: Flags
    """Whether any text of the row has escapes."""


class _Target(NamedTuple):
    """Where what is found goes: the arrays of `Scanned`, by their addresses, which have so many rows."""

    rows: int
    moments: Int64Array
    begins: Int32Array
    sizes: Int32Array
    reals: Float64Array
    escaped: ByteArray


def scan(records: Records, wanted: Flags) -> Scanned:
    """Look through the values of records.

    A time is looked at as a whole before it is known to be one: `records.PADDING` allows for that.

    Parameters
    ----------
    records
        The records. One whose key is not its customer is not sure.
    wanted
        Which to look at; the others are not sure.
    """
    rows = len(records)
    found = Scanned(
        sure=wanted.copy(),
        moments=np.zeros(rows, np.int64),
        begins=np.empty((_COUNT + 1, rows), np.int32),
        sizes=np.full((_COUNT + 1, rows), NONE, np.int32),
        reals=np.zeros((len(REALS), rows), np.float64),
        escaped=np.zeros(rows, np.bool_),
    )
    _scan(
        *(records.text, *records.keys, *records.values, rows, found.sure.view(np.uint8)),
        *(found.moments, found.begins, found.sizes, found.reals, found.escaped.view(np.uint8)),
    )
    return found


def gather(
    text: ByteArray, scanned: Scanned, fields: Sequence[int], rows: Int64Array
) -> list[tuple[Int32Array, ByteArray]]:
    """Write out the texts of some fields and rows, those of fields without escapes, one after another.

    Returns
    -------
    texts : list of (ndarray of int32, shape (len(rows) + 1,), ndarray of uint8)
        For each field, what was written, and between which places of it each row's text stands.
    """
    offsets = np.zeros((len(fields), len(rows) + 1), np.int32)
    written = np.empty(len(text) * (2 if BODY in fields else 1), np.uint8)
    places = np.zeros(len(fields) + 1, np.int64)
    _gather(
        *(text, scanned.begins, scanned.sizes, len(scanned.sure), scanned.escaped.view(np.uint8)),
        *(np.array(fields, np.int64), len(fields), rows, len(rows), offsets, written, places),
    )
    spans = pairwise(places.tolist())
    return [(one, written[begin:end]) for one, (begin, end) in zip(offsets, spans, strict=True)]


@native_inline
def _digits(text: ByteArray, at: int, count: int) -> int:
    """Return the number of so many digits, something negative if one is none."""
    found = 0
    for place in range(at, at + count):
        if not ZERO <= text[place] <= NINE:
            return _NO_DIGIT
        found = found * 10 + (text[place] - ZERO)
    return found


@native_helper
def _day_number(year: int, month: int, day: int) -> int:
    """Return the days since 1970 in the Gregorian calendar, -1 if there is no such day.

    Years are counted from March, so that a leap day is the last of one.
    """
    if not (year >= 1 and 1 <= month <= 12):
        return -1
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= day <= _MONTH_DAYS[month - 1] + (month == 2 and leap):
        return -1
    years = year - (month <= 2)
    return years * 365 + years // 4 - years // 100 + years // 400 + (153 * ((month + 9) % 12) + 2) // 5 + day - 719_469


@native_helper
def _moment_end(text: ByteArray, at: int) -> tuple[int, int, bool]:
    """Read a time of RFC 3339, to the second or finer, within quotation marks.

    Returns
    -------
    end : int
        Where it ends, or `NONE` if it is not surely such a time, lies before 1970 or after the year 9999.
    moment : int
        Microseconds since 1970 (UTC).
    is_utc : bool
        Whether it was told in UTC.
    """
    if at == NONE or text[at] != QUOTE:
        return NONE, 0, False
    at += 1
    day = _day_number(_digits(text, at, 4), _digits(text, at + 5, 2), _digits(text, at + 8, 2))
    hour, minute, second = _digits(text, at + 11, 2), _digits(text, at + 14, 2), _digits(text, at + 17, 2)
    if not (
        text[at + 4] == MINUS
        and text[at + 7] == MINUS
        and (text[at + 10] | LOWER == ord("t") or text[at + 10] == ord(" "))
        and text[at + 13] == COLON
        and text[at + 16] == COLON
        and day >= 0
        and 0 <= hour <= 23
        and 0 <= minute <= 59
        and 0 <= second <= 59
    ):
        return NONE, 0, False
    at += 19
    fraction = 0
    if text[at] == POINT:
        at += 1
        missing = MICROSECONDS
        while ZERO <= text[at] <= NINE and missing >= 0:
            fraction = fraction * 10 + (text[at] - ZERO)
            missing -= 1
            at += 1
        if not 0 <= missing < MICROSECONDS:
            return NONE, 0, False
        fraction *= 10**missing
    ahead = 0
    if text[at] | LOWER == ord("z"):
        at += 1
    else:
        hours, minutes = _digits(text, at + 1, 2), _digits(text, at + 4, 2)
        if not (text[at] in (PLUS, MINUS) and text[at + 3] == COLON and 0 <= hours <= 23 and 0 <= minutes <= 59):
            return NONE, 0, False
        ahead = (hours * 60 + minutes) * (60 if text[at] == PLUS else -60)
        at += 6
    seconds = day * 86_400 + hour * 3600 + minute * 60 + second - ahead
    if text[at] != QUOTE or not 0 <= seconds < LAST_SECOND:
        return NONE, 0, False
    return at + 1, seconds * 1_000_000 + fraction, ahead == 0


@native_inline
def _is_named(text: ByteArray, at: int, number: int) -> bool:
    for place in range(_NAME_SIZES[number] + 1):  # noqa: SIM110 - machine code has no generators
        if text[at + place] != _NAMES[number, place]:
            return False
    return True


@native_inline
def _named(text: ByteArray, at: int, known: tuple[int, int], likely: int, seen: int) -> tuple[int, int, int]:
    """Read a name.

    Returns
    -------
    number : int
        Of the fields between the two of `known`, the one so named, or `NONE`. The one that is `likely` is tried first.
    value : int
        Where its value begins; `NONE` if it is not surely there, or the name was seen before.
    seen : int
        With the bit of this field besides.
    """
    if text[at] != QUOTE:
        return NONE, NONE, seen
    number = NONE
    if known[0] <= likely < known[1] and _is_named(text, at + 1, likely):
        number = likely
    else:
        for candidate in range(known[0], known[1]):
            if _is_named(text, at + 1, candidate):
                number = candidate
                break
    if number == NONE:
        end, escapes, _ = string_end(text, at + 1)
        if end == NONE or escapes:  # with escapes it may be a known one after all
            return NONE, NONE, seen
    else:
        end = at + 1 + _NAME_SIZES[number]
        if seen >> number & 1:
            return number, NONE, seen
        seen |= 1 << number
    at = past_space(text, end + 1)
    return number, past_space(text, at + 1) if text[at] == COLON else NONE, seen


@native_inline
def _past_comma(text: ByteArray, at: int) -> tuple[int, bool]:
    """Return where the next member of an object begins, or where the object ends, or `NONE`; and whether one begins."""
    if at == NONE:
        return NONE, False
    at = past_space(text, at)
    if text[at] == COMMA:
        return past_space(text, at + 1), True
    return at + 1 if text[at] == CLOSE else NONE, False


@native_helper
def _known_end(text: ByteArray, at: int, number: int, row: int, target: _Target) -> tuple[int, bool]:
    """Read a value; return where it ends, `NONE` if it is not surely fine, and whether the target holds it."""
    if NONE in (at, number):
        return value_end(text, at), False
    if text[at] == LETTER_N and number > _INTO:
        return word_end(text, at), False
    place = number * target.rows + row
    if _REAL[number] != NONE:
        end, value = number_end(text, at)
        target.begins[place], target.sizes[place] = at, end - at
        target.reals[_REAL[number] * target.rows + row] = value
        return NONE if abs(value) > AMOUNT_LIMIT else end, True
    at += 1
    end, escapes, quotes = string_end(text, at) if text[at - 1] == QUOTE else (NONE, 0, 0)
    if end == NONE or end - at > TEXT_LIMIT or (end == at and number < _INTO):
        return NONE, False
    target.begins[place], target.sizes[place] = at, end - at
    if escapes:
        target.escaped[row] = 1
    return end + 1, quotes == 0


@native_helper
def _properties_end(text: ByteArray, at: int, row: int, target: _Target) -> tuple[int, bool]:
    """Read the properties; as `_known_end`."""
    if at == NONE or text[at] != OPEN:
        return NONE, False
    held, seen, number = True, 0, _INTO
    at = past_space(text, at + 1)
    if text[at] == CLOSE:
        return at + 1, True
    more = True
    while more:
        number, at, seen = _named(text, at, (_INTO + 1, _COUNT), number + 1, seen)
        at, holds = _known_end(text, at, number, row, target)
        held &= holds
        at, more = _past_comma(text, at)
    return at, held


@native_helper
def _event_end(text: ByteArray, at: int, row: int, target: _Target) -> tuple[int, bool]:
    """Read one event; as `_known_end`."""
    held, seen, number = True, 0, NONE
    at = past_space(text, at)
    more = text[at] == OPEN
    at = past_space(text, at + 1)
    while more:
        number, at, seen = _named(text, at, (0, _INTO + 1), number + 1, seen)
        if number == _INTO:
            at, holds = _properties_end(text, at, row, target)
        elif number == _MOMENT:
            at, target.moments[row], holds = _moment_end(text, at)
        else:
            at, holds = _known_end(text, at, number, row, target)
        held &= holds
        at, more = _past_comma(text, at)
    if at == NONE or seen & _ALL_REQUIRED != _ALL_REQUIRED:
        return NONE, False
    return past_space(text, at), held


@native(
    *(np.uint8, np.int64, np.int64, np.int64, np.int64, None, np.uint8),
    *(np.int64, np.int32, np.int32, np.float64, np.uint8),
)
def _scan(  # noqa: PLR0917 - machine code is called by position
    text: ByteArray,
    key_begins: Int64Array,
    key_sizes: Int64Array,
    value_begins: Int64Array,
    value_sizes: Int64Array,
    rows: int,
    sure: ByteArray,
    moments: Int64Array,
    begins: Int32Array,
    sizes: Int32Array,
    reals: Float64Array,
    escaped: ByteArray,
) -> int:
    target = _Target(rows, moments, begins, sizes, reals, escaped)
    for row in range(rows):
        if sure[row]:
            begin, size = value_begins[row], value_sizes[row]
            end, holds = _event_end(text, begin, row, target)
            begins[BODY * rows + row] = begin
            sizes[BODY * rows + row] = 0 if holds else size
            customer = _CUSTOMER * rows + row
            sure[row] = end == begin + size and sizes[customer] == key_sizes[row]
            if sure[row]:
                sure[row] = are_same(text, begins[customer], text, key_begins[row], key_sizes[row])
    return rows


@native(
    *(np.uint8, np.int32, np.int32, None, np.uint8),
    *(np.int64, None, np.int64, None, np.int32, np.uint8, np.int64),
)
def _gather(  # noqa: PLR0917 - as above
    text: ByteArray,
    begins: Int32Array,
    sizes: Int32Array,
    stride: int,
    escaped: ByteArray,
    fields: Int64Array,
    field_count: int,
    rows: Int64Array,
    row_count: int,
    offsets: Int32Array,
    written: ByteArray,
    places: Int64Array,
) -> int:
    place = 0
    for nth in range(field_count):
        for number in range(row_count):
            row = rows[number]
            one = fields[nth] * stride + row
            if sizes[one] > 0:
                at, end = begins[one], begins[one] + sizes[one]
                if escaped[row] and fields[nth] != BODY:
                    place = unescape(text, at, end, written, place)
                else:
                    for source in range(at, end):
                        written[place] = text[source]
                        place += 1
            offsets[nth * (row_count + 1) + number + 1] = place - places[nth]
        places[nth + 1] = place
    return place

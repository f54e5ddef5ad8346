"""Values in one form, whichever format they came in, so that an event has the same id and the same bytes from each.

A CSV file knows text alone where Parquet and JSON know numbers, truth values and times; single precision, decimals and
dictionaries say the same in other types. A property that is a number, a time or a truth value however it is written
becomes that; one that is named as an id or a code stays text.
"""

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from types import NoneType
from typing import Any

from ebb.errors import InvalidEventError
from ebb.values.customer_ids import EXACT_FLOAT, INVISIBLE
from ebb.values.messages import wrong_type
from ebb.values.numbers import read_number
from producers.replay.log import DecimalMark

ABSENT = frozenset({"", "NULL", "null", "\\N", "NaN", "nan", "<NA>", "NaT"})
"""Texts by which tables write that there is no value."""
NO_NUMBER = ABSENT | {"None", "none", "N/A", "n/a", "#N/A", "NA", "-", "\u2013", "Null", "NAN"}
"""The same where a number or a time is expected and a word cannot be a value."""
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NAMED_AS_TEXT = re.compile(r"(?:^|[_. -])(?:id|code|no|nr|number|sku|zip|postcode|version|phone)$", re.IGNORECASE)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?", re.ASCII)
_COMMA_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*|[1-9][0-9]{0,2}(?:\.[0-9]{3})+)(?:,[0-9]+)?", re.ASCII)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}[0-9:.,]*(?:Z|[+-][0-9:]{4,6})?)?", re.ASCII)
_WHOLE_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,15})\.0+", re.ASCII)
_DIGITS = 15
"""Digits that floating point keeps whatever they are."""
_DEPTH = 50
_REMEMBERED = 100_000
"""Texts of a column whose reading is kept, since most come again."""


def text(field: str, value: Any) -> str | None:
    """Return a value as text, None for none; whole numbers lose a decimal point that a reader of tables gave them.

    Raises
    ------
    InvalidEventError
        With reason `wrong_type` for lists and objects, and bytes that are no text.
    """
    if isinstance(value, str):
        return _of_text(trimmed(value))
    plain = _scalar(field, value)
    if isinstance(plain, (list, dict)):
        raise wrong_type(field, value, "it must be text")
    if isinstance(plain, bool):
        return str(plain).lower()
    return None if plain is None else str(plain)


def _of_text(value: str) -> str | None:
    if value in ABSENT:
        return None
    if value.endswith("0"):
        if _WHOLE_FLOAT.fullmatch(value):
            return str(int(value.partition(".")[0]))
        return value[:10] if _is_midnight(value) else value
    return value.lower() if value in _TRUTH else value


def number(field: str, value: Any, decimal: DecimalMark | None) -> float | None:
    """Return a value as a number, None for none.

    Raises
    ------
    InvalidEventError
        With reason `wrong_type` if it is none.
    """
    if isinstance(value, str):
        if trimmed(value) in NO_NUMBER:
            return None
    elif isinstance(value, (float, Decimal)) and math.isnan(value):
        return None  # how numeric tables write "none"
    return read_number(field, value, decimal=decimal)


def free(field: str, value: Any, decimal: DecimalMark | None) -> Any:
    """Return a property that Ebb does not know, as what it is however it was written; None for none.

    Raises
    ------
    InvalidEventError
        With reason `wrong_type` for infinity, bytes that are no text, and what is nested too deeply.
    """
    if _NAMED_AS_TEXT.search(field) and not isinstance(value, (list, tuple, dict)):
        return text(field, value)
    return _of_free_text(trimmed(value), decimal) if isinstance(value, str) else _scalar(field, value)


def _of_free_text(value: str, decimal: DecimalMark | None) -> Any:
    if value in ABSENT:
        return None
    result: Any = _TRUTH.get(value, value)
    if value[0].isdigit() or value[0] == "-":
        if decimal == "," and _COMMA_NUMBER.fullmatch(value):
            result = _of_digits(value.replace(".", "").replace(",", "."))
        elif decimal != "," and _NUMBER.fullmatch(value):
            result = _of_digits(value)
        elif _TIME.fullmatch(value):
            result = _iso(value)
    return result


def trimmed(value: str) -> str:
    """Return text without blanks and what else is invisible at its ends."""
    return value.strip().strip(INVISIBLE).strip()


def _of_digits(digits: str) -> int | float | str:
    """Return a number if floating point keeps all of its digits, else the digits."""
    if len(digits.strip("-").replace(".", "").lstrip("0")) > _DIGITS:
        return digits
    value = float(digits)
    return int(value) if value.is_integer() else value


def _scalar(field: str, value: Any, depth: int = 0) -> Any:
    """Return a value of whichever type as JSON has it."""
    result: Any = str(value)
    match value:
        case None | bool() | str():
            result = value
        case int():
            result = value if abs(value) < EXACT_FLOAT else str(value)
        case float():
            result = _of_float(field, value)
        case Decimal():
            result = _of_decimal(value)
        case datetime():
            result = _of_time(value)
        case date() | time_of_day():
            result = value.isoformat()
        case timedelta():
            result = _of_float(field, value.total_seconds())
        case bytes():
            result = _of_bytes(field, value)
        case list() | tuple() | dict():
            result = _nested(field, value, depth + 1)
    return result


def _of_decimal(value: Decimal) -> int | float | str | None:
    if not value.is_finite():
        return None
    exact = value.normalize()
    return _of_digits(f"{exact:f}") if abs(exact.adjusted()) < 100 else str(value)


def _nested(field: str, value: Any, depth: int) -> Any:
    if depth > _DEPTH:
        raise InvalidEventError(reason="wrong_type", what=f"`{field}` is nested too deeply.")
    if isinstance(value, dict):
        return {str(key): _scalar(field, inner, depth) for key, inner in value.items()}
    return [_scalar(field, inner, depth) for inner in value]


def _of_float(field: str, value: float) -> int | float | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        raise wrong_type(field, value, "it must be a finite number")
    return int(value) if value.is_integer() and abs(value) < EXACT_FLOAT else value


def _of_bytes(field: str, value: bytes) -> str | None:
    try:
        return trimmed(value.decode()) or None
    except UnicodeDecodeError:
        raise InvalidEventError(reason="wrong_type", what=f"`{field}` holds bytes that are no text.") from None


def _of_time(value: datetime) -> str:
    if value.tzinfo is None:
        written = datetime.isoformat(value)
        return written[:10] if _is_midnight(written) else written
    return datetime.isoformat(value.astimezone(UTC))


def _is_midnight(written: str) -> bool:
    return len(written) >= 19 and written[11:19] == "00:00:00" and not written[19:].strip(".0") and written[10] in " T"


def _iso(written: str) -> str:
    """Return a time in one way of writing it; anything else stays as it is."""
    try:
        if len(written) == 10:
            return date.fromisoformat(written).isoformat()
        return _of_time(datetime.fromisoformat(written))
    except (ValueError, OverflowError):
        return written


class ColumnReader:
    """Reads the values of a column, text that comes again but once.

    Parameters
    ----------
    read
        Reads one value, or raises `InvalidEventError`.
    """

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read = read
        self._known: dict[Any, Any] = {}
        self._refused: dict[Any, InvalidEventError] = {}

    def __call__(self, values: list[Any], refused: dict[int, InvalidEventError]) -> list[Any]:
        """Return what values are; those that are refused are noted in `refused` by their position."""
        if set(map(type, values)) <= {str, NoneType}:  # others are equal across types: 1, 1.0, True
            return self._remembered(values, refused)
        result = []
        for position, value in enumerate(values):
            try:
                result.append(self._read(value))
            except InvalidEventError as error:
                refused.setdefault(position, error)
                result.append(None)
        return result

    def _remembered(self, values: list[Any], refused: dict[int, InvalidEventError]) -> list[Any]:
        if len(self._known) > _REMEMBERED:
            self._known.clear()
            self._refused.clear()
        known = self._known
        for value in set(values) - known.keys():
            try:
                known[value] = self._read(value)
            except InvalidEventError as error:
                known[value] = None
                self._refused[value] = error
        if self._refused and not self._refused.keys().isdisjoint(values):
            for position, value in enumerate(values):
                if value in self._refused:
                    refused.setdefault(position, self._refused[value])
        return [known[value] for value in values]

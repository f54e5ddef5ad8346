"""An amount as programs and people write it → a number, or a refusal that names the field."""

import math
import re
import unicodedata
from decimal import Decimal
from typing import Literal

from ebb.errors import InvalidEventError
from ebb.values.customer_ids import INVISIBLE
from ebb.values.messages import shown, wrong_type

_RULE = "it must be a number, such as 49.9"
_PLAIN = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
"""How programs write a number."""
_SIGNED = re.compile(rf"[+-]?(?:{_PLAIN.pattern})", re.ASCII)
_CODES = (
    "AED ALL AMD ARS AUD AZN BAM BDT BGN BHD BOB BRL BYN CAD CHF CLP CNY COP CRC CZK DKK DOP DZD EGP ETB EUR GBP GEL "
    "GHS GTQ HKD HNL HRK HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KRW KWD KZT LAK LBP LKR MAD MDL MKD MMK "
    "MNT MUR MVR MXN MYR NAD NGN NIO NOK NPR NZD OMR PAB PEN PHP PKR PLN PYG QAR RMB RON RSD RUB RWF SAR SEK SGD THB "
    "TND TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND XAF XOF ZAR ZMW "
    "kr kr. zł Kč Ft lei Fr Fr."
)
"""Codes and words that stand before or after an amount; signs of currencies are known by their Unicode category."""
_CURRENCIES = frozenset(_CODES.split())
_GROUPED = {
    ",": re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}", re.ASCII),  # and as in India
    ".": re.compile(r"[0-9]{1,3}(?:\.[0-9]{3})+", re.ASCII),
    "'": re.compile(r"[0-9]{1,3}(?:'[0-9]{3})+", re.ASCII),
    " ": re.compile(r"[0-9]{1,3}(?: [0-9]{3})+", re.ASCII),
}
"""Digits with a mark between the thousands."""
_MARKS = str.maketrans({"\u2212": "-", "\u2019": "'", "\u00a0": " ", "\u202f": " ", "\u2009": " "})
_ARABIC_MARKS = {"\u066b": ".", "\u066c": "'"}
_THOUSAND = 3
"""Digits between two marks of thousands."""
_MOST_CHARACTERS = 64
"""Of a text that can be a number."""


def read_number(field: str, value: object, *, decimal: Literal[".", ","] | None = None) -> float | None:
    """Return a number, None if there is none (null, a blank text).

    Text may have a sign, a currency before or after it, parentheses for less than nothing, and marks between
    thousands: `49,90`, `$49.90`, `1,249.50`, `1.249,50`, `1'249.50`, `1 249,50`. Where text has but one mark, a point
    is the decimal point, as programs write it; a comma is a decimal comma unless it may as well stand between
    thousands (`1,249`), when nobody can know.

    Parameters
    ----------
    field
        The field's name, for the message.
    decimal
        The decimal mark, if known; the other one is then between thousands. None: by the rules above.

    Raises
    ------
    InvalidEventError
        With reason `wrong_type` for anything else: true and false, NaN, infinity, `1_000`, `12 %`, `1,249`.
    """
    number: float | None = None
    match value:
        case None:
            return None
        case bool():
            pass
        case int() | float() | Decimal():
            number = _finite(value)
        case str():
            text = value.strip().strip(INVISIBLE).strip()
            if not text:
                return None
            if decimal != "," and _SIGNED.fullmatch(text):
                number = _finite(text)
            elif len(text) <= _MOST_CHARACTERS:
                number = _written(field, text, decimal)
    if number is None:
        raise wrong_type(field, value, _RULE)
    return number


def _finite(value: float | Decimal | str) -> float | None:
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _written(field: str, text: str, decimal: str | None) -> float | None:
    """Read a number as people and shops write it; None if it is none."""
    bare = _in_plain_digits(text).translate(_MARKS)
    sign = 1.0
    if bare.startswith("(") and bare.endswith(")"):
        sign, bare = -1.0, _without_currency(bare[1:-1].strip())
    else:
        # One sign, before the currency or after it: -$5, $-5.
        for _ in range(2):
            if bare[:1] in {"+", "-"}:
                sign, bare = (-1.0 if bare[0] == "-" else 1.0), bare[1:].lstrip()
                bare = _without_currency(bare)
                break
            bare = _without_currency(bare)
    number = _unmarked(field, text, bare, decimal)
    return None if number is None else sign * number


def _in_plain_digits(text: str) -> str:
    """Replace the digits of one other script (Arabic, full width) by 0 to 9; text of two scripts stays as it is."""
    if text.isascii():
        return text
    zeros = {ord(one) - unicodedata.decimal(one) for one in text if one.isdecimal()}
    if len(zeros) != 1 or zeros == {ord("0")}:
        return text
    return "".join(str(unicodedata.decimal(one)) if one.isdecimal() else _ARABIC_MARKS.get(one, one) for one in text)


def _without_currency(text: str) -> str:
    """Leave out a currency before the digits and one after them."""
    for first in ("0123456789+-", "0123456789.,+-"):  # the point of "kr. 5" is the word's, that of "$.5" the number's
        begin = next((at for at, one in enumerate(text) if one in first), len(text))
        if _is_currency(text[:begin].rstrip()):
            text = text[begin:]
            break
    end = next((at for at in range(len(text), 0, -1) if text[at - 1] in "0123456789"), 0)
    return text[:end] if _is_currency(text[end:].lstrip()) else text


def _is_currency(text: str) -> bool:
    if text in _CURRENCIES:
        return True
    # A sign, with up to three letters before it: $, US$, R$.
    return bool(text) and unicodedata.category(text[-1]) == "Sc" and (text[:-1] == "" or text[:-1].isalpha())


def _unmarked(field: str, given: str, text: str, decimal: str | None) -> float | None:
    """Read digits with marks between them; None if they are no number."""
    if decimal is None:
        decimal = _decimal_mark(field, given, text)
    whole, found, fraction = text.rpartition(decimal) if decimal else (text, "", "")
    if not found:
        whole, fraction = text, ""
    mark = next((one for one in ",.' " if one != decimal and one in whole), None)
    if mark is not None:
        if not _GROUPED[mark].fullmatch(whole):
            return None
        whole = whole.replace(mark, "")
    plain = f"{whole}.{fraction}" if fraction else whole
    return _finite(plain) if _PLAIN.fullmatch(plain) else None


def _decimal_mark(field: str, given: str, text: str) -> str:
    """Return the mark before the fraction; empty if all marks are between thousands."""
    commas, points = text.count(","), text.count(".")
    if commas and points:
        return max(",.", key=text.rfind)
    if commas > 1 or points > 1:
        return ""
    if not commas:
        return "."
    whole, _, after = text.partition(",")
    may_group = len(after) == _THOUSAND and 1 <= len(whole) <= _THOUSAND and not whole.startswith("0")
    if may_group and (whole + after).isdigit():
        what = (
            f"`{field}` is {shown(given)}, which may be {whole}{after} or {whole}.{after}; send a number, or write "
            f"{whole}{after}.00 or {whole}.{after}0."
        )
        raise InvalidEventError(reason="wrong_type", what=what, field=field)
    return ","

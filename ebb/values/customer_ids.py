"""A customer's id as programs send it → the id under which Ebb keeps the customer.

Everything that takes activity from people (the collector, `ebb replay`, `ebb evaluate`) reads ids by this one rule, so
that a customer is one customer whichever way an event came.
"""

import math
import re
from decimal import Decimal

from ebb.contracts.activity import TEXT_LIMIT
from ebb.errors import InvalidEventError
from ebb.values.messages import shown, wrong_type

NO_CUSTOMERS: tuple[str, ...] = (
    "null", "(null)", "nil", "none", "undefined", "NaN", "NA", "N/A", "#N/A", "0", "-1", "true", "false",
    "[object Object]", "00000000-0000-0000-0000-000000000000", "00000000000000000000000000000000",
    "anonymous", "guest", "unknown", "not_authenticated", "user_id", "userid", "customer_id", "customerid",
)  # fmt: skip
"""Texts that programs send where they know no customer: with one of them as id, thousands of people would be one."""
NOBODY = frozenset(text.lower() for text in NO_CUSTOMERS)
EXACT_FLOAT = 2**53
"""Whole numbers below this are exact as floating point; above it, neighbours become one."""
INVISIBLE = "\ufeff\u200b\u2060"
"""Byte order mark, zero-width blank and word joiner: what editors and spreadsheets leave at the ends of texts."""

_RULE = "a customer id is text or a whole number"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_WHOLE_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,15})\.0", re.ASCII)
"""How tables and languages write a whole number that they hold as floating point."""
_SCIENTIFIC = re.compile(r"-?[0-9](?:\.[0-9]+)?[eE]\+[0-9]{2,3}", re.ASCII)
"""How they write one that is too long for it."""


def read_customer_id(value: object, *, field: str = "customer_id", nobody: frozenset[str] = NOBODY) -> str:
    """Return the id of a customer as Ebb keeps it.

    A whole number is written by its digits, however many. Blanks around a text are dropped. A text of a whole number
    and exactly `.0` (`17850.0`) loses the `.0`: so tables write a column of ids of which one was missing, and nobody
    names customers so. All else stays as it is: the case of letters, leading zeros, other points.

    Parameters
    ----------
    value
        As JSON or a table gave it: text, a whole number, or floating point without a fraction.
    field
        The field's name, for the message.
    nobody
        Texts, in lower case, that are no customer (`EBB_NO_CUSTOMERS`).

    Raises
    ------
    InvalidEventError
        With reason `no_customer` for nothing, NaN, a blank or a text of `nobody`; `inexact_id` for a number that has
        lost digits; `wrong_type` for any other type, a control character or more than 256 characters.
    """
    if value is None or value != value:  # noqa: PLR0124 - NaN, of whichever type
        raise InvalidEventError(reason="no_customer", what=f"`{field}` is not given.", field=field)
    text = value.strip().strip(INVISIBLE).strip() if isinstance(value, str) else _digits(field, value)
    if not text:
        raise InvalidEventError(reason="no_customer", what=f"`{field}` is blank.", field=field)
    if len(text) > TEXT_LIMIT:
        what = f"`{field}` has {len(text)} characters; an id has at most {TEXT_LIMIT}."
        raise InvalidEventError(reason="wrong_type", what=what, field=field)
    if _CONTROL.search(text):
        raise wrong_type(field, text, "an id holds no control characters, line breaks or halves of characters")
    if text.endswith(".0") and _WHOLE_FLOAT.fullmatch(text):
        text = "0" if text == "-0.0" else text[:-2]
    elif "+" in text and _SCIENTIFIC.fullmatch(text):
        raise _inexact(field, text)
    if text.lower() in nobody:
        what = (
            f"`{field}` is {shown(text)}, which is no customer: programs send it where they know none. Send the id of "
            "the customer, or leave such events out (EBB_NO_CUSTOMERS lists these texts)."
        )
        raise InvalidEventError(reason="no_customer", what=what, field=field)
    return text


def _digits(field: str, value: object) -> str:
    """Write a whole number by its digits."""
    match value:
        case bool():
            raise wrong_type(field, value, _RULE)
        case int() if abs(value) < 10**TEXT_LIMIT:
            return str(value)
        case float() if not math.isfinite(value) or not value.is_integer():
            raise wrong_type(field, value, _RULE)
        case float() if abs(value) >= EXACT_FLOAT:
            raise _inexact(field, value)
        case float():
            return str(int(value))
        case Decimal() if value.is_finite() and value.adjusted() < TEXT_LIMIT and value == int(value):
            return str(int(value))
    raise wrong_type(field, value, _RULE)


def _inexact(field: str, value: object) -> InvalidEventError:
    what = (
        f"`{field}` is {shown(value)}: a number of more digits than floating point keeps, so that other customers have "
        "the same one. Send ids as text."
    )
    return InvalidEventError(reason="inexact_id", what=what, field=field)

"""The properties of a call → those of an event: as Ebb names them, without what identifies a person."""

from dataclasses import dataclass, field
from typing import Any

from ebb.contracts.activity import AMOUNT_LIMIT, Properties
from ebb.errors import InvalidEventError
from ebb.values.customer_ids import EXACT_FLOAT
from ebb.values.messages import shown, wrong_type
from ebb.values.numbers import read_number
from serving.collector.personal import HINT, clean, judge_name

LONG_TEXT = 1_024
"""Characters of a free text that are kept."""
MOST_NOTES = 20
"""Notes on one call that its verdict lists."""
_JUST_FINE = (-(2**63), 10**13)
"""Whole numbers between these are no card's and are kept as they are."""
_JSON_INTEGERS = range(-(2**63), 2**64)
"""Whole numbers that readers of JSON can be trusted with; longer ones become text."""
_LONG = {"email": "an e-mail address", "phone": "a telephone number", "card": "a card number", "iban": "an IBAN"}
_KNOWN = frozenset(Properties.__struct_fields__)


@dataclass
class Remarks:
    """What the sender of an accepted call should know."""

    notes: list[str] = field(default_factory=list)
    withheld: list[str] = field(default_factory=list)
    """A kind for each value that was withheld: `name`, `email`, `phone`, `card`, `iban`, `url`."""

    def note(self, text: str) -> None:
        """Add a note."""
        if len(self.notes) < MOST_NOTES:
            self.notes.append(text)

    def withhold(self, where: str, kind: str) -> None:
        """Add a value that was withheld, in whole or (`url`) in part."""
        self.withheld.append(kind)
        if kind == "name":
            why = "was withheld: its name says that it identifies a person"
        elif kind == "url":
            why = "lost what follows ? or #, and the user, if any: they may identify a person"
        else:
            why = f"was withheld: it looks like {_LONG[kind]}"
        self.note(f"`{where[:80]}` {why}.")


def properties_of(
    call: dict[str, Any], remarks: Remarks, *, purchase: bool, carried: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Return the properties of a call as Ebb names them, without those that identify a person or are no scalars.

    Parameters
    ----------
    call
        Its `properties`, `context` and `traits` are objects, or there is none.
    remarks
        Takes what was left out or withheld.
    purchase
        Whether the event is a purchase: then `total` and `value` must be money.
    carried
        Names that are carried though they look personal.

    Raises
    ------
    InvalidEventError
        With reason `wrong_type` if an amount or a discount is given and cannot be read.
    """
    given = call.get("properties") or {}
    properties: dict[str, Any] = {}
    for name, value in given.items():
        type_ = type(value)
        if name in _KNOWN or type_ is list or type_ is dict or value is None:
            continue
        if type_ is bool:
            properties[name] = value
            continue
        personal, key = judge_name(name)
        if personal and name not in carried:
            remarks.withhold(f"properties.{name}", "name")
        elif type_ is str:
            if not HINT.search(value):
                properties[name] = value if len(value) <= LONG_TEXT else value[:LONG_TEXT]
                continue
            kept, kind = clean(value, key=key)
            if kind is not None:
                remarks.withhold(f"properties.{name}", kind)
            if kept or not value:
                properties[name] = kept[:LONG_TEXT]
        elif type_ is int and not _JUST_FINE[0] < value < _JUST_FINE[1]:
            if not key and clean(str(value))[1] is not None:
                remarks.withhold(f"properties.{name}", "card")
            else:
                properties[name] = value if value in _JSON_INTEGERS else str(value)
        else:
            properties[name] = value
    _add_texts(call, given, properties, remarks)
    _add_numbers(given, properties, purchase=purchase)
    return properties


_PLACES = (
    ("currency", "currency"),
    ("channel", "channel"),
    ("country", "country"),
    ("product_id", "product_id"),
    ("productId", "product_id"),
    ("sku", "product_id"),
    ("category", "category"),
    ("store", "store"),
    ("affiliation", "store"),
    ("payment_method", "payment_method"),
    ("paymentMethod", "payment_method"),
    ("session_id", "session_id"),
)
"""Under which names `properties` may have the texts that Ebb knows, the better place first."""


def _add_texts(call: dict[str, Any], given: dict[str, Any], properties: dict[str, Any], remarks: Remarks) -> None:
    """Read the texts that Ebb knows from wherever SDKs put them: the first place that has one."""
    for key, name in _PLACES:
        if key in given and name not in properties:
            _add_text(properties, name, f"properties.{key}", given[key], remarks)
    for name in ("channel", "category"):
        if name in call and name not in properties:
            _add_text(properties, name, name, call[name], remarks)
    context = call.get("context") or {}
    for key in ("sessionId", "session_id"):
        if key in context and "session_id" not in properties:
            _add_text(properties, "session_id", f"context.{key}", context[key], remarks)
    for where, place in (
        ("context.location", context.get("location")),
        ("traits.address", (call.get("traits") or {}).get("address")),
        ("context.traits.address", _inner(context.get("traits"), "address")),
    ):
        if place is not None and "country" not in properties:
            _add_text(properties, "country", f"{where}.country", _inner(place, "country"), remarks)


def _inner(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _add_text(properties: dict[str, Any], name: str, where: str, value: Any, remarks: Remarks) -> None:
    """Take a text, or a whole number as one, if there is one."""
    if value is None:
        return
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT_FLOAT:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        remarks.note(f"`{where}` was left out: it is {shown(value)}, and must be text.")
        return
    kept, kind = clean(value, key=name.endswith("_id"))
    if kind is not None:
        remarks.withhold(where, kind)
    if kept.strip():
        properties[name] = kept


def _add_numbers(given: dict[str, Any], properties: dict[str, Any], *, purchase: bool) -> None:
    """Read amount and discount; an amount that is there and cannot be read is an error, never nothing."""
    if (discount := _money(given, "discount")) is not None:
        properties["discount"] = discount
    for name in ("amount", "revenue", "total", "value"):
        if given.get(name) is None:
            continue
        try:
            amount = _money(given, name)
        except InvalidEventError:
            # "total" and "value" are money of a purchase, and may be anything of another event.
            if purchase or name in {"amount", "revenue"}:
                raise
            continue
        if amount is not None:
            properties["amount"] = amount
            return


def _money(given: dict[str, Any], name: str) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    where = f"properties.{name}"
    number = read_number(where, value)
    if number is not None and abs(number) > AMOUNT_LIMIT:
        raise wrong_type(where, value, f"an amount is at most {AMOUNT_LIMIT:.0e} of either sign")
    return number

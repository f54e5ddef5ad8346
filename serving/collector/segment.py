"""A call as Segment-compatible SDKs send it → an activity event of Ebb. Pure: no clock, no Kafka.

The mapping is described in `docs/collector.md`. Events are checked by the decoder of the workers, so that no call which
was answered "accepted" is dead-lettered later.
"""

import hashlib
import math
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from ebb.contracts.activity import Properties, decode_activity, encode_activity
from ebb.errors import InvalidEventError

CALLS: tuple[str, ...] = ("track", "identify", "page", "screen", "group")
"""Calls that can become an event; `alias` cannot, for Ebb never merges two customers."""
PERSONAL: frozenset[str] = frozenset(
    {
        "address",
        "avatar",
        "birthday",
        "email",
        "emailaddress",
        "firstname",
        "fullname",
        "ip",
        "ipaddress",
        "lastname",
        "mobile",
        "name",
        "phone",
        "phonenumber",
        "street",
        "surname",
        "title",
        "username",
    }
)
"""Properties that identify a person, without separators: they never reach a topic."""
_AMOUNTS = ("revenue", "total", "value")
_LONG_TEXT = 1_024
"""Characters of a free text that are kept."""


@dataclass(frozen=True)
class Event:
    """A record of the activity topic."""

    event_id: str
    customer_id: str
    body: bytes


@dataclass(frozen=True)
class RequestTimes:
    """The clocks by which the calls of one request are timed.

    Parameters
    ----------
    received_at
        Wall time at which the request came, Unix seconds.
    sent_at
        Time of the sender's clock when it sent the request, if given.
    event_time
        Wall time to event time, both Unix seconds.
    """

    received_at: float
    sent_at: float | None
    event_time: Callable[[float], float]


class CallMapper:
    """Turns calls into events.

    Parameters
    ----------
    kinds
        Event type to kind, as in the settings: `Order Completed` is looked up as it is, then as `order_completed`.
    latest
        Greatest event time accepted at a wall time, Unix seconds.
    max_bytes
        Largest event.
    """

    def __init__(self, kinds: Mapping[str, str], *, latest: Callable[[float], float], max_bytes: int) -> None:
        self._kinds = kinds
        self._latest = latest
        self._max_bytes = max_bytes

    def event(self, call: Mapping[str, Any], kind: str, times: RequestTimes) -> Event:
        """Map one call.

        Raises
        ------
        InvalidEventError
            With the reason under which a worker would have refused it, or one of `no_customer`, `personal_id`,
            `no_event_name`, `bad_time`.
        """
        customer = customer_of(call)
        moment = occurred_at(call, times)
        event_id = event_id_of(call, customer)
        properties = properties_of(call)
        body = encode_activity(event_id, customer, self._type(call, kind), moment, properties)
        decode_activity(body, latest=self._latest(times.received_at), max_bytes=self._max_bytes)
        return Event(event_id, customer, body)

    def _type(self, call: Mapping[str, Any], kind: str) -> str:
        if kind != "track":
            return kind
        name = call.get("event")
        if not isinstance(name, str) or not name.strip():
            raise InvalidEventError(reason="no_event_name", what="A track call must have an `event`: its name as text.")
        return name if name in self._kinds else snake_case(name)


def snake_case(name: str) -> str:
    """Return `order_completed` for `Order Completed` and for `orderCompleted`."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[\W_]+", "_", parted).strip("_").lower() or name.strip()


def customer_of(call: Mapping[str, Any]) -> str:
    """Return the customer of a call: `userId`, else `anonymousId`.

    Raises
    ------
    InvalidEventError
        If there is neither (`no_customer`), or it is an address of a person (`personal_id`).
    """
    for name in ("userId", "anonymousId"):
        value = call.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and value:
            if "@" in value:
                what = f"`{name}` looks like an e-mail address; customer ids must be opaque. Send an id of your own."
                raise InvalidEventError(reason="personal_id", what=what)
            return value
    raise InvalidEventError(reason="no_customer", what="The call has neither `userId` nor `anonymousId` as text.")


def occurred_at(call: Mapping[str, Any], times: RequestTimes) -> datetime:
    """Return when a call happened, corrected for the sender's clock, in event time.

    The sender's clock is wrong by the time it showed at sending less the time ours shows at receiving, so the event
    happened at received - (sent - timestamp). A call with both `originalTimestamp` and `timestamp` comes corrected.

    Raises
    ------
    InvalidEventError
        If a time cannot be read (`bad_time`) or has no zone (`naive_time`).
    """
    original, timestamp = call.get("originalTimestamp"), call.get("timestamp")
    device = read_time(original if timestamp is None else timestamp)
    sent = read_time(call.get("sentAt"))
    sent = times.sent_at if sent is None else sent
    if device is None:
        wall = times.received_at
    elif sent is None or (original is not None and timestamp is not None):
        wall = device
    else:
        wall = times.received_at - (sent - device)
    try:
        return datetime.fromtimestamp(round(times.event_time(wall), 3), UTC)
    except (OverflowError, ValueError, OSError):
        what = "The time of the call is outside the years that can be written."
        raise InvalidEventError(reason="bad_time", what=what) from None


def read_time(value: object) -> float | None:
    """Return an ISO 8601 time as Unix seconds, None if there is none.

    Raises
    ------
    InvalidEventError
        With reason `bad_time` or `naive_time`.
    """
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        what = f"{str(value)[:80]!r} is not a time; times are written as 2026-03-01T14:05:31.250Z."
        raise InvalidEventError(reason="bad_time", what=what)
    if moment.tzinfo is None:
        raise InvalidEventError(reason="naive_time", what=f"The time {str(value)[:80]!r} has no zone.")
    try:
        return moment.timestamp()
    except (OverflowError, ValueError):
        raise InvalidEventError(reason="bad_time", what=f"The time {str(value)[:80]!r} is out of range.") from None


def event_id_of(call: Mapping[str, Any], customer: str) -> str:
    """Return the id of a call: its `messageId`; else, if it has a time, a digest of all but the time of sending."""
    identity = call.get("messageId")
    if isinstance(identity, str) and identity:
        return identity
    if call.get("timestamp") is None and call.get("originalTimestamp") is None:
        return f"call-{secrets.token_hex(16)}"
    kept = {name: value for name, value in call.items() if name not in {"sentAt", "receivedAt", "writeKey"}}
    text = orjson.dumps([customer, kept], option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return f"call-{hashlib.blake2b(text, digest_size=16).hexdigest()}"


def properties_of(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties of a call as Ebb names them, without those that identify a person or are no scalars.

    Raises
    ------
    InvalidEventError
        If `amount` or `discount` is given and is not a number.
    """
    given = _mapping(call.get("properties"))
    context, traits = _mapping(call.get("context")), _mapping(call.get("traits"))
    properties: dict[str, Any] = {}
    for name, value in given.items():
        if re.sub(r"[^a-z]", "", name.lower()) in PERSONAL or name in Properties.__struct_fields__:
            continue
        if isinstance(value, str):
            properties[name] = value[:_LONG_TEXT]
        elif isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
            properties[name] = value
    sources: dict[str, tuple[object, ...]] = {
        "currency": (given.get("currency"),),
        "channel": (given.get("channel"), call.get("channel")),
        "country": (
            given.get("country"),
            _mapping(context.get("location")).get("country"),
            _mapping(traits.get("address")).get("country"),
            _mapping(_mapping(context.get("traits")).get("address")).get("country"),
        ),
        "product_id": (given.get("product_id"), given.get("productId"), given.get("sku")),
        "category": (given.get("category"), call.get("category")),
        "store": (given.get("store"), given.get("affiliation")),
        "payment_method": (given.get("payment_method"), given.get("paymentMethod")),
        "session_id": (given.get("session_id"), context.get("sessionId"), context.get("session_id")),
    }
    for name, values in sources.items():
        text = next((one for value in values if (one := _text(value))), None)
        if text is not None:
            properties[name] = text
    for name in ("amount", "discount"):
        if given.get(name) is not None:
            properties[name] = _required_number(name, given[name])
    if "amount" not in properties:
        amount = next((number for name in _AMOUNTS if (number := _number(given.get(name))) is not None), None)
        if amount is not None:
            properties["amount"] = amount
    return properties


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    """Return a number, also one written as text, as shops do; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _required_number(name: str, value: object) -> float:
    number = _number(value)
    if number is None:
        what = f"`properties.{name}` is {str(value)[:80]!r}; it must be a number."
        raise InvalidEventError(reason="wrong_type", what=what)
    return number

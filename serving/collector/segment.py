"""A call as Segment-compatible SDKs send it → an activity event of Ebb. Pure: no clock, no Kafka.

The mapping is described in `docs/collector.md`. Events are checked by the decoder of the workers, so that no call which
was answered "accepted" is dead-lettered later.
"""

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from ebb.contracts.activity import TEXT_LIMIT, decode_activity, encode_activity
from ebb.errors import InvalidEventError
from ebb.settings import Settings
from ebb.values.customer_ids import read_customer_id
from ebb.values.messages import shown, wrong_type
from ebb.values.times import SECOND_US, read_time
from serving.collector.personal import MOST_KEPT, clean
from serving.collector.properties import Remarks, properties_of

CALLS: tuple[str, ...] = ("track", "identify", "page", "screen", "group")
"""Calls that can become an event; `alias` cannot, for Ebb never merges two customers."""
CLOCK_SLACK_SECONDS = 60.0
"""How far after its sending a call may claim to have happened: two roundings and a clock that was set in between."""
MOST_QUEUED_SECONDS = 30 * 86_400.0
"""How long a call may have waited at its sender, by the sender's clock. What is older counts no more (docs/time.md)."""


@dataclass(frozen=True)
class Event:
    """A record of the activity topic."""

    event_id: str
    customer_id: str
    body: bytes
    remarks: Remarks


class RequestTimes:
    """The clocks by which the calls of one request are timed.

    Parameters
    ----------
    received_at
        Wall time at which the request came, Unix seconds.
    sent_at
        The request's `sentAt`, as it was sent: the time of the sender's clock.
    event_time
        Wall time to event time, both Unix seconds.
    """

    def __init__(self, received_at: float, sent_at: object, event_time: Callable[[float], float]) -> None:
        self.received_at = received_at
        self.event_time = event_time
        self._sent_at = _read_sent_at(sent_at)

    def sent_at(self, own: object) -> tuple[float | None, str]:
        """Return when a call was sent, Unix seconds by its sender's clock, and why it cannot be read if it cannot."""
        return self._sent_at if own is None else _read_sent_at(own)


def _read_sent_at(value: object) -> tuple[float | None, str]:
    try:
        us = read_time("sentAt", value)
    except InvalidEventError as error:
        return None, error.what
    return None if us is None else us / SECOND_US, ""


class CallMapper:
    """Turns calls into events.

    Parameters
    ----------
    settings
        Kinds (`Order Completed` is looked up as it is, then as `order_completed`), limits, who is no customer, what is
        carried though it looks personal.
    latest
        Greatest event time accepted at a wall time, Unix seconds.
    """

    def __init__(self, settings: Settings, *, latest: Callable[[float], float]) -> None:
        self._kinds = settings.kinds
        self._latest = latest
        self._max_bytes = settings.max_event_bytes
        self._nobody = settings.nobody
        self._email_ids = settings.collect_email_ids
        self._carried = frozenset(settings.carry_properties)

    def event(self, call: dict[str, Any], kind: str, times: RequestTimes) -> Event:
        """Map one call.

        Raises
        ------
        InvalidEventError
            With the reason under which a worker would have refused it, or one of `no_customer`, `inexact_id`,
            `personal_id`, `personal_data`, `no_event_name`, `bad_time`, `bad_json`.
        """
        remarks = Remarks()
        call = _with_objects(call)
        customer = self._customer(call, remarks)
        moment = occurred_at(call, times, remarks)
        event_id = event_id_of(call, customer, remarks)
        name = self._type(call, kind)
        purchase = self._kinds.get(name) == "purchase"
        properties = properties_of(call, remarks, purchase=purchase, carried=self._carried)
        body = encode_activity(event_id, customer, name, moment, properties)
        decode_activity(body, latest=self._latest(times.received_at), max_bytes=self._max_bytes)
        return Event(event_id, customer, body, remarks)

    def _customer(self, call: dict[str, Any], remarks: Remarks) -> str:
        """Return the customer of a call: `userId`, else `anonymousId`."""
        user, anonymous = call.get("userId"), call.get("anonymousId")
        if user is None and anonymous is None:
            what = "The call has neither `userId` nor `anonymousId`; one of them must name the customer."
            raise InvalidEventError(reason="no_customer", what=what, field="userId")
        try:
            customer, field = self._id("userId", user), "userId"
        except InvalidEventError as error:
            if error.reason != "no_customer" or anonymous is None:
                raise
            customer, field = self._id("anonymousId", anonymous), "anonymousId"
            if user is not None and user != "":
                remarks.note(f"`userId` is {shown(user)}, which is no customer; `anonymousId` was taken.")
        if "@" in customer and not self._email_ids:
            what = (
                f"`{field}` looks like an e-mail address; customer ids must be opaque. Send an id of your own, or "
                "allow addresses by EBB_COLLECT_EMAIL_IDS."
            )
            raise InvalidEventError(reason="personal_id", what=what, field=field)
        return customer

    def _id(self, field: str, value: object) -> str:
        return read_customer_id(value, field=field, nobody=self._nobody)

    def _type(self, call: dict[str, Any], kind: str) -> str:
        if kind != "track":
            return kind
        name = call.get("event")
        if not isinstance(name, str) or not name.strip():
            what = "A track call must have an `event`: its name as text."
            raise InvalidEventError(reason="no_event_name", what=what, field="event")
        if clean(name)[1] not in {None, "url"}:
            what = (
                "`event` has an e-mail address, a telephone, card or account number in it; send one name for all "
                "events of a kind."
            )
            raise InvalidEventError(reason="personal_data", what=what, field="event")
        if len(name) > TEXT_LIMIT:
            what = f"`event` has {len(name)} characters; a name has at most {TEXT_LIMIT}."
            raise InvalidEventError(reason="wrong_type", what=what, field="event")
        return name if name in self._kinds else snake_case(name)


def _with_objects(call: dict[str, Any]) -> dict[str, Any]:
    """Return a call whose `properties`, `context` and `traits` are objects; PHP writes an empty one as `[]`."""
    for field in ("properties", "context", "traits"):
        value = call.get(field)
        if value is not None and not isinstance(value, dict):
            if value != []:
                raise wrong_type(field, value, "it must be an object")
            call = {**call, field: {}}
    return call


def snake_case(name: str) -> str:
    """Return `order_completed` for `Order Completed` and for `orderCompleted`."""
    return _snake_case(name) if len(name) <= MOST_KEPT else _snake_case.__wrapped__(name)


@lru_cache(maxsize=4_096)
def _snake_case(name: str) -> str:
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[\W_]+", "_", parted).strip("_").lower() or name.strip()


def occurred_at(call: dict[str, Any], times: RequestTimes, remarks: Remarks) -> datetime:
    """Return when a call happened, corrected for the sender's clock, in event time.

    The sender's clock is wrong by the time it showed at sending less the time ours shows at receiving, so the event
    happened at received - (sent - timestamp). A call with both `originalTimestamp` and `timestamp` comes corrected.
    Where `sentAt` cannot be the same clock's (the call after its sending, or a month before it) or cannot be read, the
    call's time stands as it is, which is noted.

    Raises
    ------
    InvalidEventError
        If the call's time cannot be read (`bad_time`), has no zone (`naive_time`) or is before 1970 (`far_past`).
    """
    original, timestamp = call.get("originalTimestamp"), call.get("timestamp")
    field = "originalTimestamp" if timestamp is None else "timestamp"
    given = original if timestamp is None else timestamp
    if given is None:
        wall = times.received_at
    else:
        us = read_time(field, given)
        if us is None:
            what = f"`{field}` is blank; leave it out, or write it as 2026-03-01T14:05:31.250Z."
            raise InvalidEventError(reason="bad_time", what=what, field=field)
        wall = us / SECOND_US
        if original is None or timestamp is None:
            wall = _corrected(wall, call, times, remarks)
    try:
        return datetime.fromtimestamp(round(times.event_time(wall), 3), UTC)
    except (OverflowError, ValueError, OSError):
        what = f"`{field}` is outside the years that can be written."
        raise InvalidEventError(reason="bad_time", what=what, field=field) from None


def _corrected(wall: float, call: dict[str, Any], times: RequestTimes, remarks: Remarks) -> float:
    sent, unreadable = times.sent_at(call.get("sentAt"))
    if unreadable:
        remarks.note(f"{unreadable} The call's time was taken as it is.")
    if sent is None:
        return wall
    queued = sent - wall
    if not -CLOCK_SLACK_SECONDS <= queued <= MOST_QUEUED_SECONDS:
        remarks.note("`sentAt` and the call's time are not of one clock; the call's time was taken as it is.")
        return wall
    return times.received_at - max(queued, 0.0)


def event_id_of(call: dict[str, Any], customer: str, remarks: Remarks) -> str:
    """Return the id of a call: its `messageId`; else, if it has a time, a digest of all but the time of sending.

    Raises
    ------
    InvalidEventError
        With reason `wrong_type` if `messageId` is neither text nor a whole number, or too long; `bad_json` if a call
        without one is nested too deeply.
    """
    identity = call.get("messageId")
    if isinstance(identity, int) and not isinstance(identity, bool):
        identity = str(identity)
    if identity is not None and not isinstance(identity, str):
        field = "messageId"
        raise wrong_type(field, identity, "it must be text")
    if identity:
        if len(identity) > TEXT_LIMIT:
            what = f"`messageId` has {len(identity)} characters; it may have {TEXT_LIMIT}."
            raise InvalidEventError(reason="wrong_type", what=what, field="messageId")
        _, kind = clean(identity, key=True)
        if kind in {None, "url"}:
            return identity
        remarks.withhold("messageId", str(kind))
        return f"call-{hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()}"
    if call.get("timestamp") is None and call.get("originalTimestamp") is None:
        return f"call-{secrets.token_hex(16)}"
    kept = {name: value for name, value in call.items() if name not in {"sentAt", "receivedAt", "writeKey"}}
    try:
        text = orjson.dumps([customer, kept], option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # a whole number beyond 64 bits, or hundreds of levels
        try:
            text = msgspec.json.encode([customer, kept], order="sorted")
        except RecursionError:
            raise InvalidEventError(reason="bad_json", what="The call is nested too deeply.") from None
    return f"call-{hashlib.blake2b(text, digest_size=16).hexdigest()}"

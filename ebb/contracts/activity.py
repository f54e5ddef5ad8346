"""The activity event: what a producer sends and what a worker accepts."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
import orjson

from ebb.errors import InvalidEventError

TEXT_LIMIT = 256
"""Most characters of an id or of a known text property."""
AMOUNT_LIMIT = 1e12
"""Greatest amount or discount, in units of money, of either sign."""

Text = Annotated[str, msgspec.Meta(max_length=TEXT_LIMIT)]
Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_LIMIT)]
Money = Annotated[float, msgspec.Meta(ge=-AMOUNT_LIMIT, le=AMOUNT_LIMIT)]

TICK_HEADER = "ebb-tick"
"""Header of a record that carries no event but moves its partition's event time on (a punctuation).

Its value is the Unix time in seconds, as ASCII digits; key and body of the record are empty. Sources that know
their own time (the replay, the simulator) send one to every partition; a worker sends one to an idle partition.
"""

PUBLISHED_HEADER = "ebb-published"
"""Header of a tick of a paced replay: the day number of the boundary whose models a worker must have in use before it
processes what follows. Only a worker of a paced replay obeys it."""


class Properties(msgspec.Struct, frozen=True, gc=False):
    """The properties that Ebb knows; a producer may send any others beside them."""

    amount: Money | None = None
    currency: Text | None = None
    channel: Text | None = None
    country: Text | None = None
    product_id: Text | None = None
    category: Text | None = None
    store: Text | None = None
    payment_method: Text | None = None
    discount: Money | None = None
    session_id: Text | None = None


NO_PROPERTIES = msgspec.Raw(b"{}")
"""What an event has, as this very object, that was sent without any."""


class Activity(msgspec.Struct, frozen=True, gc=False):
    """One event on `ebb.activity`. `occurred_at` has a zone; the ids are opaque and not empty."""

    event_id: Identifier
    customer_id: Identifier
    type: Identifier
    occurred_at: Annotated[datetime, msgspec.Meta(tz=True)]
    properties: msgspec.Raw = NO_PROPERTIES


_activity = msgspec.json.Decoder(Activity)
_properties = msgspec.json.Decoder(Properties)


def encode_activity(
    event_id: str, customer_id: str, kind: str, occurred_at: datetime, properties: dict[str, Any] | None = None
) -> bytes:
    """Return the record body of an event.

    Raises
    ------
    ValueError
        If `occurred_at` has no zone.
    """
    if occurred_at.tzinfo is None:
        message = f"occurred_at of event {event_id} has no zone: {occurred_at.isoformat()}"
        raise ValueError(message)
    return orjson.dumps(
        {
            "event_id": event_id,
            "customer_id": customer_id,
            "type": kind,
            "occurred_at": occurred_at,
            "properties": properties or {},
        }
    )


def decode_activity(body: bytes | None, *, latest: float, max_bytes: int) -> tuple[Activity, Properties]:
    """Decode and validate a record body.

    Parameters
    ----------
    body
        JSON as it came from the topic.
    latest
        Greatest `occurred_at` accepted, Unix seconds.
    max_bytes
        Greatest size accepted.

    Raises
    ------
    InvalidEventError
        With reason `empty`, `too_large`, `bad_json`, `missing_field`, `naive_time`, `wrong_type`, `far_past` or
        `far_future`.
    """
    if not body:
        raise InvalidEventError(reason="empty", what="The record has no body.")
    if len(body) > max_bytes:
        what = f"The record has {len(body)} bytes; at most {max_bytes} are accepted."
        raise InvalidEventError(reason="too_large", what=what)
    try:
        event = _activity.decode(body)
        properties = _properties.decode(event.properties)
        body.decode()  # msgspec does not check what it skips, and that is stored as text too
    except msgspec.ValidationError as error:
        text = str(error)
        reason = "missing_field" if "missing required" in text else "wrong_type"
        if "timezone component" in text:
            reason = "naive_time"
        raise InvalidEventError(reason=reason, what=text, field=_field_of(text)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidEventError(reason="bad_json", what=str(error)) from None
    except RecursionError:
        raise InvalidEventError(reason="bad_json", what="The record is nested too deeply.") from None
    if event.occurred_at.timestamp() < 0:
        what = f"occurred_at {event.occurred_at.isoformat()} is before 1970."
        raise InvalidEventError(reason="far_past", what=what)
    if event.occurred_at.timestamp() > latest:
        what = f"occurred_at {event.occurred_at.isoformat()} is ahead of the clock."
        raise InvalidEventError(reason="far_future", what=what)
    return event, properties


def _field_of(text: str) -> str | None:
    """Return the field that a message of msgspec is about (`… - at `$.amount``), None if it names none."""
    _, _, path = text.partition(" - at `$.")
    return path.rstrip("`") or None

"""One request to the collector: its body read, its calls judged one by one; the key in its headers."""

import base64
import binascii
import time
from collections.abc import Mapping
from typing import Any, Literal

import orjson
from pydantic import BaseModel

from ebb.clock import Clock
from ebb.errors import InvalidEventError
from ebb.metrics import COLLECTED
from ebb.settings import Settings
from serving.collector.segment import CALLS, CallMapper, Event, RequestTimes, read_time
from serving.collector.unpack import MalformedError, unpack
from serving.http.routes import read_json


class Verdict(BaseModel):
    """What became of one call."""

    message_id: str | None
    status: Literal["accepted", "refused", "ignored"]
    reason: str | None = None
    detail: str | None = None


MAX_CALLS = 2_500
"""Calls in one batch."""


class Collector:
    """Judges calls. Holds no state of its own.

    Parameters
    ----------
    settings
        Kinds, limits, which calls become events.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._collected = frozenset(settings.collect_calls)
        self._clock = clock
        self._mapper = CallMapper(
            settings.kinds,
            # As the workers judge it: by when the record is produced.
            latest=lambda wall: max(clock.at(wall), clock.origin_event) + settings.future_tolerance_seconds,
            max_bytes=settings.max_event_bytes,
        )

    def judge(
        self, calls: list[Any], request: Mapping[str, Any], kind: str | None
    ) -> tuple[list[Event], list[Verdict]]:
        """Return the events of a request and a verdict on each call, in order.

        Parameters
        ----------
        request
            The body, whose `context` holds for all its calls and whose `sentAt` is the sender's clock.
        kind
            The type of the calls, None if each has its `type`.

        Raises
        ------
        MalformedError
            If `sentAt` is no time.
        """
        try:
            sent_at = read_time(request.get("sentAt"))
        except InvalidEventError as error:
            raise MalformedError(error.what) from None
        times = RequestTimes(time.time(), sent_at, self._clock.at)
        events: list[Event] = []
        verdicts: list[Verdict] = []
        for call in calls:
            verdict = self._judge(call, request, kind, times, events)
            verdicts.append(verdict)
            name = kind or (call.get("type") if isinstance(call, dict) else None)
            COLLECTED.labels(name if name in CALLS else "other", verdict.status).inc()
        return events, verdicts

    def _judge(
        self, call: Any, request: Mapping[str, Any], kind: str | None, times: RequestTimes, events: list[Event]
    ) -> Verdict:
        if not isinstance(call, dict):
            return Verdict(message_id=None, status="refused", reason="wrong_type", detail="A call is a JSON object.")
        given = call.get("messageId")
        message_id = given[:256] if isinstance(given, str) else None
        name = kind or call.get("type")
        if name not in CALLS:
            what = f"{str(name)[:80]!r} is no type of call that can become an event; they are {', '.join(CALLS)}."
            return Verdict(message_id=message_id, status="refused", reason="unknown_call", detail=what)
        if name not in self._collected:
            return Verdict(message_id=message_id, status="ignored", reason="not_collected")
        if "context" not in call and "context" in request:
            call = {**call, "context": request["context"]}
        try:
            events.append(self._mapper.event(call, name, times))
        except InvalidEventError as error:
            return Verdict(message_id=message_id, status="refused", reason=error.reason, detail=error.what)
        return Verdict(message_id=message_id, status="accepted")


def read_body(body: bytes, encoding: str) -> dict[str, Any]:
    """Return the JSON object of a request.

    Parameters
    ----------
    encoding
        The `Content-Encoding` header: `gzip`, `identity` or nothing.

    Raises
    ------
    MalformedError
        If it is none, or is too large when unpacked.
    HTTPException
        413 if it holds too many values.
    """
    try:
        value = read_json(unpack(body, encoding))
    except orjson.JSONDecodeError as error:
        what = f"The body is not JSON: {error}."
        raise MalformedError(what) from None
    if not isinstance(value, dict):
        what = "The body is not a JSON object."
        raise MalformedError(what)
    return value


def calls_of(body: Mapping[str, Any], kind: str | None) -> list[Any]:
    """Return the calls of a body: itself, or those of its `batch` if `kind` is None.

    Raises
    ------
    MalformedError
        If a batch has none or too many.
    """
    if kind is not None:
        return [body]
    batch = body.get("batch")
    if not isinstance(batch, list):
        what = "A batch needs `batch`: a list of calls, each with its `type`."
        raise MalformedError(what)
    if len(batch) > MAX_CALLS:
        what = f"The batch has {len(batch)} calls; at most {MAX_CALLS} are taken at once."
        raise MalformedError(what, kind="too-large")
    return batch


def header_key(authorization: str | None, header: str | None) -> str | None:
    """Return the key that a request presents in its headers: user name of Basic, bearer token, `X-API-Key`.

    None if it presents none; empty if what it presents is no key, for a malformed header is not ignored.
    """
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip().encode(), validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    if scheme.lower() == "bearer":
        return value.strip()
    return header or None

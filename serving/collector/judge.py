"""One request to the collector: its body read, its calls judged one by one."""

import base64
import binascii
import time
import zlib
from collections.abc import Mapping
from typing import Any, Literal

import orjson
from pydantic import BaseModel

from ebb.clock import Clock
from ebb.errors import EbbError, InvalidEventError
from ebb.metrics import COLLECTED
from ebb.settings import Settings
from serving.collector.segment import CALLS, CallMapper, Event, RequestTimes, read_time
from serving.http.middleware import MAX_BODY_BYTES


class Verdict(BaseModel):
    """What became of one call."""

    message_id: str | None
    status: Literal["accepted", "refused", "ignored"]
    reason: str | None = None
    detail: str | None = None


MAX_CALLS = 2_500
"""Calls in one batch."""
MAX_PLAIN_BYTES = 4 * MAX_BODY_BYTES
"""Largest body after it was decompressed."""


class MalformedError(EbbError):
    """A request that is no call and no batch of calls; `kind` is the type of problem."""

    def __init__(self, what: str, *, kind: str = "invalid-request") -> None:
        super().__init__(what)
        self.kind = kind


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
        If it is none, or is too large when decompressed.
    """
    if encoding.strip().lower() not in {"", "identity", "gzip"}:
        what = f"Content-Encoding {encoding[:40]!r} is not known; send gzip or none."
        raise MalformedError(what)
    if encoding.strip().lower() == "gzip":
        body = _decompress(body)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        what = f"The body is not JSON: {error}."
        raise MalformedError(what) from None
    if not isinstance(value, dict):
        what = "The body is not a JSON object."
        raise MalformedError(what)
    return value


def _decompress(body: bytes) -> bytes:
    decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        plain = decompressor.decompress(body, MAX_PLAIN_BYTES)
    except zlib.error as error:
        what = f"The body is not gzip, as its Content-Encoding says: {error}."
        raise MalformedError(what) from None
    if decompressor.unconsumed_tail:
        what = f"The body has more than {MAX_PLAIN_BYTES} bytes when decompressed."
        raise MalformedError(what, kind="too-large")
    if not decompressor.eof:
        what = "The gzip body ends too early."
        raise MalformedError(what)
    return plain


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


def write_key(authorization: str | None, header: str | None, body: Mapping[str, Any]) -> str | None:
    """Return the write key of a request: user name of Basic, bearer token, `X-API-Key`, or `writeKey` in the body."""
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip().encode(), validate=True).decode().partition(":")[0] or None
        except (binascii.Error, UnicodeDecodeError):
            return None
    if scheme.lower() == "bearer":
        return value.strip() or None
    key = header or body.get("writeKey")
    return key if isinstance(key, str) and key else None

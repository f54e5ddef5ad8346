"""One request to the collector: its body read, its calls judged one by one; the key in its headers."""

import base64
import binascii
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ebb.clock import Clock
from ebb.errors import InvalidEventError
from ebb.metrics import COLLECT_REFUSED, COLLECT_WITHHELD, COLLECTED
from ebb.settings import Settings
from ebb.values.messages import shown
from serving.collector.json_calls import UnreadableCall, parse_body
from serving.collector.segment import CALLS, CallMapper, Event, RequestTimes
from serving.collector.unpack import MalformedError, unpack
from serving.http.routes import check_values


@dataclass(slots=True)
class Verdict:
    """What became of one call."""

    index: int
    """Its place among the calls of the request, from 0."""
    message_id: str | None
    status: Literal["accepted", "refused", "ignored"]
    reason: str | None = None
    field: str | None = None
    """The field for which it was refused, where it is one."""
    detail: str | None = None
    notes: Sequence[str] = ()
    """What was withheld of an accepted call, or read otherwise than its sender may think."""


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
            settings,
            # As the workers judge it: by when the record is produced.
            latest=lambda wall: max(clock.at(wall), clock.origin_event) + settings.future_tolerance_seconds,
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
        """
        times = RequestTimes(time.time(), request.get("sentAt"), self._clock.at)
        events: list[Event] = []
        verdicts: list[Verdict] = []
        refused: Counter[str] = Counter()
        counts: Counter[tuple[str, str]] = Counter()
        for index, call in enumerate(calls):
            event = None
            try:
                event = self._event(call, request, kind, times)
            except InvalidEventError as error:
                refused[error.reason] += 1
                verdict = Verdict(
                    index=index,
                    message_id=_message_id(call),
                    status="refused",
                    reason=error.reason,
                    field=error.field,
                    detail=error.what,
                )
            else:
                if event is None:
                    verdict = Verdict(
                        index=index, message_id=_message_id(call), status="ignored", reason="not_collected"
                    )
                else:
                    events.append(event)
                    notes = event.remarks.notes
                    verdict = Verdict(index=index, message_id=_message_id(call), status="accepted", notes=notes)
            verdicts.append(verdict)
            name = kind or (call.get("type") if isinstance(call, dict) else None)
            counts[name if name in CALLS else "other", verdict.status] += 1
        for labels, count in counts.items():
            COLLECTED.labels(*labels).inc(count)
        for reason, count in refused.items():
            COLLECT_REFUSED.labels(reason).inc(count)
        for withheld, count in Counter(kind for event in events for kind in event.remarks.withheld).items():
            COLLECT_WITHHELD.labels(withheld).inc(count)
        return events, verdicts

    def _event(self, call: Any, request: Mapping[str, Any], kind: str | None, times: RequestTimes) -> Event | None:
        """Return the event of a call, None if such calls are not collected."""
        if isinstance(call, UnreadableCall):
            what = f"The call is not JSON: {call.why}. NaN and infinity are no JSON; leave such values out."
            raise InvalidEventError(reason="bad_json", what=what)
        if not isinstance(call, dict):
            raise InvalidEventError(reason="wrong_type", what=f"The call is {shown(call)}; it must be a JSON object.")
        name = kind or call.get("type")
        if name not in CALLS:
            what = f"`type` is {shown(name)}; the calls that can become an event are {', '.join(CALLS)}."
            raise InvalidEventError(reason="unknown_call", what=what, field="type")
        if name not in self._collected:
            return None
        if "context" not in call and "context" in request:
            call = {**call, "context": request["context"]}
        return self._mapper.event(call, name, times)


def _message_id(call: Any) -> str | None:
    given = call.get("messageId") if isinstance(call, dict) else None
    return given[:256] if isinstance(given, str) else None


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
    plain = unpack(body, encoding)
    check_values(plain)
    return parse_body(plain)


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

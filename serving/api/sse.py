"""`/v1/stream/sse`: the stream as server-sent events, for clients without WebSockets."""

import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from ebb.contracts.scores import Band
from ebb.contracts.stream import MAX_CUSTOMERS, Filter, Topic
from serving.context import Context, ContextDep
from serving.http.auth import PRINCIPAL, Principal, RequiresRead
from serving.http.problems import ProblemError
from serving.http.routes import GuardedRoute
from serving.streaming.subscriptions import Subscription

SEND_SECONDS = 30.0
"""A client that reads nothing for this long is cut off."""
router = APIRouter(prefix="/v1", tags=["stream"], dependencies=[RequiresRead], route_class=GuardedRoute)


@router.get(
    "/stream/sse",
    summary="Scores and alerts as server-sent events",
    description="Events `score` and `alert` as on the WebSocket `/v1/stream`, `heartbeat` between them. The id of an "
    "event is `<epoch>:<sequence>`; sent back as `Last-Event-ID` it resumes. `unrecoverable` means: fetch the current "
    "state.",
    response_class=EventSourceResponse,
    response_model=None,
)
async def stream_events(
    *,
    context: ContextDep,
    request: Request,
    topics: Annotated[list[Topic] | None, Query(description="Default: both.")] = None,
    band: Annotated[list[Band] | None, Query()] = None,
    customer: Annotated[list[str] | None, Query(max_length=MAX_CUSTOMERS)] = None,
    country: Annotated[list[str] | None, Query()] = None,
    minimum: Annotated[float | None, Query(ge=0, le=1, description="Least churn probability.")] = None,
    last_event_id: Annotated[str | None, Header(description="`<epoch>:<sequence>` to resume from.")] = None,
) -> Response:
    """Serve one client."""
    query_filter = Filter(
        bands=frozenset(band) if band else None,
        customers=frozenset(customer) if customer else None,
        countries=frozenset(country) if country else None,
        minimum=minimum,
    )
    if context.hub.closing.is_set() or context.hub.streams >= context.settings.stream_clients:
        what = "This replica has all the streams it may have."
        raise ProblemError(what, "Reconnect later.", kind="unavailable", headers={"Retry-After": "10"})
    if not context.feed.reader.caught_up:
        what = "This replica is still reading the topics."
        raise ProblemError(what, "Reconnect in a moment.", kind="unavailable", headers={"Retry-After": "1"})
    subscription = Subscription(frozenset(topics or ("scores", "alerts")), query_filter)
    # Our heartbeats have a sequence, which the library's own pings have not.
    return EventSourceResponse(
        _events(context, subscription, request.scope[PRINCIPAL], last_event_id), ping=3_600, send_timeout=SEND_SECONDS
    )


async def _events(
    context: Context, subscription: Subscription, principal: Principal, last_event_id: str | None
) -> AsyncIterator[ServerSentEvent]:
    hub, queue, every = context.hub, subscription.queue, context.settings.heartbeat_seconds
    if not hub.connect():
        return
    try:
        epoch, _, sequence = (last_event_id or "").rpartition(":")
        missed = hub.missed(epoch, _number(sequence), subscription) if last_event_id else []
        for message in missed or ():
            queue.put(message)
        hub.add(subscription)
        yield _event("unrecoverable" if missed is None else "subscribed", hub.epoch, hub.sequence if not missed else -1)
        due = time.monotonic() + every
        while not (hub.closing.is_set() or queue.overflowed.is_set() or context.authenticator.has_ended(principal)):
            # Short waits, so that a shutdown, or the end of the key, is noticed soon.
            await queue.wait(min(1.0, max(0.0, due - time.monotonic())))
            while (waiting := queue.get()) is not None:
                if not isinstance(waiting, str):
                    message = waiting[0]
                    identity = f"{hub.epoch}:{message.sequence}"
                    yield ServerSentEvent(message.body.decode(), event=message.type, id=identity, sep="\n")
            if time.monotonic() >= due:
                yield _event("heartbeat", hub.epoch, hub.sequence)
                due = time.monotonic() + every
    finally:
        hub.remove(subscription)
        hub.disconnect()


def _event(kind: str, epoch: str, sequence: int) -> ServerSentEvent:
    if sequence < 0:
        return ServerSentEvent("{}", event=kind, sep="\n")
    return ServerSentEvent("{}", event=kind, id=f"{epoch}:{sequence}", sep="\n")


def _number(text: str) -> int:
    """Return a sequence number, -1 if it is none; `isdigit` alone takes `²`, and `int` no 5,000 digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1

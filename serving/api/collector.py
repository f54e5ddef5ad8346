"""`/v1/track`, `identify`, `page`, `screen`, `group`, `batch`: activity from SDKs of Segment's tracking API."""

from http import HTTPStatus
from typing import Any, Literal

import orjson
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ebb.contracts.api_keys import Scope
from serving.collector.judge import Verdict, calls_of, header_key, read_body
from serving.collector.unpack import MalformedError, is_small, key_in, unpack
from serving.context import Context
from serving.http.auth import PRINCIPAL, QUOTAS, Principal
from serving.http.middleware import BODY, LimitedBody
from serving.http.problems import ProblemError, problem_response
from serving.http.routes import PublicRoute

_THREAD_BYTES = 20_000
"""Bytes, unpacked, above which a body is read and judged in a thread; below, a thread would cost more than the work."""
UNADMITTED_BYTES = 524_288
"""Largest body, packed and unpacked, of a caller without a key in the headers; SDKs of pages send no more."""
UNADMITTED_SECONDS = 10.0
"""Time in which it must arrive."""
_SHORT_PATHS = {"track": "t", "identify": "i", "page": "p", "screen": "s", "group": "g", "batch": "b"}
"""Names of the same paths in browser and mobile SDKs."""
EXAMPLE_CALL: dict[str, Any] = {
    "type": "track",
    "userId": "c-1042",
    "messageId": "ajs-5f0c2e",
    "event": "Order Completed",
    "timestamp": "2026-03-01T14:05:31.250Z",
    "sentAt": "2026-03-01T14:05:33.000Z",
    "properties": {"order_id": "10027", "revenue": 49.9, "currency": "EUR"},
    "context": {"library": {"name": "analytics.js"}},
}
EXAMPLE_COLLECTED: dict[str, Any] = {
    "success": True,
    "accepted": 1,
    "refused": 0,
    "ignored": 0,
    "verdicts": [
        {
            "index": 0,
            "message_id": "ajs-5f0c2e",
            "status": "accepted",
            "reason": None,
            "field": None,
            "detail": None,
            "notes": [],
        }
    ],
}


class Call(BaseModel):
    """One call of an analytics SDK. Other fields are ignored."""

    model_config = ConfigDict(extra="allow")

    type: str | None = Field(default=None, description="track, identify, page, screen or group; needed in a batch.")
    userId: str | None = Field(default=None, description="Opaque id of the customer; no e-mail address.")
    anonymousId: str | None = Field(default=None, description="Id before the customer is known.")
    messageId: str | None = Field(default=None, description="The same when the call is sent again.")
    event: str | None = Field(
        default=None, description="Name of what was done, for track.", examples=["Order Completed"]
    )
    timestamp: str | None = Field(default=None, description="When it happened, by the sender's clock.")
    sentAt: str | None = Field(default=None, description="When it was sent, by the same clock.")
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    writeKey: str | None = Field(default=None, description="The write key, where no header can carry it.")


class CallBatch(BaseModel):
    """Calls sent together."""

    model_config = ConfigDict(extra="allow")

    batch: list[Call]
    sentAt: str | None = None
    context: dict[str, Any] | None = None
    writeKey: str | None = None


class Collected(BaseModel):
    """Result of a request; every `accepted` event is durable on Kafka."""

    success: Literal[True] = True
    accepted: int
    refused: int
    ignored: int
    verdicts: list[Verdict] = Field(description="One per call, in order.")


router = APIRouter(prefix="/v1", tags=["collector"], route_class=PublicRoute)


async def collect(request: Request, kind: str | None) -> Response:
    """Answer one request: `kind` is the type of its one call, None for a batch."""
    context: Context = request.app.state.context
    encoding = request.headers.get("content-encoding", "")
    key = header_key(request.headers.get("authorization"), request.headers.get("x-api-key"))
    if key is not None or not context.authenticator.needs_key:
        principal = _authenticate(request, key)
        raw = await request.body()
    else:
        principal, raw = await _admit_by_body(request, encoding)
        encoding = ""
    in_thread = not is_small(raw, encoding, _THREAD_BYTES)
    try:
        body = await run_in_threadpool(read_body, raw, encoding) if in_thread else read_body(raw, encoding)
        calls = calls_of(body, kind)
    except MalformedError as error:
        raise _problem(error) from None
    request.scope[QUOTAS] = [
        *context.authenticator.count_request(principal),
        *context.authenticator.count_events(principal, len(calls)),
    ]
    try:
        judge = context.collector.judge
        events, verdicts = await run_in_threadpool(judge, calls, body, kind) if in_thread else judge(calls, body, kind)
    except MalformedError as error:
        raise _problem(error) from None
    records = [(event.customer_id, event.body) for event in events]
    await context.producer.deliver(context.settings.topics.activity, records)
    if kind is not None and verdicts[0].status == "refused":
        verdict = verdicts[0]
        errors = [{"where": verdict.field or kind, "message": verdict.detail or "", "reason": verdict.reason}]
        return problem_response("event-refused", request.url.path, verdict.detail or "", errors=errors)
    statuses = [verdict.status for verdict in verdicts]
    counts = {status: statuses.count(status) for status in ("accepted", "refused", "ignored")}
    answer = {"success": True, **counts, "verdicts": verdicts}
    return Response(orjson.dumps(answer), media_type="application/json")


async def _admit_by_body(request: Request, encoding: str) -> tuple[Principal, bytes]:
    """Return who sent a request without a key in its headers, and its body as it was before it was packed.

    Pages have no other place for the key. So the body is read before anybody is known, within bounds of its own; of
    what is in it the key alone is looked at.
    """
    context: Context = request.app.state.context
    body: LimitedBody = request.scope[BODY]
    place = context.waiting_bodies.enter(request.client.host if request.client else "", body.make_room)
    try:
        body.tighten(UNADMITTED_BYTES, UNADMITTED_SECONDS)
        raw = await request.body()
        if is_small(raw, encoding, _THREAD_BYTES):
            plain = unpack(raw, encoding, UNADMITTED_BYTES)
        else:
            plain = await run_in_threadpool(unpack, raw, encoding, UNADMITTED_BYTES)
    except HTTPException as error:
        if error.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            raise
        plain = b""
    except MalformedError:  # without a key, a caller learns nothing about the body
        plain = b""
    finally:
        context.waiting_bodies.leave(place)
    return _authenticate(request, key_in(plain)), plain


def _authenticate(request: Request, key: str | None) -> Principal:
    context: Context = request.app.state.context
    address = request.client.host if request.client else ""
    principal = request.scope[PRINCIPAL] = context.authenticator.authenticate(key, Scope.WRITE, address)
    return principal


def _problem(error: MalformedError) -> ProblemError:
    return ProblemError(error.what, kind=error.kind)


def _add_route(name: str, summary: str) -> None:
    kind = None if name == "batch" else name
    model = CallBatch if kind is None else Call
    example = {"batch": [EXAMPLE_CALL], "sentAt": EXAMPLE_CALL["sentAt"]} if kind is None else EXAMPLE_CALL

    async def endpoint(request: Request) -> Response:
        return await collect(request, kind)

    router.add_api_route(
        f"/{name}",
        endpoint,
        methods=["POST"],
        name=name,
        summary=summary,
        description="Answered when Kafka has acknowledged every accepted event. The key (scope `write`) comes as user "
        "name of Basic authorization, as a bearer token, in `X-API-Key`, or as `writeKey` in a body of at most 512 "
        "KiB. The body may be gzip. See docs/collector.md for what is mapped to what.",
        response_model=Collected,
        responses={200: {"content": {"application/json": {"example": EXAMPLE_COLLECTED}}}},
        openapi_extra={
            "security": [{"WriteKey": []}, {"HTTPBearer": []}, {"APIKeyHeader": []}],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": model.model_json_schema(), "example": example}},
            },
        },
    )
    router.add_api_route(f"/{_SHORT_PATHS[name]}", endpoint, methods=["POST"], include_in_schema=False)


for _name, _summary in {
    "track": "Something that a customer did",
    "identify": "Who a customer is",
    "page": "A page that a customer saw",
    "screen": "A screen that a customer saw",
    "group": "A group that a customer is in",
    "batch": "Several calls at once",
}.items():
    _add_route(_name, _summary)

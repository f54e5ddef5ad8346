"""`/v1/track` and its kin: activity from SDKs that speak the shape of Segment's tracking API."""

from typing import Any, Literal

import orjson
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from ebb.contracts.api_keys import Scope
from ebb.kafka.acknowledged_producer import BusyError
from serving.collector.judge import MalformedError, Verdict, calls_of, read_body, write_key
from serving.context import Context
from serving.http.auth import RATES
from serving.http.problems import ProblemError, problem_response


class Call(BaseModel):
    """One call of an analytics SDK. Other fields may come and are not looked at."""

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
    """What became of a request; whatever is `accepted` is durable on Kafka."""

    success: Literal[True] = True
    accepted: int
    refused: int
    ignored: int
    verdicts: list[Verdict] = Field(description="One per call, in order.")


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
    "verdicts": [{"message_id": "ajs-5f0c2e", "status": "accepted", "reason": None, "detail": None}],
}


router = APIRouter(prefix="/v1", tags=["collector"])
_LARGE = 20_000
"""Bytes above which a body is read and judged in a thread: below it the way there would cost more than the work."""
_SHORT = {"track": "t", "identify": "i", "page": "p", "screen": "s", "group": "g", "batch": "b"}
"""What browser and mobile SDKs call the same paths."""


async def collect(request: Request, kind: str | None) -> Response:
    """Take one request: `kind` is what its one call is, None for a batch."""
    context: Context = request.app.state.context
    raw = await request.body()
    encoding = request.headers.get("content-encoding", "")
    try:
        body = await run_in_threadpool(read_body, raw, encoding) if len(raw) > _LARGE else read_body(raw, encoding)
        calls = calls_of(body, kind)
    except MalformedError as error:
        # Who has no key learns nothing more than that.
        _admit(context, request, {})
        raise _problem(error) from None
    grant = _admit(context, request, body)
    request.scope[RATES] = [
        *context.authenticator.count_request(grant),
        *context.authenticator.count_events(grant, len(calls)),
    ]
    try:
        judge = context.collector.judge
        events, verdicts = (
            await run_in_threadpool(judge, calls, body, kind) if len(raw) > _LARGE else judge(calls, body, kind)
        )
    except MalformedError as error:
        raise _problem(error) from None
    try:
        await context.producer.deliver(
            context.settings.topics.activity, [(event.customer_id, event.body) for event in events]
        )
    except BusyError as error:
        raise ProblemError(error.what, error.hint, kind="too-many-requests", headers={"Retry-After": "1"}) from None
    if kind is not None and verdicts[0].status == "refused":
        verdict = verdicts[0]
        errors = [{"where": kind, "message": verdict.detail or "", "reason": verdict.reason}]
        return problem_response("event-refused", request.url.path, verdict.detail or "", errors=errors)
    counts = {status: sum(one.status == status for one in verdicts) for status in ("accepted", "refused", "ignored")}
    answer = {"success": True, **counts, "verdicts": [one.model_dump() for one in verdicts]}
    return Response(orjson.dumps(answer), media_type="application/json")


def _admit(context: Context, request: Request, body: dict[str, Any]) -> Any:
    headers = request.headers
    key = write_key(headers.get("authorization"), headers.get("x-api-key"), body)
    return context.authenticator.authenticate(key, Scope.WRITE, request.client.host if request.client else "")


def _problem(error: MalformedError) -> ProblemError:
    return ProblemError(error.what, kind=error.kind)


def _add(name: str, words: str) -> None:
    kind = None if name == "batch" else name
    model = CallBatch if kind is None else Call
    example = {"batch": [EXAMPLE_CALL], "sentAt": EXAMPLE_CALL["sentAt"]} if kind is None else EXAMPLE_CALL

    async def take(request: Request) -> Response:
        return await collect(request, kind)

    router.add_api_route(
        f"/{name}",
        take,
        methods=["POST"],
        name=name,
        summary=words,
        description="Answered when Kafka has acknowledged every accepted event. The key (scope `write`) comes as user "
        "name of Basic authorization, as a bearer token, in `X-API-Key`, or as `writeKey` in the body. The body may be "
        "gzip. See docs/collector.md for what is mapped to what.",
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
    router.add_api_route(f"/{_SHORT[name]}", take, methods=["POST"], include_in_schema=False)


for _name, _words in {
    "track": "Something that a customer did",
    "identify": "Who a customer is",
    "page": "A page that a customer saw",
    "screen": "A screen that a customer saw",
    "group": "A group that a customer is in",
    "batch": "Several calls at once",
}.items():
    _add(_name, _words)

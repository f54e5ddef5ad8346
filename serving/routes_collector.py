"""`/v1/track` and its kin: activity from SDKs that speak the shape of Segment's tracking API."""

from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from ebb.keys import Scope
from serving.collector import MalformedError, calls_of, read_body, write_key
from serving.context import Context
from serving.delivery import BusyError
from serving.problems import ProblemError, problem_response
from serving.schemas_collector import EXAMPLE_CALL, EXAMPLE_COLLECTED, Batch, Call, Collected
from serving.security import RATES

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
    request.scope[RATES] = [*context.door.count_request(grant), *context.door.count_events(grant, len(calls))]
    try:
        judge = context.collector.judge
        events, verdicts = (
            await run_in_threadpool(judge, calls, body, kind) if len(raw) > _LARGE else judge(calls, body, kind)
        )
    except MalformedError as error:
        raise _problem(error) from None
    try:
        await context.delivery.deliver(
            context.settings.topics.activity, [(event.customer_id, event.body) for event in events]
        )
    except BusyError as error:
        raise ProblemError(error.what, error.hint, kind="too-many-requests", headers={"Retry-After": "1"}) from None
    if kind is not None and verdicts[0].status == "refused":
        told = verdicts[0]
        errors = [{"where": kind, "message": told.detail or "", "reason": told.reason}]
        return problem_response("event-refused", request.url.path, told.detail or "", errors=errors)
    counts = {status: sum(one.status == status for one in verdicts) for status in ("accepted", "refused", "ignored")}
    answer = {"success": True, **counts, "verdicts": [one.model_dump() for one in verdicts]}
    return Response(orjson.dumps(answer), media_type="application/json")


def _admit(context: Context, request: Request, body: dict[str, Any]) -> Any:
    headers = request.headers
    key = write_key(headers.get("authorization"), headers.get("x-api-key"), body)
    return context.door.admit(key, Scope.WRITE, request.client.host if request.client else "")


def _problem(error: MalformedError) -> ProblemError:
    return ProblemError(error.what, kind=error.kind)


def _add(name: str, words: str) -> None:
    kind = None if name == "batch" else name
    model = Batch if kind is None else Call
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

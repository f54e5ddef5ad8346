"""Errors as the API tells them: RFC 9457 problem details, each type with a page of its own."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ebb.errors import EbbError, UnavailableError
from ebb.log import get_logger

MEDIA_TYPE = "application/problem+json"
_log = get_logger(__name__)


@dataclass(frozen=True)
class Kind:
    """A type of problem: its HTTP status, its title, and what it means and what to do."""

    status: int
    title: str
    meaning: str


KINDS: dict[str, Kind] = {
    "unknown-customer": Kind(
        404,
        "Customer not known",
        "No score is held for this customer id: no event of theirs was processed. "
        "Ids are compared exactly; check case and leading zeros.",
    ),
    "erased-customer": Kind(
        404,
        "Customer erased",
        "The customer was known and has been forgotten on request; what they do from now on is somebody new's.",
    ),
    "unknown-alert": Kind(
        404,
        "Alert not known",
        "No alert has this id, or its customer was erased; GET /v1/alerts lists the newest with their ids.",
    ),
    "alert-closed": Kind(
        409,
        "Alert closed",
        "The alert has an outcome already: it can be neither acknowledged nor put off. Its outcome can be corrected.",
    ),
    "unknown-erasure": Kind(404, "Erasure not known", "No erasure has this id; DELETE /v1/customers/{id} gives one."),
    "not-found": Kind(404, "No such resource", "The path names nothing. /openapi.json lists what there is."),
    "method-not-allowed": Kind(405, "Method not allowed", "The Allow header names the methods of this path."),
    "invalid-request": Kind(
        422, "Request not valid", "A parameter is missing or out of range; `errors` names each and what it may hold."
    ),
    "bad-page-token": Kind(
        400, "Page token not valid", "A page token continues exactly the query that gave it; start again without one."
    ),
    "no-key": Kind(
        401, "API key needed", "Send the key as `Authorization: Bearer <key>` or `X-API-Key: <key>`, never in the URL."
    ),
    "wrong-key": Kind(
        401, "API key not known", "The key is none of those in EBB_API_KEYS and none made by `ebb keys create`."
    ),
    "ended-key": Kind(401, "API key ended", "The key was revoked or has expired; `ebb keys list` says when."),
    "wrong-scope": Kind(
        403,
        "Not allowed with this key",
        "Keys are made for `read` (scores, alerts, streams), `act` (handling alerts, and `read`), `write` (the "
        "collector) or `admin` (everything).",
    ),
    "too-many-requests": Kind(
        429,
        "Too many requests",
        "The quota of EBB_RATE_LIMIT_REQUESTS or EBB_RATE_LIMIT_EVENTS is used up, or the collector has as much under "
        "way as it may; Retry-After says when to ask again. RateLimit tells on every answer what is left.",
    ),
    "too-large": Kind(413, "Body too large", "Send less at once: split a batch."),
    "too-slow": Kind(408, "Body too slow", "The body of a request must arrive within 30 seconds."),
    "event-refused": Kind(
        422, "Event refused", "The event cannot be accepted; `errors` has the reason. docs/collector.md lists them."
    ),
    "host-refused": Kind(
        421,
        "Host not served",
        "Without API keys only names of this machine's loopback are answered, so that a web page elsewhere cannot "
        "reach the API by a name of its own. Set EBB_API_KEYS, or name the page's origin in EBB_ALLOWED_ORIGINS.",
    ),
    "origin-refused": Kind(
        403, "Origin not allowed", "Name the page's origin in EBB_ALLOWED_ORIGINS (scheme://host:port)."
    ),
    "unavailable": Kind(
        503, "Not available now", "A part that the answer depends on does not answer; Retry-After says when to ask."
    ),
    "internal": Kind(500, "Internal error", "A defect in Ebb. The log of the API has the details."),
}


class Problem(BaseModel):
    """What went wrong, in the form of RFC 9457."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "/problems/unknown-customer",
                "title": "Customer not known",
                "status": 404,
                "detail": "No score is held for customer 'c-404'.",
                "instance": "/v1/customers/c-404/score",
                "hint": "Check the id.",
            }
        }
    )

    type: str = Field(description="Address of a page that explains this type of problem.")
    title: str
    status: int
    detail: str = Field(description="What happened, to what.")
    instance: str = Field(description="Path of the request.")
    hint: str | None = Field(default=None, description="What to do about it.")
    errors: list[dict[str, Any]] | None = Field(default=None, description="One entry per wrong parameter.")


class ProblemError(EbbError):
    """Raised where a request cannot be answered; `kind` is a key of `KINDS`."""

    def __init__(self, what: str, hint: str = "", *, kind: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(what, hint)
        self.kind = kind
        self.headers = headers or {}


def problem_response(
    kind: str,
    path: str,
    detail: str,
    *,
    hint: str = "",
    errors: list[dict[str, Any]] | None = None,
    headers: dict[str, str] | None = None,
    status: int | None = None,
) -> Response:
    """Return the response that tells a problem."""
    about = KINDS[kind]
    code = status or about.status
    body = Problem(
        type=f"/problems/{kind}",
        title=about.title,
        status=code,
        detail=detail,
        instance=path,
        hint=hint or None,
        errors=errors,
    )
    content = orjson.dumps(body.model_dump(exclude_none=True))
    return Response(content, code, headers=headers, media_type=MEDIA_TYPE)


def _of_http_status(status: int) -> str:
    return {404: "not-found", 405: "method-not-allowed", 408: "too-slow", 413: "too-large"}.get(
        status, "invalid-request"
    )


def install_problems(app: FastAPI) -> None:
    """Make every error of an application leave as a problem."""

    @app.exception_handler(ProblemError)
    async def _problem(request: Request, error: ProblemError) -> Response:
        return problem_response(error.kind, request.url.path, error.what, hint=error.hint, headers=error.headers)

    @app.exception_handler(UnavailableError)
    async def _unavailable(request: Request, error: UnavailableError) -> Response:
        return problem_response(
            "unavailable", request.url.path, error.what, hint=error.hint, headers={"Retry-After": "2"}
        )

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [{"where": ".".join(map(str, one["loc"])), "message": one["msg"]} for one in error.errors()]
        detail = "; ".join(f"{one['where']}: {one['message']}" for one in errors)
        return problem_response("invalid-request", request.url.path, detail, errors=errors)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        detail = f"{request.method} {request.url.path}: {error.detail or HTTPStatus(error.status_code).phrase}."
        headers = dict(error.headers or {})
        kind = _of_http_status(error.status_code)
        return problem_response(kind, request.url.path, detail, headers=headers, status=error.status_code)

    @app.exception_handler(Exception)
    async def _internal(request: Request, error: Exception) -> Response:
        _log.error("request_failed", path=request.url.path, error=repr(error))
        return problem_response("internal", request.url.path, "The request failed by a defect in Ebb.")

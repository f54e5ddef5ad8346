"""Errors of the API: RFC 9457 problem details, each type with a page of its own."""

from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from ebb.errors import EbbError, UnavailableError
from ebb.kafka.acknowledged_producer import BusyError
from ebb.log import get_logger
from serving.http.problem_types import KINDS

MEDIA_TYPE = "application/problem+json"
_SHOWN_ERRORS = 20
"""Errors listed of one request; a body may hold a hundred thousand."""
_SHOWN_CHARACTERS = 1_000
"""Characters of a path or a description that are sent back: who sends much is not sent it back."""
_log = get_logger(__name__)


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

    def __init__(
        self,
        what: str,
        hint: str = "",
        *,
        kind: str,
        headers: dict[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> None:
        super().__init__(what, hint)
        self.kind = kind
        self.headers = headers or {}
        self.errors = errors


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
    """Return the response of a problem."""
    problem_kind = KINDS[kind]
    code = status or problem_kind.status
    body = Problem(
        type=f"/problems/{kind}",
        title=problem_kind.title,
        status=code,
        detail=_short(detail),
        instance=_short(path),
        hint=hint or None,
        errors=errors,
    )
    content = orjson.dumps(body.model_dump(exclude_none=True))
    return Response(content, code, headers=headers, media_type=MEDIA_TYPE)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def _of_http_status(status: int) -> str:
    return {
        404: "not-found",
        405: "method-not-allowed",
        408: "too-slow",
        413: "too-large",
        429: "too-many-requests",
    }.get(status, "invalid-request")


def allowed_methods(scope: Scope) -> list[str]:
    """Return the methods that the path of a request takes, of all its routes."""
    seen: dict[str, Any] = {"type": "http", "headers": [], **{name: scope[name] for name in ("path", "root_path")}}
    routes = scope["app"].router.routes
    methods = [
        method
        for method in ("GET", "POST", "DELETE")
        if any(route.matches({**seen, "method": method})[0] is Match.FULL for route in routes)
    ]
    return [*(["GET", "HEAD"] if "GET" in methods else []), *(one for one in methods if one != "GET"), "OPTIONS"]


def install_problems(app: FastAPI) -> None:
    """Return every error of an application as a problem."""

    @app.exception_handler(ProblemError)
    async def _problem(request: Request, error: ProblemError) -> Response:
        path, what = request.url.path, error.what
        return problem_response(error.kind, path, what, hint=error.hint, headers=error.headers, errors=error.errors)

    @app.exception_handler(UnavailableError)
    async def _unavailable(request: Request, error: UnavailableError) -> Response:
        return problem_response(
            "unavailable", request.url.path, error.what, hint=error.hint, headers={"Retry-After": "2"}
        )

    @app.exception_handler(BusyError)
    async def _busy(request: Request, error: BusyError) -> Response:
        # Backpressure: as many records are in flight to Kafka as may be.
        return problem_response(
            "too-many-requests", request.url.path, error.what, hint=error.hint, headers={"Retry-After": "1"}
        )

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        found = error.errors()
        errors = [
            {"where": _short(".".join(map(str, item["loc"]))), "message": _short(item["msg"])}
            for item in found[:_SHOWN_ERRORS]
        ]
        if len(found) > _SHOWN_ERRORS:
            errors.append({"where": "", "message": f"and {len(found) - _SHOWN_ERRORS} more"})
        detail = "; ".join(f"{item['where']}: {item['message']}" for item in errors)
        return problem_response("invalid-request", request.url.path, detail, errors=errors)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        detail = f"{request.method} {request.url.path}: {error.detail or HTTPStatus(error.status_code).phrase}."
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(allowed_methods(request.scope))
            if request.method == "OPTIONS":
                return Response(status_code=204, headers=headers)
        kind = _of_http_status(error.status_code)
        # A body that is no text is reported as one that does not validate: one kind of error for callers.
        status = None if error.status_code == HTTPStatus.BAD_REQUEST else error.status_code
        return problem_response(kind, request.url.path, detail, headers=headers, status=status)

    @app.exception_handler(Exception)
    async def _internal(request: Request, error: Exception) -> Response:
        # The template of the route, never the path: logs outlive an erasure.
        route = getattr(request.scope.get("route"), "path", "unmatched")
        _log.error("request failed", route=route, error=_short(repr(error)))
        return problem_response("internal", request.url.path, "The request failed by a defect in Ebb.")

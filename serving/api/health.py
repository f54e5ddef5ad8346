"""`/livez`, `/readyz`, `/metrics`: for operators. They hold no customer's data and need no key, but for details."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ebb.contracts.api_keys import Scope
from serving.context import Context, ContextDep
from serving.http.auth import authorize, presented_key
from serving.http.routes import PublicRoute

LEAST_BYTES = 64 * 2**20
"""Free bytes below which a disk counts as full: a single insert or merge may ask for as much."""


class Check(BaseModel):
    """One dependency of the API."""

    name: str
    ok: bool
    required: bool
    """Whether the API is not ready without it."""
    why: str


class Readiness(BaseModel):
    """Whether the process is alive or ready, and by which checks."""

    status: str
    checks: list[Check] | None = None


async def _authorized_if_verbose(request: Request) -> None:
    # The checks ask ClickHouse, and their words are of the inside.
    if "verbose" in request.query_params:
        authorize(request, presented_key(request), Scope.READ)


router = APIRouter(tags=["health"], route_class=PublicRoute)


@router.get("/livez", response_model=Readiness, response_model_exclude_none=True, summary="Whether the process lives")
async def livez(context: ContextDep) -> Response:
    """Answer 200 while the process can do its work, 503 if it should be restarted: a thread died or hangs for good."""
    failure = context.failure()
    return JSONResponse({"status": failure or "ok"}, 200 if failure is None else 503)


@router.get(
    "/readyz",
    response_model=Readiness,
    response_model_exclude_none=True,
    summary="Whether to send requests here",
    description="503 until the scores are caught up with what was on the topic at the start, while Kafka does not "
    "answer, and while the server drains. `?verbose` lists the checks, for a key of scope "
    "`read` where keys are required.",
    responses={401: {}, 403: {}, 503: {"model": Readiness, "description": "Not ready."}},
    dependencies=[Depends(_authorized_if_verbose)],
)
async def readyz(
    context: ContextDep, verbose: Annotated[str | None, Query(description="Present: list the checks.")] = None
) -> Response:
    """Answer 200 if this replica can serve."""
    checks = _checks(context)
    if verbose is not None:
        checks += await _more_checks(context)
    ready = all(check.ok for check in checks if check.required)
    status = "ready" if ready else "not ready"
    if verbose is None:
        return JSONResponse({"status": status}, 200 if ready else 503)
    return JSONResponse({"status": status, "checks": [check.model_dump() for check in checks]}, 200 if ready else 503)


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics() -> Response:
    """Return the metrics of this process."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _checks(context: Context) -> list[Check]:
    reader, monitor = context.feed.reader, context.pipeline_monitor
    known = f"{len(context.feed.scores):,} scores held"
    scores = known if reader.caught_up else f"{known}; {reader.behind:,} records still to read. {reader.trouble or ''}"
    kafka = monitor.trouble or reader.trouble
    draining = context.hub.draining
    return [
        Check(name="scores", ok=reader.caught_up, required=True, why=scores.strip()),
        Check(name="kafka", ok=kafka is None, required=True, why=kafka or "It answers."),
        Check(name="serving", ok=not draining, required=True, why="It drains." if draining else "It takes requests."),
    ]


async def _more_checks(context: Context) -> list[Check]:
    """Return the checks without which the API is ready all the same."""
    answers = await context.queries.answers()
    why = "It answers." if answers else f"{context.queries.trouble} Scores are served without it; history is not."
    disks = await context.queries.run(lambda: context.queries.rows_or_none("disk_space"))
    if full := next((disk for disk in disks or () if disk["free_space"] < LEAST_BYTES), None):
        answers, left = False, full["free_space"] / 2**20
        why = f"Its disk {full['name']!r} is full, {left:.0f} MiB are left: what comes waits until there is space."
    monitor = context.pipeline_monitor
    held = monitor.pipeline is not None and monitor.pipeline.time_held
    hours = context.settings.hold_after * context.clock.speed / 3_600
    moves = f"No event has come from anybody for {hours:g} hours of event time: time is held." if held else "It moves."
    return [
        Check(name="clickhouse", ok=answers, required=False, why=why),
        Check(name="event time", ok=not held, required=False, why=moves),
    ]

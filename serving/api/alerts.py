"""`/v1/alerts`: the newest alerts, and handling them: acknowledge, snooze, close with an outcome."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

import orjson
from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from ebb.contracts.alert_handling import NOTE_CHARACTERS, Act, HandlingRecord, Outcome, Status, key_of
from ebb.contracts.scores import Alert, Band
from ebb.errors import UnavailableError
from serving.api.types import EXAMPLE_ALERT, EXAMPLE_NEXT, JSON, VARIES, Answer, PageSize, PageToken
from serving.context import Context, ContextDep
from serving.http.auth import ActPrincipal, Principal, RequiresRead
from serving.http.csv_export import CSV_ROUTE, IN_OPENAPI, WHOLE_LIST, csv_response, wants_csv
from serving.http.page_tokens import page_token, read_token
from serving.http.path_segments import Segment
from serving.http.problems import ProblemError
from serving.http.routes import GuardedRoute
from serving.projections.alert_handling import Handling

LONGEST_SNOOZE = timedelta(days=7)
"""An alert is on its topic for no longer."""
_CSV_COLUMNS = (
    *("alert_id", "customer_id", "band", "previous_band", "churn", "previous", "why", "value_at_risk", "country"),
    *("channel", "as_of", "raised_at", "handling_status", "handling_by", "handling_at", "handling_until"),
    *("handling_outcome", "handling_note"),
)
"""Columns of the CSV."""
_CONFLICT: dict[int | str, dict[str, Any]] = {409: {"description": "Alert closed"}}
EXAMPLE_HANDLING: dict[str, Any] = {
    "status": "acknowledged",
    "by": "3f2a9c81d04e",
    "at": "2025-03-14T09:31:02Z",
}
EXAMPLE_HANDLED_ALERT: dict[str, Any] = {**EXAMPLE_ALERT, "handling": EXAMPLE_HANDLING}


class HandledAlert(Alert):
    """An alert with its handling."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE_HANDLED_ALERT})

    handling: Handling


class Alerts(Answer):
    """A page of alerts, the newest first."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"alerts": [EXAMPLE_HANDLED_ALERT], "next_page_token": EXAMPLE_NEXT}}
    )

    alerts: list[HandledAlert]
    next_page_token: str | None = Field(description="Give it as `page_token` for the next page; null on the last.")


class RequestBody(BaseModel):
    """Base of request bodies: unknown fields are refused so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid")


class SnoozeRequest(RequestBody):
    """How long to snooze an alert: `hours` or `until`, at most seven days."""

    model_config = ConfigDict(json_schema_extra={"example": {"hours": 24}})

    hours: float | None = Field(default=None, gt=0, le=LONGEST_SNOOZE.total_seconds() / 3_600)
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.hours is None) == (self.until is None):
            message = "give either hours or until"
            raise ValueError(message)
        return self


class OutcomeRequest(RequestBody):
    """How an alert ended."""

    model_config = ConfigDict(json_schema_extra={"example": {"outcome": "retained", "note": "Took the yearly plan."}})

    outcome: Outcome
    note: str = Field(default="", max_length=NOTE_CHARACTERS, description="No personal data: it is kept for reports.")


AlertId = Annotated[str, Segment, Path(min_length=1, max_length=300, description="Id of the alert.")]
BandQuery = Annotated[list[Band] | None, Query(description="Bands to list; give it again for more.")]
CustomerQuery = Annotated[str | None, Query(max_length=256, description="Alerts of one customer.")]
StatusQuery = Annotated[list[Status] | None, Query(description="Status of the alert; repeat it for more.")]


@dataclass(frozen=True)
class AlertFilter:
    """Which alerts to list; what is empty or None does not filter."""

    bands: tuple[Band, ...]
    customer_id: str | None
    statuses: tuple[Status, ...]


async def _filter(band: BandQuery = None, customer_id: CustomerQuery = None, status: StatusQuery = None) -> AlertFilter:
    return AlertFilter(tuple(sorted(set(band or ()))), customer_id, tuple(sorted(set(status or ()))))


AlertFilterDep = Annotated[AlertFilter, Depends(_filter)]

router = APIRouter(prefix="/v1", tags=["alerts"], route_class=GuardedRoute)


@router.get(
    "/alerts",
    response_model=Alerts,
    summary="Recent alerts",
    description="The newest alerts, newest first, with what was done about each; a thousand are held. New ones come "
    "over `/v1/stream`. With `Accept: text/csv` the list comes whole, as from `/v1/alerts.csv`.",
    dependencies=[RequiresRead],
    responses={200: {"content": IN_OPENAPI}},
)
async def alerts(
    *,
    context: ContextDep,
    request: Request,
    query_filter: AlertFilterDep,
    page_size: PageSize = 50,
    page_token_: Annotated[PageToken, Query(alias="page_token")] = None,
) -> Response:
    """Return the newest alerts."""
    if wants_csv(request.headers.get("accept")):
        return _csv(context, query_filter)
    query = ["alerts", query_filter.bands, query_filter.customer_id, query_filter.statuses]
    listed, following = _newest(context, query_filter, page_size, read_token(query, page_token_))
    body = {"alerts": listed, "next_page_token": page_token(query, following)}
    return Response(orjson.dumps(body), headers=VARIES, media_type=JSON)


@router.get(
    "/alerts.csv",
    summary="Recent alerts, as CSV",
    description=WHOLE_LIST,
    dependencies=[RequiresRead],
    **CSV_ROUTE,
)
async def recent_alerts_csv(context: ContextDep, query_filter: AlertFilterDep) -> Response:
    """Return the newest alerts with their handling, as CSV."""
    return _csv(context, query_filter)


@router.get(
    "/alerts/{alert_id}",
    response_model=HandledAlert,
    summary="One alert",
    description="An alert with what was done about it. One that is no longer held in memory is read from ClickHouse.",
    dependencies=[RequiresRead],
)
async def alert(alert_id: AlertId, context: ContextDep) -> Response:
    """Return an alert."""
    _, body = await _find(context, alert_id)
    return Response(orjson.dumps(_with_handling(context, alert_id, body)), media_type=JSON)


@router.post(
    "/alerts/{alert_id}/acknowledge",
    response_model=HandledAlert,
    summary="Acknowledge an alert",
    description="Marks it as being worked on. Needs a key of scope `act`.",
    responses=_CONFLICT,
)
async def acknowledge(alert_id: AlertId, context: ContextDep, principal: ActPrincipal) -> Response:
    """Mark an alert as being worked on."""
    return await _record(context, principal, alert_id, Act.ACKNOWLEDGE)


@router.post(
    "/alerts/{alert_id}/snooze",
    response_model=HandledAlert,
    summary="Snooze an alert",
    description="It is listed as before again after `hours` or at `until`. Needs a key of scope `act`.",
    responses=_CONFLICT,
)
async def snooze(alert_id: AlertId, request: SnoozeRequest, context: ContextDep, principal: ActPrincipal) -> Response:
    """SnoozeRequest an alert."""
    now = datetime.now(UTC)
    until = request.until if request.hours is None else now + LONGEST_SNOOZE * (request.hours / 168)
    if until is None or not now < until <= now + LONGEST_SNOOZE:
        what = f"An alert is snoozed until a time between now and {now + LONGEST_SNOOZE:%Y-%m-%d %H:%M} UTC."
        raise ProblemError(what, "Give `hours` from above 0 to 168.", kind="invalid-request")
    return await _record(context, principal, alert_id, Act.SNOOZE, until=until.astimezone(UTC))


@router.post(
    "/alerts/{alert_id}/outcome",
    response_model=HandledAlert,
    summary="Close an alert",
    description="Records how it ended; a second call corrects the first. Needs a key of scope `act`.",
)
async def outcome(alert_id: AlertId, request: OutcomeRequest, context: ContextDep, principal: ActPrincipal) -> Response:
    """Close an alert."""
    return await _record(context, principal, alert_id, Act.OUTCOME, outcome=request.outcome, note=request.note)


def _with_handling(context: Context, alert_id: str, body: bytes) -> dict[str, Any]:
    return {**orjson.loads(body), "handling": context.feed.alert_handling.of(alert_id).model_dump(mode="json")}


def _csv(context: Context, query_filter: AlertFilter) -> Response:
    rows, _ = _newest(context, query_filter, len(context.feed.alerts) + 1, None)
    flat = [{**row, **{f"handling_{name}": value for name, value in row["handling"].items()}} for row in rows]
    return csv_response("alerts", _CSV_COLUMNS, [flat], VARIES)


def _newest(
    context: Context, query_filter: AlertFilter, size: int, after: tuple[float, str] | None
) -> tuple[list[dict[str, Any]], tuple[float, str] | None]:
    now, handling, statuses = datetime.now(UTC), context.feed.alert_handling, query_filter.statuses
    listed, following = context.feed.alerts.newest(
        size,
        bands=query_filter.bands,
        customer_id=query_filter.customer_id,
        condition=lambda alert_id: not statuses or handling.of(alert_id, now).status in statuses,
        after=after,
    )
    return [_with_handling(context, alert_id, body) for alert_id, body in listed], following


async def _record(
    context: Context,
    principal: Principal,
    alert_id: str,
    act: Act,
    *,
    until: datetime | None = None,
    outcome: Outcome | None = None,
    note: str = "",
) -> Response:
    found, body = await _find(context, alert_id)
    if act is not Act.OUTCOME and context.feed.alert_handling.of(alert_id).status is Status.CLOSED:
        what = f"Alert {alert_id[:80]!r} is closed."
        raise ProblemError(what, "Its outcome can still be corrected.", kind="alert-closed")
    record = HandlingRecord(
        alert_id=alert_id,
        act=act,
        by=principal.id,
        at=datetime.now(UTC),
        until=until,
        outcome=outcome,
        note=note,
        customer_id=found.customer_id,
        as_of=found.as_of,
        raised_at=found.raised_at,
    )
    key, value = key_of(alert_id, act), record.model_dump_json().encode()
    await context.producer.deliver(context.settings.topics.handling, [(key, value)], partition=0)
    # It is read back from the topic too; the caller sees it at once.
    context.feed.alert_handling.apply(key.encode(), value)
    return Response(orjson.dumps(_with_handling(context, alert_id, body)), media_type=JSON)


async def _find(context: Context, alert_id: str) -> tuple[Alert, bytes]:
    held = context.feed.alerts.get(alert_id)
    if held is not None:
        return Alert.model_validate_json(held[1]), held[1]
    if not context.feed.reader.caught_up:
        what = "The alerts are still being read from Kafka."
        raise UnavailableError(what, "Ask again in a moment; see /readyz.")
    rows = await context.queries.run(lambda: context.queries.rows("alert_by_id", alert=alert_id))
    found = Alert.model_validate(rows[0]) if rows else None
    if found is None or context.feed.erasures.is_erased(found.customer_id, found.raised_at):
        what = f"There is no alert {alert_id[:80]!r}."
        raise ProblemError(what, "GET /v1/alerts lists the newest.", kind="unknown-alert")
    return found, found.model_dump_json().encode()

"""`/v1/alerts`: the newest alerts, and what is done about them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

import orjson
from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ebb.contracts.alert_handling import NOTE_CHARACTERS, Act, HandlingRecord, Outcome, Status, key_of
from ebb.contracts.scores import Alert, Band
from ebb.errors import UnavailableError
from ebb.kafka.acknowledged_producer import BusyError
from serving.api.types import EXAMPLE_ALERT, EXAMPLE_NEXT, JSON, VARIES, Answer, PageSize, PageToken
from serving.context import Context, ContextDep
from serving.http.auth import ActPrincipal, Principal, RequiresRead
from serving.http.csv_export import CSV_ROUTE, IN_OPENAPI, WHOLE_LIST, csv_response, wants_csv
from serving.http.page_tokens import page_token, read_token
from serving.http.problems import ProblemError
from serving.projections.alert_handling import Handling

LONGEST_SNOOZE = timedelta(days=7)
"""As long as an alert is kept on its topic."""
EXAMPLE_HANDLING: dict[str, Any] = {
    "status": "acknowledged",
    "by": "3f2a9c81d04e",
    "at": "2025-03-14T09:31:02Z",
}
EXAMPLE_HANDLED: dict[str, Any] = {**EXAMPLE_ALERT, "handling": EXAMPLE_HANDLING}


class HandledAlert(Alert):
    """An alert, and what was done about it."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE_HANDLED})

    handling: Handling


class Alerts(Answer):
    """A page of alerts, the newest first."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"alerts": [EXAMPLE_HANDLED], "next_page_token": EXAMPLE_NEXT}}
    )

    alerts: list[HandledAlert]
    next_page_token: str | None = Field(description="Give it as `page_token` for the next page; null on the last.")


class RequestBody(BaseModel):
    """Base of request bodies: unknown fields are refused so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid")


class Snooze(RequestBody):
    """How long to snooze an alert: `hours` or `until`, at most seven days."""

    model_config = ConfigDict(json_schema_extra={"example": {"hours": 24}})

    hours: float | None = Field(default=None, gt=0, le=LONGEST_SNOOZE.total_seconds() / 3_600)
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _says_one(self) -> Self:
        if (self.hours is None) == (self.until is None):
            message = "give either hours or until"
            raise ValueError(message)
        return self


class Ending(RequestBody):
    """How an alert ended."""

    model_config = ConfigDict(json_schema_extra={"example": {"outcome": "retained", "note": "Took the yearly plan."}})

    outcome: Outcome
    note: str = Field(default="", max_length=NOTE_CHARACTERS, description="No personal data: it is kept for reports.")


router = APIRouter(prefix="/v1/alerts", tags=["alerts"])
AlertId = Annotated[str, Path(min_length=1, max_length=300, description="Id of the alert.")]
Bands = Annotated[list[Band] | None, Query(description="Bands to list; give it again for more.")]
OfCustomer = Annotated[str | None, Query(max_length=256, description="Alerts of one customer.")]
Statuses = Annotated[list[Status] | None, Query(description="Status of the alert; repeat it for more.")]
COLUMNS = (
    *("alert_id", "customer_id", "band", "previous_band", "churn", "previous", "why", "value_at_risk", "country"),
    *("channel", "as_of", "raised_at", "handling_status", "handling_by", "handling_at", "handling_until"),
    *("handling_outcome", "handling_note"),
)
"""Of the CSV."""
_CONFLICT: dict[int | str, dict[str, Any]] = {409: {"description": "Alert closed"}}


@dataclass(frozen=True)
class AlertFilter:
    """Which alerts to list; what is empty or None does not filter."""

    bands: tuple[Band, ...]
    customer_id: str | None
    statuses: tuple[Status, ...]


async def _choice(band: Bands = None, customer_id: OfCustomer = None, status: Statuses = None) -> AlertFilter:
    return AlertFilter(tuple(sorted(set(band or ()))), customer_id, tuple(sorted(set(status or ()))))


AlertFilterDep = Annotated[AlertFilter, Depends(_choice)]


@router.get(
    "",
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
    chosen: AlertFilterDep,
    page_size: PageSize = 50,
    page_token_: Annotated[PageToken, Query(alias="page_token")] = None,
) -> Response:
    """Return the newest alerts."""
    if wants_csv(request.headers.get("accept")):
        return alerts_csv(context, chosen)
    query = ["alerts", chosen.bands, chosen.customer_id, chosen.statuses]
    bodies, following = _listed(context, chosen, page_size, read_token(query, page_token_))
    token = orjson.dumps(page_token(query, following))
    body = b'{"alerts":[%b],"next_page_token":%b}' % (b",".join(bodies), token)
    return Response(body, headers=VARIES, media_type=JSON)


@router.get(
    ".csv",
    summary="Recent alerts, as CSV",
    description=WHOLE_LIST,
    dependencies=[RequiresRead],
    **CSV_ROUTE,
)
async def recent_alerts_csv(context: ContextDep, chosen: AlertFilterDep) -> Response:
    """Return the newest alerts with what was done about them, as CSV."""
    return alerts_csv(context, chosen)


@router.get(
    "/{alert_id}",
    response_model=HandledAlert,
    summary="One alert",
    description="An alert with what was done about it. One that is no longer held in memory is read from ClickHouse.",
    dependencies=[RequiresRead],
)
async def alert(alert_id: AlertId, context: ContextDep) -> Response:
    """Return an alert."""
    _, body = await _find(context, alert_id)
    return Response(with_handling(context, alert_id, body), media_type=JSON)


@router.post(
    "/{alert_id}/acknowledge",
    response_model=HandledAlert,
    summary="Acknowledge an alert",
    description="Marks it as being worked on. Needs a key of scope `act`.",
    responses=_CONFLICT,
)
async def acknowledge(alert_id: AlertId, context: ContextDep, principal: ActPrincipal) -> Response:
    """Mark an alert as being worked on."""
    return await _do(context, principal, alert_id, Act.ACKNOWLEDGE)


@router.post(
    "/{alert_id}/snooze",
    response_model=HandledAlert,
    summary="Put an alert off",
    description="It comes back by itself after `hours` or at `until`. Needs a key of scope `act`.",
    responses=_CONFLICT,
)
async def snooze(alert_id: AlertId, request: Snooze, context: ContextDep, principal: ActPrincipal) -> Response:
    """Snooze an alert."""
    now = datetime.now(UTC)
    until = request.until if request.hours is None else now + LONGEST_SNOOZE * (request.hours / 168)
    if until is None or not now < until <= now + LONGEST_SNOOZE:
        what = f"An alert is put off until a time between now and {now + LONGEST_SNOOZE:%Y-%m-%d %H:%M} UTC."
        raise ProblemError(what, "Give `hours` from above 0 to 168.", kind="invalid-request")
    return await _do(context, principal, alert_id, Act.SNOOZE, until=until.astimezone(UTC))


@router.post(
    "/{alert_id}/outcome",
    response_model=HandledAlert,
    summary="Close an alert",
    description="Records how it ended; a second call corrects the first. Needs a key of scope `act`.",
)
async def outcome(alert_id: AlertId, request: Ending, context: ContextDep, principal: ActPrincipal) -> Response:
    """Close an alert."""
    return await _do(context, principal, alert_id, Act.OUTCOME, outcome=request.outcome, note=request.note)


def with_handling(context: Context, alert_id: str, body: bytes) -> bytes:
    """Return an alert's JSON with its handling."""
    return b'%b,"handling":%b}' % (
        body.rstrip()[:-1],
        context.feed.alert_handling.of(alert_id).model_dump_json().encode(),
    )


def alerts_csv(context: Context, chosen: AlertFilter) -> Response:
    """Return the newest alerts as CSV."""
    bodies, _ = _listed(context, chosen, len(context.feed.alerts) + 1, None)
    rows = [orjson.loads(body) for body in bodies]
    flat = [{**row, **{f"handling_{name}": value for name, value in row["handling"].items()}} for row in rows]
    return csv_response("alerts", COLUMNS, [flat], VARIES)


def _listed(
    context: Context, chosen: AlertFilter, size: int, after: tuple[float, str] | None
) -> tuple[list[bytes], tuple[float, str] | None]:
    now, handling_view = datetime.now(UTC), context.feed.alert_handling
    listed, following = context.feed.alerts.newest(
        size,
        bands=chosen.bands,
        customer_id=chosen.customer_id,
        condition=lambda alert_id: not chosen.statuses or handling_view.of(alert_id, now).status in chosen.statuses,
        after=after,
    )
    return [with_handling(context, alert_id, body) for alert_id, body in listed], following


async def _do(
    context: Context,
    principal: Principal,
    alert_id: str,
    act: Act,
    *,
    until: datetime | None = None,
    outcome: Outcome | None = None,
    note: str = "",
) -> Response:
    about, body = await _find(context, alert_id)
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
        customer_id=about.customer_id,
        as_of=about.as_of,
        raised_at=about.raised_at,
    )
    key, value = key_of(alert_id, act), record.model_dump_json().encode()
    try:
        await context.producer.deliver(context.settings.topics.handling, [(key, value)], partition=0)
    except BusyError as error:
        raise ProblemError(error.what, error.hint, kind="too-many-requests", headers={"Retry-After": "1"}) from None
    # It is read back from the topic too; the caller sees it at once.
    context.feed.alert_handling.apply(key.encode(), value)
    return Response(with_handling(context, alert_id, body), media_type=JSON)


async def _find(context: Context, alert_id: str) -> tuple[Alert, bytes]:
    held = context.feed.alerts.get(alert_id)
    if held is not None:
        return Alert.model_validate_json(held[1]), held[1]
    if not context.feed.reader.caught_up:
        what = "The alerts are still being read from Kafka."
        raise UnavailableError(what, "Ask again in a moment; see /readyz.")
    rows = await run_in_threadpool(context.queries.rows, "alert_by_id", alert=alert_id)
    found = [Alert.model_validate(row) for row in rows]
    if not found or context.feed.erasures.is_erased(found[0].customer_id, found[0].raised_at):
        what = f"There is no alert {alert_id[:80]!r}."
        raise ProblemError(what, "GET /v1/alerts lists the newest.", kind="unknown-alert")
    return found[0], found[0].model_dump_json().encode()

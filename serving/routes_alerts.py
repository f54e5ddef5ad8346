"""`/v1/alerts`: the newest alerts, and what is done about them."""

from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from ebb.errors import UnavailableError
from ebb.handling import Act, HandlingRecord, Outcome, Status, key_of
from ebb.messages import Alert, Band
from serving.context import Context, Here
from serving.delivery import BusyError
from serving.problems import ProblemError
from serving.routes_customers import JSON, PageSize, PageToken
from serving.schemas_alerts import LONGEST_SNOOZE, Alerts, Ending, HandledAlert, Snooze
from serving.security import ActGrant, Grant, Keyed
from serving.tokens import page_token, read_token

router = APIRouter(prefix="/v1/alerts", tags=["alerts"])
AlertId = Annotated[str, Path(min_length=1, max_length=300, description="Id of the alert.")]
Bands = Annotated[list[Band] | None, Query(description="Bands to list; give it again for more.")]
OfCustomer = Annotated[str | None, Query(max_length=256, description="Alerts of one customer.")]
Statuses = Annotated[list[Status] | None, Query(description="Where an alert stands; give it again for more.")]
_CONFLICT: dict[int | str, dict[str, Any]] = {409: {"description": "Alert closed"}}


@router.get(
    "",
    response_model=Alerts,
    summary="Recent alerts",
    description="The newest alerts, newest first, with what was done about each; a thousand are held. New ones come "
    "over `/v1/stream`.",
    dependencies=[Keyed],
)
async def alerts(
    *,
    here: Here,
    band: Bands = None,
    customer_id: OfCustomer = None,
    status: Statuses = None,
    page_size: PageSize = 50,
    page_token_: Annotated[PageToken, Query(alias="page_token")] = None,
) -> Response:
    """Return the newest alerts."""
    bands, statuses = tuple(sorted(set(band or ()))), tuple(sorted(set(status or ())))
    query = ["alerts", bands, customer_id, statuses]
    now, desk = datetime.now(UTC), here.feed.desk
    listed, following = here.feed.alerts.newest(
        page_size,
        bands=bands,
        customer_id=customer_id,
        wanted=lambda alert_id: not statuses or desk.of(alert_id, now).status in statuses,
        after=read_token(query, page_token_),
    )
    bodies = [with_handling(here, alert_id, body) for alert_id, body in listed]
    token = orjson.dumps(page_token(query, following))
    return Response(b'{"alerts":[%b],"next_page_token":%b}' % (b",".join(bodies), token), media_type=JSON)


@router.get(
    "/{alert_id}",
    response_model=HandledAlert,
    summary="One alert",
    description="An alert with what was done about it. One that is no longer held in memory is read from ClickHouse.",
    dependencies=[Keyed],
)
async def alert(alert_id: AlertId, here: Here) -> Response:
    """Return an alert."""
    _, body = await _find(here, alert_id)
    return Response(with_handling(here, alert_id, body), media_type=JSON)


@router.post(
    "/{alert_id}/acknowledge",
    response_model=HandledAlert,
    summary="Acknowledge an alert",
    description="Somebody works on it. Needs a key of scope `act`.",
    responses=_CONFLICT,
)
async def acknowledge(alert_id: AlertId, here: Here, grant: ActGrant) -> Response:
    """Note that somebody works on an alert."""
    return await _do(here, grant, alert_id, Act.ACKNOWLEDGE)


@router.post(
    "/{alert_id}/snooze",
    response_model=HandledAlert,
    summary="Put an alert off",
    description="It comes back by itself after `hours` or at `until`. Needs a key of scope `act`.",
    responses=_CONFLICT,
)
async def snooze(alert_id: AlertId, asked: Snooze, here: Here, grant: ActGrant) -> Response:
    """Put an alert off."""
    now = datetime.now(UTC)
    until = asked.until if asked.hours is None else now + LONGEST_SNOOZE * (asked.hours / 168)
    if until is None or not now < until <= now + LONGEST_SNOOZE:
        what = f"An alert is put off until a time between now and {now + LONGEST_SNOOZE:%Y-%m-%d %H:%M} UTC."
        raise ProblemError(what, "Give `hours` from above 0 to 168.", kind="invalid-request")
    return await _do(here, grant, alert_id, Act.SNOOZE, until=until.astimezone(UTC))


@router.post(
    "/{alert_id}/outcome",
    response_model=HandledAlert,
    summary="Close an alert",
    description="Says how it ended; said again, it corrects what was said. Needs a key of scope `act`.",
)
async def outcome(alert_id: AlertId, asked: Ending, here: Here, grant: ActGrant) -> Response:
    """Close an alert."""
    return await _do(here, grant, alert_id, Act.OUTCOME, outcome=asked.outcome, note=asked.note)


def with_handling(here: Context, alert_id: str, body: bytes) -> bytes:
    """Return an alert's JSON with its handling."""
    return b'%b,"handling":%b}' % (body.rstrip()[:-1], here.feed.desk.of(alert_id).model_dump_json().encode())


async def _do(
    here: Context,
    grant: Grant,
    alert_id: str,
    act: Act,
    *,
    until: datetime | None = None,
    outcome: Outcome | None = None,
    note: str = "",
) -> Response:
    about, body = await _find(here, alert_id)
    if act is not Act.OUTCOME and here.feed.desk.of(alert_id).status is Status.CLOSED:
        what = f"Alert {alert_id[:80]!r} is closed."
        raise ProblemError(what, "Its outcome can still be corrected.", kind="alert-closed")
    record = HandlingRecord(
        alert_id=alert_id,
        act=act,
        by=grant.id,
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
        await here.delivery.deliver(here.settings.topics.handling, [(key, value)], partition=0)
    except BusyError as error:
        raise ProblemError(error.what, error.hint, kind="too-many-requests", headers={"Retry-After": "1"}) from None
    # It comes back through the topic too; whoever asked sees it at once.
    here.feed.desk.take(key.encode(), value)
    return Response(with_handling(here, alert_id, body), media_type=JSON)


async def _find(here: Context, alert_id: str) -> tuple[Alert, bytes]:
    held = here.feed.alerts.get(alert_id)
    if held is not None:
        return Alert.model_validate_json(held[1]), held[1]
    if not here.feed.reader.caught_up:
        what = "The alerts are still being read from Kafka."
        raise UnavailableError(what, "Ask again in a moment; see /readyz.")
    rows = await run_in_threadpool(here.analytics.rows, "alert_by_id", alert=alert_id)
    found = [Alert.model_validate(row) for row in rows]
    if not found or here.feed.ledger.hides(found[0].customer_id, found[0].raised_at):
        what = f"There is no alert {alert_id[:80]!r}."
        raise ProblemError(what, "GET /v1/alerts lists the newest.", kind="unknown-alert")
    return found[0], found[0].model_dump_json().encode()

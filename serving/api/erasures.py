"""`DELETE /v1/customers/{id}` and the report on it."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import AwareDatetime, BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from clickhouse.audit import AuditEntry, record_audit
from ebb.contracts import erasures
from ebb.contracts.erasures import Erasure, ErasurePart, digest_of, key_of, partition_of
from ebb.kafka.acknowledged_producer import BusyError
from serving.api.types import CustomerId
from serving.context import ContextDep
from serving.http.auth import AdminPrincipal
from serving.http.problems import ProblemError
from serving.projections.erasures import REPORTING

router = APIRouter(prefix="/v1", tags=["erasure"])
_KEPT = timedelta(days=7)
"""Retention of the topics whose records cannot be taken out one by one."""
_MEANING = {
    ErasurePart.ORDER: "The record that erases the customer is in their partition.",
    ErasurePart.WORKER: "State, its checkpoint and the score are erased.",
    ErasurePart.LEARNER: "Predictions that waited for their labels are withdrawn.",
    ErasurePart.HISTORY: "Events, features, scores, alerts, outcomes and refusals in ClickHouse are deleted.",
}


class PartReport(BaseModel):
    """What one part has done."""

    part: ErasurePart
    meaning: str
    done_at: AwareDatetime | None = Field(description="None while it is still to be done.")
    details: dict[str, int] = Field(description="Rows deleted by table, or where in the stream it was done.")


class Left(BaseModel):
    """What expires by itself rather than being deleted."""

    where: str
    until: AwareDatetime | None = Field(description="None: for as long as the topic is kept.")
    what: str


class ErasureReport(BaseModel):
    """An erasure, and how far it is."""

    erasure_id: str
    status: str = Field(description="`under way` or `done`.")
    customer_digest: str = Field(description="SHA-256 of the id; the id itself is not kept.")
    requested_at: AwareDatetime
    requested_by: str = Field(description="Id of the key.")
    done_at: AwareDatetime | None
    parts: list[PartReport]
    left: list[Left]


@router.delete(
    "/customers/{customer_id}",
    status_code=202,
    response_model=ErasureReport,
    summary="Erase a customer",
    description="Asks every part to erase the customer; `Location` names the report. Repeated while it is under "
    "way, it answers with the same erasure. Needs a key of scope `admin`.",
)
async def erase_customer(
    customer_id: CustomerId, context: ContextDep, principal: AdminPrincipal, request: Request
) -> Response:
    """Begin an erasure."""
    known = context.feed.erasures.of(customer_id)
    if known is not None and not known.done:
        return _accepted(known)
    identity, digest = secrets.token_hex(12), digest_of(customer_id)
    address = request.client.host if request.client else ""
    entry = AuditEntry(
        actor=principal.id, action="customer.erase", subject=digest, details={"erasure": identity}, address=address
    )
    await run_in_threadpool(record_audit, context.settings, entry)
    erasure_request = erasures.ErasureRequest(
        erasure_id=identity,
        customer_id=customer_id,
        digest=digest,
        requested_at=datetime.now(UTC),
        requested_by=principal.id,
    )
    record = (key_of(identity, ErasurePart.REQUEST), erasure_request.model_dump_json().encode())
    place = partition_of(identity, context.settings.partitions)
    try:
        await context.producer.deliver(context.settings.topics.erasures, [record], partition=place)
    except BusyError as error:
        raise ProblemError(error.what, error.hint, kind="too-many-requests", headers={"Retry-After": "1"}) from None
    return _accepted(Erasure(erasure_request))


@router.get(
    "/erasures/{erasure_id}",
    response_model=ErasureReport,
    summary="How far an erasure is",
    description="The proof of an erasure: which part erased the customer when, how many rows were deleted from which "
    "table, and what expires by itself. Needs a key of scope `admin`.",
)
async def erasure(
    erasure_id: Annotated[str, Path(min_length=1, max_length=64)],
    context: ContextDep,
    principal: AdminPrincipal,  # noqa: ARG001
) -> ErasureReport:
    """Return the report on an erasure."""
    found = context.feed.erasures.get(erasure_id)
    if found is None:
        what = f"There is no erasure {erasure_id!r}."
        raise ProblemError(what, "A new one is known everywhere within a moment.", kind="unknown-erasure")
    return report(found)


def report(found: Erasure) -> ErasureReport:
    """Return how far an erasure is."""
    request = found.request
    parts = []
    for part in REPORTING:
        part_report = found.reports.get(part)
        details = {} if part_report is None else part_report.details
        at = None if part_report is None else part_report.at
        parts.append(PartReport(part=part, meaning=_MEANING[part], done_at=at, details=details))
    expiry = request.requested_at + _KEPT
    return ErasureReport(
        erasure_id=request.erasure_id,
        status="done" if found.done else "under way",
        customer_digest=request.digest,
        requested_at=request.requested_at,
        requested_by=request.requested_by,
        done_at=request.done_at,
        parts=parts,
        left=[
            Left(where="ebb.activity, ebb.activity.dlq, ebb.alerts", until=expiry, what="Records as they came."),
            Left(where="ebb.examples", until=None, what="Features of past snapshots, under the id."),
        ],
    )


def _accepted(found: Erasure) -> Response:
    location = f"/v1/erasures/{found.request.erasure_id}"
    return Response(report(found).model_dump_json(), 202, {"Location": location}, media_type="application/json")

"""`DELETE /v1/customers/{id}`, and the report on an erasure."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import AwareDatetime, BaseModel, Field
from starlette.responses import Response

from clickhouse.audit import AuditEntry, record_audit
from ebb.contracts.erasures import (
    Erasure,
    ErasurePart,
    ErasurePartReport,
    ErasureRequest,
    digest_of,
    key_of,
    partition_of,
)
from serving.api.types import CustomerId
from serving.context import ContextDep
from serving.http.auth import AdminPrincipal
from serving.http.problems import ProblemError
from serving.http.routes import GuardedRoute
from serving.projections.erasures import REPORTING

_RETENTION = timedelta(days=7)
"""Retention of the topics whose records cannot be deleted one by one."""
_MEANING = {
    ErasurePart.ORDER: "The record that erases the customer is in their partition.",
    ErasurePart.WORKER: "State, its checkpoint and the score are erased.",
    ErasurePart.LEARNER: "Predictions that waited for their labels are withdrawn.",
    ErasurePart.HISTORY: "Events, features, scores, alerts, outcomes and refusals in ClickHouse are deleted.",
}


class PartReport(BaseModel):
    """What one part of the system has deleted."""

    part: ErasurePart
    meaning: str
    done_at: AwareDatetime | None = Field(description="Null while it is still to be done.")
    details: dict[str, int] = Field(description="Rows deleted by table, or where in the stream it was done.")


class Retained(BaseModel):
    """Records that expire by themselves rather than being deleted."""

    where: str
    until: AwareDatetime | None = Field(description="Null: for as long as the topic is kept.")
    what: str


class ErasureReport(BaseModel):
    """An erasure and its progress."""

    erasure_id: str
    status: str = Field(description="`under way` or `done`.")
    customer_digest: str = Field(description="SHA-256 of the id; the id itself is not kept.")
    requested_at: AwareDatetime
    requested_by: str = Field(description="Id of the key.")
    done_at: AwareDatetime | None
    parts: list[PartReport]
    left: list[Retained]


router = APIRouter(prefix="/v1", tags=["erasure"], route_class=GuardedRoute)


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
    await context.queries.run(lambda: record_audit(context.settings, entry), from_memory=False)
    erasure_request = ErasureRequest(
        erasure_id=identity,
        customer_id=customer_id,
        digest=digest,
        requested_at=datetime.now(UTC),
        requested_by=principal.id,
    )
    record = (key_of(identity, ErasurePart.REQUEST), erasure_request.model_dump_json().encode())
    partition = partition_of(identity, context.settings.partitions)
    await context.producer.deliver(context.settings.topics.erasures, [record], partition=partition)
    return _accepted(Erasure(erasure_request))


@router.get(
    "/erasures/{erasure_id}",
    response_model=ErasureReport,
    summary="Progress of an erasure",
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
    return _report(found)


def _report(erasure: Erasure) -> ErasureReport:
    request = erasure.request
    expiry = request.requested_at + _RETENTION
    return ErasureReport(
        erasure_id=request.erasure_id,
        status="done" if erasure.done else "under way",
        customer_digest=request.digest,
        requested_at=request.requested_at,
        requested_by=request.requested_by,
        done_at=request.done_at,
        parts=[_part_report(part, erasure.reports.get(part)) for part in REPORTING],
        left=[
            Retained(where="ebb.activity, ebb.activity.dlq, ebb.alerts", until=expiry, what="Records as they came."),
            Retained(where="ebb.examples", until=None, what="Features of past snapshots, under the id."),
        ],
    )


def _part_report(part: ErasurePart, published: ErasurePartReport | None) -> PartReport:
    if published is None:
        return PartReport(part=part, meaning=_MEANING[part], done_at=None, details={})
    return PartReport(part=part, meaning=_MEANING[part], done_at=published.at, details=published.details)


def _accepted(erasure: Erasure) -> Response:
    location = f"/v1/erasures/{erasure.request.erasure_id}"
    return Response(_report(erasure).model_dump_json(), 202, {"Location": location}, media_type="application/json")

"""`DELETE /v1/customers/{id}`, and the report on an erasure."""

import asyncio
import secrets
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import AwareDatetime, BaseModel, Field
from starlette.concurrency import run_in_threadpool
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
from serving.api.types import CustomerId, CustomerIdQuery
from serving.context import Context, ContextDep
from serving.http.auth import AdminPrincipal, Principal
from serving.http.path_segments import Segment
from serving.http.problems import ProblemError
from serving.http.routes import GuardedRoute
from serving.projections.erasure_places import Retained, places_left, topics_left
from serving.projections.erasures import REPORTING

HIDDEN_SECONDS = 10.0
"""How long the answer waits until this replica has read the request back, and hides the customer."""
_MEANING = {
    ErasurePart.ORDER: "The record that erases the customer is in their partition.",
    ErasurePart.WORKER: "State, its checkpoint and the score are erased.",
    ErasurePart.LEARNER: "Predictions that waited for their labels are withdrawn.",
    ErasurePart.HISTORY: "Events, features, scores, alerts, outcomes and refusals in ClickHouse are deleted.",
}
_ACCEPTED = (
    "Asks every part to erase the customer; `Location` names the report. With the answer this replica hides the "
    "customer everywhere; what is still made until the worker erases them is shown nowhere. Repeated while it is under "
    "way, it answers with the same erasure. Needs a key of scope `admin`."
)


class PartReport(BaseModel):
    """What one part of the system has deleted."""

    part: ErasurePart
    meaning: str
    done_at: AwareDatetime | None = Field(description="Null while it is still to be done.")
    details: dict[str, int] = Field(description="Rows deleted by table, or where in the stream it was done.")


class ErasureReport(BaseModel):
    """An erasure and its progress."""

    erasure_id: str
    status: str = Field(description="`under way` or `done`.")
    customer_digest: str = Field(description="SHA-256 of the id; the id itself is not kept.")
    requested_at: AwareDatetime
    requested_by: str = Field(description="Id of the key.")
    done_at: AwareDatetime | None
    parts: list[PartReport]
    left: list[Retained] = Field(description="Where records of the customer are left, and until when.")


router = APIRouter(prefix="/v1", tags=["erasure"], route_class=GuardedRoute)
_DELETE: dict[str, Any] = {"status_code": 202, "response_model": ErasureReport}


@router.delete("/customers/{customer_id}", summary="Erase a customer", description=_ACCEPTED, **_DELETE)
async def erase_customer(
    customer_id: CustomerId, context: ContextDep, principal: AdminPrincipal, request: Request
) -> Response:
    """Begin an erasure."""
    return await _erase(customer_id, context, principal, request)


@router.delete(
    "/customer",
    summary="Erase a customer, by query",
    description=f"For any id: clients and proxies change `.`, `..` and `%2F` in paths, and then another customer would "
    f"be erased. {_ACCEPTED}",
    **_DELETE,
)
async def erase_customer_by_query(
    customer_id: CustomerIdQuery, context: ContextDep, principal: AdminPrincipal, request: Request
) -> Response:
    """Begin an erasure."""
    return await _erase(customer_id, context, principal, request)


@router.get(
    "/erasures/{erasure_id}",
    response_model=ErasureReport,
    summary="Progress of an erasure",
    description="The proof of an erasure: which part erased the customer when, how many rows were deleted from which "
    "table, what expires by itself and when, by the topics' configuration, and what Ebb cannot reach. Needs a key of "
    "scope `admin`.",
)
async def erasure(
    erasure_id: Annotated[str, Segment, Path(min_length=1, max_length=64)],
    context: ContextDep,
    principal: AdminPrincipal,  # noqa: ARG001
) -> ErasureReport:
    """Return the report on an erasure."""
    found = context.feed.erasures.get(erasure_id)
    if found is None:
        what = f"There is no erasure {erasure_id!r}."
        raise ProblemError(what, "A new one is known everywhere within a moment.", kind="unknown-erasure")
    return await _report(context, found)


async def _erase(customer_id: str, context: Context, principal: Principal, request: Request) -> Response:
    known = context.feed.erasures.of(customer_id)
    if known is not None and not known.done:
        return await _accepted(context, known)
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
    until = asyncio.get_running_loop().time() + HIDDEN_SECONDS
    while context.feed.erasures.get(identity) is None and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(0.01)
    return await _accepted(context, Erasure(erasure_request))


async def _report(context: Context, erasure: Erasure) -> ErasureReport:
    request = erasure.request
    kept = await run_in_threadpool(context.retentions.of, topics_left(context.settings.topics))
    return ErasureReport(
        erasure_id=request.erasure_id,
        status="done" if erasure.done else "under way",
        customer_digest=request.digest,
        requested_at=request.requested_at,
        requested_by=request.requested_by,
        done_at=request.done_at,
        parts=[_part_report(part, erasure.reports.get(part)) for part in REPORTING],
        left=places_left(context.settings, erasure, kept),
    )


def _part_report(part: ErasurePart, published: ErasurePartReport | None) -> PartReport:
    if published is None:
        return PartReport(part=part, meaning=_MEANING[part], done_at=None, details={})
    return PartReport(part=part, meaning=_MEANING[part], done_at=published.at, details=published.details)


async def _accepted(context: Context, erasure: Erasure) -> Response:
    report = await _report(context, erasure)
    location = f"/v1/erasures/{erasure.request.erasure_id}"
    return Response(report.model_dump_json(), 202, {"Location": location}, media_type="application/json")

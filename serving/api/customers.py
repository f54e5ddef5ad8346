"""`/v1/customers`: one customer's score and its history, the scores of many, the customers by risk."""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import orjson
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from ebb.contracts.scores import Band, ModelRef, Probability, Reason, Score
from ebb.errors import UnavailableError
from serving.api.types import (
    EXAMPLE_NEXT,
    EXAMPLE_SCORE,
    JSON,
    VARIES,
    Answer,
    CustomerId,
    CustomerIdQuery,
    PageSize,
    PageToken,
)
from serving.context import Context, ContextDep, asks_clickhouse
from serving.http.auth import RequiresRead
from serving.http.csv_export import CSV_ROUTE, IN_OPENAPI, WHOLE_LIST, csv_response, wants_csv
from serving.http.etags import NOT_MODIFIED, answer, tag_of
from serving.http.page_tokens import page_token, read_token
from serving.http.problems import ProblemError
from serving.http.routes import DirectRoute, GuardedRoute
from serving.projections.ranking import CustomerFilter, Sort, at_risk, by_risk_in_chunks

_CSV_COLUMNS = (
    *("customer_id", "churn", "band", "purchase", "previous", "trend_7d", "value_at_risk", "expected_gain"),
    *("country", "channel", "reasons", "model", "as_of", "scored_at"),
)
"""Columns of the CSV."""
_END_OF_TIME = 4_102_444_800_000
"""2100-01-01 in Unix milliseconds: later than every score."""


class CurrentScore(Score):
    """A score, and how old it is."""

    model_config = ConfigDict(json_schema_extra={"example": {**EXAMPLE_SCORE, "staleness_seconds": 41.2}})

    staleness_seconds: float = Field(ge=0, description="Real seconds since `scored_at`, as of this answer.")


class ScoresRequest(BaseModel):
    """Customers whose scores to look up."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"customer_ids": ["c-1042", "c-404"]}})

    customer_ids: list[Annotated[str, Field(min_length=1, max_length=256)]] = Field(min_length=1, max_length=1_000)


class ScoreResult(Answer):
    """Result for one of the customers."""

    customer_id: str
    status: Literal["found", "never_seen", "erased"]
    score: Score | None = Field(default=None, description="Null unless found.")


class ScoreResults(Answer):
    """Results for the customers, in the order of the request."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "results": [
                    {"customer_id": "c-1042", "status": "found", "score": EXAMPLE_SCORE},
                    {"customer_id": "c-404", "status": "never_seen"},
                ]
            }
        }
    )

    results: list[ScoreResult]


class Customers(Answer):
    """A page of customers by falling risk."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"customers": [EXAMPLE_SCORE], "next_page_token": EXAMPLE_NEXT}}
    )

    customers: list[Score]
    next_page_token: str | None = Field(description="Give it as `page_token` for the next page; null on the last.")


class HistoricalScore(Answer):
    """A score as it was at a moment of event time."""

    as_of: datetime
    scored_at: datetime
    churn: Probability
    purchase: Probability
    band: Band
    value_at_risk: float
    expected_gain: float
    reasons: list[Reason]
    model: ModelRef


class History(Answer):
    """How a customer's risk went, oldest first."""

    customer_id: str
    scores: list[HistoricalScore]
    next_page_token: str | None = Field(description="Give it as `page_token` for older scores; null if there are none.")


async def _filter(
    *,
    band: Annotated[list[Band] | None, Query(description="Bands to list; give it again for more.")] = None,
    country: Annotated[str | None, Query(max_length=256)] = None,
    channel: Annotated[str | None, Query(max_length=256)] = None,
    min_value: Annotated[float | None, Query(description="Least value at risk, in units of money.")] = None,
    min_churn: Annotated[float | None, Query(ge=0, le=1, description="Least churn probability.")] = None,
) -> CustomerFilter:
    return CustomerFilter(tuple(sorted(set(band or ()))), country, channel, min_value, min_churn)


FilterDep = Annotated[CustomerFilter, Depends(_filter)]
SortBy = Annotated[Sort, Query(description="What the list is sorted by, falling.")]
router = APIRouter(prefix="/v1/customers", tags=["customers"], dependencies=[RequiresRead], route_class=GuardedRoute)
by_query = APIRouter(prefix="/v1/customer", tags=["customers"], dependencies=[RequiresRead], route_class=GuardedRoute)
"""The same of one customer whose id is in the query, where no client and no proxy changes it."""
_ANY_ID = (
    "As the path with the id in it, for any id: clients and proxies change `.`, `..` and `%2F` in paths, and leave "
    "queries alone."
)


@router.get(
    "/at-risk",
    response_model=Customers,
    summary="Customers by risk",
    description="Lists customers by falling `sort`. Filters that are given must all hold. With `Accept: text/csv` the "
    "list comes whole, as from `/v1/customers/at-risk.csv`.",
    responses={200: {"content": IN_OPENAPI}},
)
def customers_at_risk(
    *,
    context: ContextDep,
    request: Request,
    query_filter: FilterDep,
    sort: SortBy = "churn",
    page_size: PageSize = 50,
    page_token_: Annotated[PageToken, Query(alias="page_token")] = None,
) -> Response:
    """List customers by falling risk or value, in pages."""
    if wants_csv(request.headers.get("accept")):
        return _at_risk_csv(context, query_filter, sort)
    query = [query_filter.__dict__, sort]
    page = at_risk(context.feed.scores, query_filter, sort, read_token(query, page_token_), page_size)
    token = orjson.dumps(page_token(query, page.following))
    body = b'{"customers":[%b],"next_page_token":%b}' % (b",".join(page.bodies), token)
    return Response(body, headers=VARIES, media_type=JSON)


@router.get("/at-risk.csv", summary="Customers by risk, as CSV", description=WHOLE_LIST, **CSV_ROUTE)
async def customers_at_risk_csv(context: ContextDep, query_filter: FilterDep, sort: SortBy = "churn") -> Response:
    """Return customers by falling risk or value, as CSV."""
    return _at_risk_csv(context, query_filter, sort)


@router.post(
    "/scores",
    response_model=ScoreResults,
    summary="Scores of many customers",
    description="Up to 1,000 customers at once, from memory, in the order of the request.",
)
def look_up(query: ScoresRequest, context: ContextDep) -> Response:
    """Look up the scores of many customers."""
    return Response(
        b'{"results":[%b]}' % b",".join(_result(context, customer_id) for customer_id in query.customer_ids),
        media_type=JSON,
    )


async def customer_score(customer_id: CustomerId, context: ContextDep, request: Request) -> Response:
    """Return the latest score of a customer."""
    body = context.feed.scores.score(customer_id)
    if body is None:
        raise _without_score(context, customer_id)
    return answer(request, _with_staleness(body), tag=tag_of(body, weak=True), media_type=JSON)


router.add_api_route(
    "/{customer_id}/score",
    customer_score,
    response_model=CurrentScore,
    summary="One customer's score",
    description="The latest score, from memory, with the reasons for it. `as_of` is the event time that it describes, "
    "`scored_at` the wall time at which it was made. The tag names the score, whatever its staleness.",
    responses=NOT_MODIFIED,
    methods=["GET"],
    route_class_override=DirectRoute,
)


@router.get(
    "/{customer_id}/history",
    response_model=History,
    summary="One customer's past scores",
    description="How the risk went, oldest first; the first page is the newest part of it. Answered by ClickHouse.",
)
@asks_clickhouse
def customer_history(
    customer_id: CustomerId,
    context: ContextDep,
    page_size: PageSize = 200,
    page_token_: Annotated[PageToken, Query(alias="page_token")] = None,
) -> Response:
    """Return past scores of a customer."""
    query = ["history", customer_id]
    after = read_token(query, page_token_)
    before = min(max(int(after[0]), 0), _END_OF_TIME) if after else _END_OF_TIME
    erasure = context.feed.erasures.of(customer_id)
    if erasure is not None and not erasure.untracked:
        raise _without_score(context, customer_id)
    rows = context.queries.rows("score_history_page", customer=customer_id, before=before, limit=page_size + 1)
    if erasure is not None:  # rows may be on their way to ClickHouse, and stay there until it has deleted them
        rows = [row for row in rows if not erasure.covers(row["scored_at"])]
    if not rows and context.feed.scores.score(customer_id) is None:
        raise _without_score(context, customer_id)
    page = rows[:page_size]
    following = (page[-1]["as_of"].timestamp() * 1_000, customer_id) if len(rows) > page_size else None
    body = {
        "customer_id": customer_id,
        "scores": [_historical(row) for row in reversed(page)],
        "next_page_token": page_token(query, following),
    }
    return Response(orjson.dumps(body), media_type=JSON)


@by_query.get(
    "/score", response_model=CurrentScore, summary="One customer's score, by query", description=_ANY_ID,
    responses={404: {}, **NOT_MODIFIED},
)  # fmt: skip
async def score_by_query(customer_id: CustomerIdQuery, context: ContextDep, request: Request) -> Response:
    """Return the latest score of a customer."""
    return await customer_score(customer_id, context, request)


@by_query.get(
    "/history", response_model=History, summary="One customer's past scores, by query", description=_ANY_ID,
    responses={404: {}},
)  # fmt: skip
async def history_by_query(
    customer_id: CustomerIdQuery,
    context: ContextDep,
    page_size: PageSize = 200,
    page_token_: Annotated[PageToken, Query(alias="page_token")] = None,
) -> Response:
    """Return past scores of a customer."""
    return await customer_history(
        customer_id=customer_id, context=context, page_size=page_size, page_token_=page_token_
    )


def _at_risk_csv(context: Context, query_filter: CustomerFilter, sort: Sort) -> Response:
    """Return all customers that match a filter, as CSV."""
    chunks = by_risk_in_chunks(context.feed.scores, query_filter, sort)
    return csv_response("at-risk", _CSV_COLUMNS, _csv_rows(chunks), VARIES)


def _csv_rows(chunks: Iterator[list[bytes]]) -> Iterator[list[dict[str, Any]]]:
    for bodies in chunks:
        rows = [orjson.loads(body) for body in bodies]
        for row in rows:
            row["reasons"] = "; ".join(reason["text"] for reason in row["reasons"])
            row["model"] = f"{row['model']['name']} {row['model']['version']}"
        yield rows


class _ScoredAt(msgspec.Struct, gc=False):
    scored_at: datetime


_scored_at = msgspec.json.Decoder(_ScoredAt)


def _with_staleness(body: bytes) -> bytes:
    # Read from the very bytes that are sent: the view's columns might already describe another score.
    age = max(0.0, time.time() - _scored_at.decode(body).scored_at.timestamp())
    return b'%b,"staleness_seconds":%.3f}' % (body.rstrip()[:-1], age)


def _result(context: Context, customer_id: str) -> bytes:
    body = context.feed.scores.score(customer_id)
    if body is not None:
        return b'{"customer_id":%b,"status":"found","score":%b}' % (orjson.dumps(customer_id), body)
    problem = _without_score(context, customer_id)
    if not isinstance(problem, ProblemError):
        raise problem
    status = "erased" if problem.kind == "erased-customer" else "never_seen"
    return orjson.dumps({"customer_id": customer_id, "status": status, "score": None})


def _without_score(context: Context, customer_id: str) -> Exception:
    """Return what to raise for a customer without a score: unknown, erased, or the scores are still being read."""
    if context.feed.reader.caught_up:
        erasure = context.feed.erasures.of(customer_id)
        return _unknown(customer_id) if erasure is None else _erased(customer_id, erasure.request.requested_at)
    return UnavailableError("The scores are still being read from Kafka.", "Ask again in a moment; see /readyz.")


def _unknown(customer_id: str) -> ProblemError:
    """Return the problem that a customer is not known."""
    shown = customer_id if len(customer_id) <= 64 else customer_id[:63] + "…"
    what = f"No score is held for customer {shown!r}."
    return ProblemError(what, "Check the id; a customer is known from their first event on.", kind="unknown-customer")


def _erased(customer_id: str, at: datetime) -> ProblemError:
    """Return the problem that a customer was erased."""
    what = f"Customer {customer_id[:64]!r} was erased, as asked for on {at:%Y-%m-%d %H:%M} UTC."
    return ProblemError(what, "They are known again from their next event on.", kind="erased-customer")


def _historical(row: dict[str, Any]) -> dict[str, Any]:
    kept = ("as_of", "scored_at", "churn", "purchase", "band", "value_at_risk", "expected_gain")
    return {
        **{name: row[name] for name in kept},
        "reasons": orjson.Fragment(row["reasons"] or "[]"),
        "model": {"name": row["model"], "version": row["model_version"]},
    }

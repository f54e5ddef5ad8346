"""`/v1/customers`: one customer's score, the customers at risk, the history of a score."""

from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from ebb.errors import UnavailableError
from ebb.messages import Band, Score
from serving.context import Context, Here
from serving.problems import ProblemError
from serving.ranking import Sort, Wanted, at_risk
from serving.schemas import EXAMPLE_SCORE, Customers, History
from serving.security import Keyed
from serving.tokens import page_token, read_token

router = APIRouter(prefix="/v1/customers", tags=["customers"], dependencies=[Keyed])
JSON = "application/json"
_END_OF_TIME = 4_102_444_800_000
"""2100-01-01 in Unix milliseconds: before it lies every score."""
CustomerId = Annotated[
    str, Path(min_length=1, max_length=256, description="Opaque id of the customer.", examples=["c-1042"])
]
PageSize = Annotated[int, Query(ge=1, le=500, description="Most entries on a page.")]
PageToken = Annotated[str | None, Query(max_length=1_000, description="`next_page_token` of the page before.")]


def unknown(customer_id: str) -> ProblemError:
    """Return the problem that a customer is not known."""
    shown = customer_id if len(customer_id) <= 64 else customer_id[:63] + "…"
    what = f"No score is held for customer {shown!r}."
    return ProblemError(what, "Check the id; a customer is known from their first event on.", kind="unknown-customer")


def erased(customer_id: str, at: datetime) -> ProblemError:
    """Return the problem that a customer was forgotten."""
    what = f"Customer {customer_id[:64]!r} was erased, as asked for on {at:%Y-%m-%d %H:%M} UTC."
    return ProblemError(what, "They are known again from their next event on.", kind="erased-customer")


@router.get(
    "/at-risk",
    response_model=Customers,
    summary="Customers by risk",
    description="Lists customers by falling `sort`. Filters that are given must all hold.",
)
def customers_at_risk(
    *,
    here: Here,
    band: Annotated[list[Band] | None, Query(description="Bands to list; give it again for more.")] = None,
    country: Annotated[str | None, Query(max_length=256)] = None,
    channel: Annotated[str | None, Query(max_length=256)] = None,
    min_value: Annotated[float | None, Query(description="Least value at risk, in units of money.")] = None,
    min_churn: Annotated[float | None, Query(ge=0, le=1, description="Least churn probability.")] = None,
    sort: Sort = "churn",
    page_size: PageSize = 50,
    page_token_: Annotated[PageToken, Query(alias="page_token")] = None,
) -> Response:
    """List customers by falling risk or value, in pages."""
    wanted = Wanted(tuple(sorted(set(band or ()))), country, channel, min_value, min_churn)
    query = [wanted.__dict__, sort]
    page = at_risk(here.feed.board, wanted, sort, read_token(query, page_token_), page_size)
    token = orjson.dumps(page_token(query, page.following))
    return Response(b'{"customers":[%b],"next_page_token":%b}' % (b",".join(page.bodies), token), media_type=JSON)


@router.get(
    "/{customer_id}/score",
    response_model=Score,
    summary="One customer's score",
    description="The latest score, from memory, with the reasons for it. `as_of` is the event time that it describes.",
    responses={200: {"content": {JSON: {"example": EXAMPLE_SCORE}}}},
)
async def customer_score(customer_id: CustomerId, here: Here) -> Response:
    """Return the latest score of a customer."""
    body = here.feed.board.score(customer_id)
    if body is None:
        raise not_held(here, customer_id)
    return Response(body, media_type=JSON)


@router.get(
    "/{customer_id}/history",
    response_model=History,
    summary="One customer's past scores",
    description="How the risk went, oldest first; the first page is the newest part of it. Answered by ClickHouse.",
)
def customer_history(
    customer_id: CustomerId,
    here: Here,
    page_size: PageSize = 200,
    page_token_: Annotated[PageToken, Query(alias="page_token")] = None,
) -> Response:
    """Return past scores of a customer."""
    query = ["history", customer_id]
    after = read_token(query, page_token_)
    before = int(after[0]) if after else _END_OF_TIME
    rows = here.analytics.rows("score_history_page", customer=customer_id, before=before, limit=page_size + 1)
    if not rows and here.feed.board.score(customer_id) is None:
        raise not_held(here, customer_id)
    page = rows[:page_size]
    following = (page[-1]["as_of"].timestamp() * 1_000, customer_id) if len(rows) > page_size else None
    answer = {
        "customer_id": customer_id,
        "scores": [_past(row) for row in reversed(page)],
        "next_page_token": page_token(query, following),
    }
    return Response(orjson.dumps(answer), media_type=JSON)


def not_held(here: Context, customer_id: str) -> Exception:
    """Return what to raise for a customer who is not held: while the scores are still being read, nobody can say."""
    if here.feed.reader.caught_up:
        erasure = here.feed.ledger.of(customer_id)
        return unknown(customer_id) if erasure is None else erased(customer_id, erasure.request.requested_at)
    return UnavailableError("The scores are still being read from Kafka.", "Ask again in a moment; see /readyz.")


def _past(row: dict[str, Any]) -> dict[str, Any]:
    kept = ("as_of", "scored_at", "churn", "purchase", "band", "value_at_risk", "expected_gain")
    return {
        **{name: row[name] for name in kept},
        "reasons": orjson.Fragment(row["reasons"] or "[]"),
        "model": {"name": row["model"], "version": row["model_version"]},
    }

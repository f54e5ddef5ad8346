"""Parameters, examples and the base class that resources of the REST interface share."""

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict

from serving.http.path_segments import Segment

JSON = "application/json"
VARIES = {"Vary": "Accept"}
CustomerId = Annotated[
    str,
    Segment,
    Path(
        min_length=1,
        max_length=256,
        description="Opaque id of the customer, percent-encoded as one segment (`/` is `%2F`). For ids that a client "
        "or proxy may change in a path (`.`, `..`, those with `/`), give them as a query to `/v1/customer`.",
        examples=["c-1042"],
    ),
]
CustomerIdQuery = Annotated[
    str,
    Query(
        alias="customer_id",
        min_length=1,
        max_length=256,
        description="Opaque id of the customer, any text, percent-encoded (`+` is `%2B`).",
        examples=["c/1042"],
    ),
]
PageSize = Annotated[int, Query(ge=1, le=500, description="Most entries on a page.")]
PageToken = Annotated[str | None, Query(max_length=4_000, description="`next_page_token` of the page before.")]
EXAMPLE_SCORE: dict[str, Any] = {
    "customer_id": "c-1042",
    "churn": 0.83,
    "purchase": 0.07,
    "band": "critical",
    "previous": 0.71,
    "trend_7d": 0.34,
    "reasons": [
        {"feature": "recency", "contribution": 1.4, "text": "No activity for 12 days; usually every 3 days"},
        {"feature": "support", "contribution": 0.3, "text": "2 support contacts in 30 days"},
    ],
    "value_at_risk": 212.4,
    "expected_gain": 26.86,
    "country": "DE",
    "channel": "web",
    "model": {"name": "churn.logistic", "version": 12},
    "as_of": "2025-03-14T09:26:53Z",
    "scored_at": "2025-03-14T09:26:54Z",
}
EXAMPLE_ALERT: dict[str, Any] = {
    "alert_id": "31de46b6d801c56dc328b595",
    "kind": "band",
    "customer_id": "c-1042",
    "band": "critical",
    "previous_band": "high",
    "churn": 0.83,
    "previous": 0.71,
    "why": "Risk rose from high to critical (83%). No activity for 12 days; usually every 3 days; "
    "2 support contacts in 30 days.",
    "value_at_risk": 212.4,
    "country": "DE",
    "channel": "web",
    "as_of": "2025-03-14T09:26:53Z",
    "raised_at": "2025-03-14T09:26:54Z",
}
EXAMPLE_NEXT = "WyJhYjEyIiwwLjgzLCJjLTEwNDIiXQ"


class Answer(BaseModel):
    """Base class of answers."""

    model_config = ConfigDict(extra="forbid")

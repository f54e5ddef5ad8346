"""Shapes of the answers of the REST interface, with examples."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ebb.messages import Band, ModelRef, Probability, Reason, Score
from ebb.models import Target

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
    "alert_id": "c-1042:critical:2025-03-14",
    "kind": "band",
    "customer_id": "c-1042",
    "band": "critical",
    "previous_band": "high",
    "churn": 0.83,
    "previous": 0.71,
    "why": "Risk rose from high to critical: no activity for 12 days; usually every 3 days.",
    "value_at_risk": 212.4,
    "country": "DE",
    "channel": "web",
    "as_of": "2025-03-14T09:26:53Z",
    "raised_at": "2025-03-14T09:26:54Z",
}
EXAMPLE_NEXT = "WyJhYjEyIiwwLjgzLCJjLTEwNDIiXQ"


class Answer(BaseModel):
    """Base of the answers."""

    model_config = ConfigDict(extra="forbid")


class CurrentScore(Score):
    """A score, and how old it is."""

    model_config = ConfigDict(json_schema_extra={"example": {**EXAMPLE_SCORE, "staleness_seconds": 41.2}})

    staleness_seconds: float = Field(ge=0, description="Real seconds since `scored_at`, as of this answer.")


class LookUp(BaseModel):
    """Customers whose scores are asked for."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"customer_ids": ["c-1042", "c-404"]}})

    customer_ids: list[Annotated[str, Field(min_length=1, max_length=256)]] = Field(min_length=1, max_length=1_000)


class Looked(Answer):
    """What is held of one of the customers asked for."""

    customer_id: str
    status: Literal["found", "never_seen", "erased"]
    score: Score | None = Field(default=None, description="Null unless found.")


class LookedUp(Answer):
    """What is held of each customer asked for, in the order asked."""

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

    results: list[Looked]


class Customers(Answer):
    """A page of customers by falling risk."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"customers": [EXAMPLE_SCORE], "next_page_token": EXAMPLE_NEXT}}
    )

    customers: list[Score]
    next_page_token: str | None = Field(description="Give it as `page_token` for the next page; null on the last.")


class PastScore(Answer):
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
    scores: list[PastScore]
    next_page_token: str | None = Field(description="Give it as `page_token` for older scores; null if there are none.")


class Model(Answer):
    """The latest version of one model, as learning published it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "churn.logistic",
                "target": "churn",
                "candidate": "logistic",
                "version": 12,
                "role": "champion",
                "share": 0.0,
                "trained_until": "2025-03-14",
                "examples": 48211,
                "metrics": {"roc_auc": 0.871, "log_loss": 0.41},
                "schema_hash": "0123456789abcdef",
            }
        }
    )

    name: str
    target: Target
    candidate: str
    version: int
    role: Literal["champion", "challenger"]
    trained_until: date = Field(description="Every label that had matured by this day (UTC) has been learned.")
    share: float = Field(description="Share of the customers whom it scores as a challenger, in the champion's place.")
    examples: int = Field(description="Labels learned.")
    metrics: dict[str, float] = Field(
        description="Progressive validation: predictions made before the label was known. `arm_…` are of the customers "
        "whom it really scored while they were split, beside `arm_labels`, their number."
    )
    schema_hash: str = Field(description="Feature schema that it was trained on.")


class Models(Answer):
    """The models, champions first."""

    models: list[Model]


class BandCount(Answer):
    """Customers of a band."""

    band: Band
    customers: int
    value_at_risk: float
    from_churn: float = Field(description="Churn probability at which the band begins.")


class Histogram(Answer):
    """Customers by churn probability, in 20 equal bins."""

    edges: list[float]
    counts: list[int]


class Movers(Answer):
    """Customers whose risk moved most over 7 days of event time."""

    up: list[Score]
    down: list[Score]


class AccuracyPoint(Answer):
    """Realised accuracy on the labels that matured on a day."""

    day: date
    value: float
    labels: int


class AccuracyLine(Answer):
    """Realised accuracy of one candidate over label dates."""

    candidate: str
    role: Literal["champion", "challenger", "baseline", "served"]
    latest: float | None
    points: list[AccuracyPoint]


class Accuracy(Answer):
    """Realised accuracy by the day on which labels matured: what was predicted against what happened."""

    metric: Literal["roc_auc"]
    lines: list[AccuracyLine]


class CalibrationBin(Answer):
    """Predictions of a range against what happened."""

    predicted: float
    observed: float
    labels: int


class Labels(Answer):
    """Labels of the churn target."""

    matured: int | None
    pending: int | None = Field(description="Snapshots whose outcome is not known yet.")
    horizon_days: int
    first_due_seconds: float | None = Field(
        description="Real seconds until the first labels mature; null if some have, or if nothing has begun."
    )


class PartitionHealth(Answer):
    """How far the workers are behind in one partition of the activity topic."""

    partition: int
    lag_events: int
    lag_seconds: float


class Health(Answer):
    """The flow from activity to scores."""

    lag_events: int
    lag_seconds: float
    partitions: list[PartitionHealth]
    events_per_second: float = Field(description="Events arriving.")
    processed_per_second: float = Field(description="Events whose effect was made durable.")


class DeadLetters(Answer):
    """Records that could not be accepted."""

    total: int | None
    by_reason: dict[str, int] | None


class Summary(Answer):
    """Everything at a glance. A part that cannot be told now is null and named in `unavailable`."""

    event_time: datetime = Field(description="The clock of event time, now.")
    day_seconds: float = Field(description="Real seconds that a day of event time takes.")
    as_of: datetime | None = Field(description="Latest event time that a score describes.")
    scored_at: datetime | None = Field(description="Wall time of the latest score.")
    staleness_seconds: float | None = Field(description="Real seconds since the latest score.")
    customers: int
    value_at_risk: float
    bands: list[BandCount]
    histogram: Histogram
    movers: Movers
    model: Model | None = Field(description="Champion of the churn target; null before the first.")
    accuracy: Accuracy | None
    calibration: list[CalibrationBin] | None
    labels: Labels
    pipeline: Health | None
    dead_letters: DeadLetters
    streams: int = Field(description="Clients connected to the streams of this replica.")
    unavailable: list[str]

"""Shapes of what is told of models: their metrics, versions, promotions, drift, and what they say to given features."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ebb.messages import Band, ModelRef, Probability, Reason
from ebb.models import Target
from serving.schemas import Answer

EXAMPLE_FEATURES: dict[str, Any] = {
    "recency_days": 12.0,
    "tenure_days": 210.0,
    "events_30d": 9,
    "active_days_total": 41,
    "active_hl14": 1.3,
    "purchases_total": 3,
    "spend_total": 187.5,
}


class MetricDay(Answer):
    """What was measured on a day on which labels matured."""

    day: date
    labels: int
    metrics: dict[str, float | None] = Field(description="Null where a metric is not defined on these labels.")


class Metrics(Answer):
    """How a model did over time, oldest first: predictions made at snapshots, judged when labels matured."""

    name: str
    window: Literal["day", "rolling"]
    days: list[MetricDay]


class Version(Answer):
    """A published version of a model: what learning had made of all labels until a day."""

    version: int
    role: Literal["champion", "challenger"]
    trained_until: date
    examples: int
    metrics: dict[str, float | None]
    schema_hash: str
    checksum: str
    published_at: datetime


class Versions(Answer):
    """Published versions, newest first."""

    name: str
    versions: list[Version]
    next_page_token: str | None = Field(description="Give it as `page_token` for older versions; null on the last.")


class Promotion(Answer):
    """A change of what serves a target, or a request for one."""

    target: Target
    decided_day: date
    cause: str = Field(description="`rule`, or what was requested.")
    request_id: str
    former: str
    champion: str
    version: int
    outcome: str = Field(description="`done`, `refused`, or `overruled` while something is held by request.")
    why: str
    decided_at: datetime


class Promotions(Answer):
    """Changes of what serves, newest first."""

    promotions: list[Promotion]


class DriftValue(Answer):
    """The latest value of one statistic of drift."""

    kind: Literal["feature", "score", "error"]
    target: str = Field(description="Empty for features: all targets share them.")
    name: str
    statistic: str
    value: float | None
    day: date


class Drift(Answer):
    """How far features, scores and errors lie from what they were, the farthest of each kind first."""

    drift: list[DriftValue]


class WhatIf(BaseModel):
    """Features of a customer, as they are or as they might be."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"features": EXAMPLE_FEATURES}})

    features: dict[Annotated[str, Field(max_length=64)], Annotated[float, Field(ge=-1e12, le=1e12)]] = Field(
        description="By name, in the units of docs/features.md. `recency_days` and `tenure_days` are needed; what else "
        "is left out follows from the rest where it is defined by it, and is 0 otherwise."
    )
    target: Target = Field(default="churn", description="Whose reasons are told.")


class Predicted(Answer):
    """What the models in use say of the features."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "target": "churn",
                "churn": 0.61,
                "purchase": 0.09,
                "band": "high",
                "reasons": [
                    {
                        "feature": "recency",
                        "contribution": 1.4,
                        "text": "No activity for 12 days; usually every 5 days: associated with a higher risk",
                    }
                ],
                "models": {
                    "churn": {"name": "churn.logistic", "version": 12},
                    "purchase": {"name": "purchase.logistic", "version": 12},
                },
                "left_out": ["trend"],
            }
        }
    )

    target: Target
    churn: Probability = Field(description="Calibrated, as in a score.")
    purchase: Probability
    band: Band = Field(description="By the thresholds alone; a customer's own band falls with hysteresis.")
    reasons: list[Reason]
    models: dict[Target, ModelRef] = Field(description="Which said so; version 0 is the cold start.")
    left_out: list[str] = Field(description="Features that were not given.")

"""Scores and alerts, as they are on their topics and leave by REST and WebSocket."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]


class Band(StrEnum):
    """How urgent a customer's churn risk is, in rising order."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


BANDS: tuple[Band, ...] = tuple(Band)


class PublishedMessage(BaseModel):
    """Base of what is sent: unknown fields are refused so that a misspelt one is seen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Reason(PublishedMessage):
    """One contribution to the risk: what it is, how much it moves the logit, and in words."""

    feature: str
    """Group of features that a person understands (`recency`, `frequency`, `spend`, …)."""
    contribution: float
    """Share of the logit of `churn`; above 0 raises the risk."""
    text: str


class ModelRef(PublishedMessage):
    """Which model made a score."""

    name: str
    version: int


class Score(PublishedMessage):
    """How likely a customer is to leave, at a moment of event time."""

    customer_id: str
    churn: Probability
    """Calibrated probability of leaving within the horizon."""
    purchase: Probability
    """Probability of a purchase within 7 days."""
    band: Band
    previous: Probability | None
    """`churn` of the score published before this one."""
    trend_7d: float | None
    """`churn` less what it was 7 days of event time ago; none for customers known for less."""
    reasons: list[Reason]
    value_at_risk: float
    """`churn` x the spend expected over the value horizon, in units of money."""
    expected_gain: float
    """What an offer is expected to bring: churn x save rate x value - offer cost."""
    country: str | None
    channel: str | None
    model: ModelRef
    as_of: AwareDatetime
    """Event time that the features describe."""
    scored_at: AwareDatetime
    """Wall time at which the score was made."""


class Alert(PublishedMessage):
    """A change of band that someone should act on."""

    alert_id: str
    """The same for the same fact, so that a replay does not page twice."""
    kind: Literal["band"]
    customer_id: str
    band: Band
    previous_band: Band | None
    churn: Probability
    previous: Probability | None
    why: str
    """What changed and the strongest reasons, in one sentence."""
    value_at_risk: float
    country: str | None
    channel: str | None
    as_of: AwareDatetime
    raised_at: AwareDatetime


def utc(seconds: float) -> datetime:
    """Return Unix seconds as an aware UTC time."""
    return datetime.fromtimestamp(seconds, UTC)

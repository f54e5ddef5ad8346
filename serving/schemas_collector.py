"""What the collector takes and answers, as its OpenAPI description shows it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Call(BaseModel):
    """One call of an analytics SDK. Other fields may come and are not looked at."""

    model_config = ConfigDict(extra="allow")

    type: str | None = Field(default=None, description="track, identify, page, screen or group; needed in a batch.")
    userId: str | None = Field(default=None, description="Opaque id of the customer; no e-mail address.")
    anonymousId: str | None = Field(default=None, description="Id before the customer is known.")
    messageId: str | None = Field(default=None, description="The same when the call is sent again.")
    event: str | None = Field(
        default=None, description="Name of what was done, for track.", examples=["Order Completed"]
    )
    timestamp: str | None = Field(default=None, description="When it happened, by the sender's clock.")
    sentAt: str | None = Field(default=None, description="When it was sent, by the same clock.")
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    writeKey: str | None = Field(default=None, description="The write key, where no header can carry it.")


class Batch(BaseModel):
    """Calls sent together."""

    model_config = ConfigDict(extra="allow")

    batch: list[Call]
    sentAt: str | None = None
    context: dict[str, Any] | None = None
    writeKey: str | None = None


class Verdict(BaseModel):
    """What became of one call."""

    message_id: str | None
    status: Literal["accepted", "refused", "ignored"]
    reason: str | None = None
    detail: str | None = None


class Collected(BaseModel):
    """What became of a request; whatever is `accepted` is durable on Kafka."""

    success: Literal[True] = True
    accepted: int
    refused: int
    ignored: int
    verdicts: list[Verdict] = Field(description="One per call, in order.")


EXAMPLE_CALL: dict[str, Any] = {
    "type": "track",
    "userId": "c-1042",
    "messageId": "ajs-5f0c2e",
    "event": "Order Completed",
    "timestamp": "2026-03-01T14:05:31.250Z",
    "sentAt": "2026-03-01T14:05:33.000Z",
    "properties": {"order_id": "10027", "revenue": 49.9, "currency": "EUR"},
    "context": {"library": {"name": "analytics.js"}},
}
EXAMPLE_COLLECTED: dict[str, Any] = {
    "success": True,
    "accepted": 1,
    "refused": 0,
    "ignored": 0,
    "verdicts": [{"message_id": "ajs-5f0c2e", "status": "accepted", "reason": None, "detail": None}],
}

"""Shapes of alerts with their handling, and of what can be asked to be done about them."""

from datetime import timedelta
from typing import Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from ebb.handling import NOTE_CHARACTERS, Outcome, Status
from ebb.messages import Alert
from serving.schemas import EXAMPLE_ALERT, EXAMPLE_NEXT, Answer

LONGEST_SNOOZE = timedelta(days=7)
"""As long as an alert lies on its topic."""
EXAMPLE_HANDLING: dict[str, Any] = {
    "status": "acknowledged",
    "by": "3f2a9c81d04e",
    "at": "2025-03-14T09:31:02Z",
}
EXAMPLE_HANDLED: dict[str, Any] = {**EXAMPLE_ALERT, "handling": EXAMPLE_HANDLING}


class Handling(Answer):
    """What was done about an alert."""

    status: Status
    by: str | None = Field(
        default=None, description="Id of the key of whoever did the latest that counts; null while open."
    )
    at: AwareDatetime | None = Field(default=None, description="When that was done.")
    until: AwareDatetime | None = Field(default=None, description="When a snoozed alert comes back.")
    outcome: Outcome | None = Field(default=None, description="How a closed alert ended.")
    note: str | None = None


class HandledAlert(Alert):
    """An alert, and what was done about it."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE_HANDLED})

    handling: Handling


class Alerts(Answer):
    """A page of alerts, the newest first."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"alerts": [EXAMPLE_HANDLED], "next_page_token": EXAMPLE_NEXT}}
    )

    alerts: list[HandledAlert]
    next_page_token: str | None = Field(description="Give it as `page_token` for the next page; null on the last.")


class Asked(BaseModel):
    """Base of what is asked: unknown fields are refused so that a misspelt one is seen."""

    model_config = ConfigDict(extra="forbid")


class Snooze(Asked):
    """How long an alert is put off: `hours` or `until`, at most seven days."""

    model_config = ConfigDict(json_schema_extra={"example": {"hours": 24}})

    hours: float | None = Field(default=None, gt=0, le=LONGEST_SNOOZE.total_seconds() / 3_600)
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _says_one(self) -> Self:
        if (self.hours is None) == (self.until is None):
            message = "give either hours or until"
            raise ValueError(message)
        return self


class Ending(Asked):
    """How an alert ended."""

    model_config = ConfigDict(json_schema_extra={"example": {"outcome": "retained", "note": "Took the yearly plan."}})

    outcome: Outcome
    note: str = Field(default="", max_length=NOTE_CHARACTERS, description="No personal data: it is kept for reports.")

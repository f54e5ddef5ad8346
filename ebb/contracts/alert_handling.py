"""What people did about alerts (acknowledged, snoozed, closed with an outcome): the records on `ebb.handling`.

Each act is a record of its own under the key `<alert>/<act>`, and the status of an alert follows from the latest of
each. So two people who act at once do not overwrite each other, and compaction loses nothing (docs/adr/0017).
"""

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

NOTE_CHARACTERS = 500
"""Longest note: a line or two on what happened, not a file on the customer."""


class Act(StrEnum):
    """What was done about an alert."""

    ACKNOWLEDGE = "acknowledge"
    SNOOZE = "snooze"
    OUTCOME = "outcome"


class Outcome(StrEnum):
    """How an alert ended."""

    RETAINED = "retained"
    """The customer stays."""
    LEFT = "left"
    """The customer has gone."""
    NOT_REACHED = "not_reached"
    """The customer could not be reached."""
    NO_ACTION = "no_action"
    """It was decided to do nothing."""


class Status(StrEnum):
    """Status of an alert."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    CLOSED = "closed"


class HandlingRecord(BaseModel):
    """One act: a record of the topic."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    alert_id: str
    act: Act
    by: str
    """Id of the key, never the key."""
    at: AwareDatetime
    until: AwareDatetime | None = None
    """When a snoozed alert comes back."""
    outcome: Outcome | None = None
    note: Annotated[str, Field(max_length=NOTE_CHARACTERS)] = ""
    customer_id: str
    as_of: AwareDatetime
    """Of the alert, so that an erasure finds what is older than it."""
    raised_at: AwareDatetime


def key_of(alert_id: str, act: Act) -> str:
    """Return the key of a record on `ebb.handling`."""
    return f"{alert_id}/{act}"

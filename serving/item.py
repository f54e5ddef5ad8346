"""One message on its way to the streams."""

from functools import cached_property

from serving.alerts import Raised
from serving.board import Change
from serving.protocol import Filter, Topic


class Item:
    """A score or an alert with its sequence; encoded once, however many clients it goes to."""

    def __init__(
        self, topic: Topic, *, customer_id: str, band: str, churn: float, country: str | None, body: bytes
    ) -> None:
        self.topic = topic
        self.customer_id = customer_id
        self.band = band
        self.churn = churn
        self.country = country
        self.body = body
        self.sequence = 0
        """Given by the hub."""

    @classmethod
    def of_score(cls, change: Change) -> "Item":
        """Make the message of a score."""
        held = change.held
        return cls(
            "scores",
            customer_id=held.customer_id,
            band=held.band,
            churn=held.churn,
            country=held.country,
            body=change.body,
        )

    @classmethod
    def of_alert(cls, alert: Raised, body: bytes) -> "Item":
        """Make the message of an alert."""
        return cls(
            "alerts",
            customer_id=alert.customer_id,
            band=alert.band,
            churn=alert.churn,
            country=alert.country,
            body=body,
        )

    @property
    def type(self) -> str:
        """The message's `type`: score or alert."""
        return "score" if self.topic == "scores" else "alert"

    @cached_property
    def text(self) -> str:
        """The message as it is sent."""
        return f'{{"type":"{self.type}","sequence":{self.sequence},"data":{self.body.decode()}}}'

    def passes(self, wanted: Filter) -> bool:
        """Say whether a filter lets the message through."""
        return (
            (wanted.bands is None or self.band in wanted.bands)
            and (wanted.minimum is None or self.churn >= wanted.minimum)
            and (wanted.customers is None or self.customer_id in wanted.customers)
            and (wanted.countries is None or self.country in wanted.countries)
        )
